import LocalData
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
        try daemon.leases.change { state throws(OverrideProblem) in
            try state.leases.add(name, addresses, seconds: seconds, now: .now())
        }
    }

    /// Ends the lease of `name` now; returns it.
    @discardableResult
    package func removeOverride(_ name: String) throws(OverrideProblem) -> OverrideLease {
        try daemon.leases.change { state throws(OverrideProblem) in try state.leases.remove(name) }
    }

    /// The live leases, in the order they were added.
    package func overrides() -> [OverrideLease] {
        daemon.state.withLock { $0.leases.all(at: SystemClock.monotonic()) }
    }

    // MARK: Rules

    /// Adds a rule, as a line of a rules file says it, for `seconds`, or until the daemon ends. It stands before all
    /// others.
    @discardableResult
    package func addRule(_ text: String, seconds: UInt32?) throws(OverrideProblem) -> RuleLease {
        try daemon.leases.change { state throws(OverrideProblem) in
            try state.ruleLeases.add(text, seconds: seconds, now: .now())
        }
    }

    /// Ends the lease with this number now, or all of them (nil); returns them.
    @discardableResult
    package func removeRule(_ number: Int?) throws(OverrideProblem) -> [RuleLease] {
        try daemon.leases.change { state throws(OverrideProblem) in try state.ruleLeases.remove(number) }
    }

    /// The live leases of rules, the newest first: in the order in which they are asked.
    package func ruleLeases() -> [RuleLease] {
        daemon.state.withLock { $0.ruleLeases.all(at: SystemClock.monotonic()) }
    }

    /// All rules count from 1 again.
    package func resetRules() { daemon.state.withLock { $0.ruleCounts }.reset() }
}
