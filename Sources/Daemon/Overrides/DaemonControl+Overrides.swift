import Platform

/// Overrides that are added and removed while the daemon runs. All serving threads see a change at once.
extension DaemonControl {
    /// Overrides `name` with `addresses` for so many seconds, or until the daemon ends.
    ///
    /// It stands before all hosts files for the whole family of the name. What the name was leased before is replaced.
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

    /// The leases that are live, in the order in which they were added.
    package func overrides() -> [OverrideLease] {
        daemon.state.withLock { $0.leases.all(at: Moment.monotonicMicroseconds()) }
    }
}
