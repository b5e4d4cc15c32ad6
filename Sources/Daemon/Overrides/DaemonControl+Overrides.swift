import Platform

/// Overrides added and removed while the daemon runs. All serving threads see a change at once.
extension DaemonControl {
    /// Overrides `name` with `addresses` for `seconds`, or until the daemon ends.
    ///
    /// It takes precedence over all hosts files, for the name's whole override family, and replaces an earlier lease of
    /// the name.
    @discardableResult
    package func addOverride(
        _ name: String, _ addresses: [String], seconds: UInt32?
    ) throws(OverrideProblem) -> OverrideLease {
        try daemon.leases.change { leases throws(OverrideProblem) in
            try leases.add(name, addresses, seconds: seconds, now: .now())
        }
    }

    /// Ends the lease of `name` now; returns it.
    @discardableResult
    package func removeOverride(_ name: String) throws(OverrideProblem) -> OverrideLease {
        try daemon.leases.change { leases throws(OverrideProblem) in try leases.remove(name) }
    }

    /// The live leases, in the order they were added.
    package func overrides() -> [OverrideLease] {
        daemon.state.withLock { $0.leases.all(at: SystemClock.monotonic()) }
    }
}
