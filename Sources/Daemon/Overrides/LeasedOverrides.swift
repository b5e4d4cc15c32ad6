import Platform

extension LoadedState {
    /// When the next lease expires, monotonic in microseconds.
    fileprivate var nextEndOfLease: UInt64? {
        [leases.nextEnd, ruleLeases.nextEnd, viewLeases.nextEnd].compactMap { $0 }.min()
    }
}

/// The leased overrides and rules of the running service, and the clock that ends them.
struct LeasedOverrides: Sendable {
    private let state: ServedState
    let clock: WorkClock
    /// Ends a view.
    private let endView: @Sendable (String, Int) -> Void

    init(_ state: ServedState, _ clock: WorkClock, endView: @escaping @Sendable (String, Int) -> Void = { _, _ in }) {
        self.state = state
        self.clock = clock
        self.endView = endView
    }

    /// Changes the leases; all serving threads see it at once.
    func change<R: Sendable>(
        _ change: (inout LoadedState) throws(OverrideProblem) -> R
    ) throws(OverrideProblem) -> R {
        let result = try state.change { state throws(OverrideProblem) in try change(&state) }
        clock.wake()
        return result
    }

    /// Ends each lease on time; returns after `clock` has ended.
    func run() { clock.run { endDue() } }

    /// Ends the leases that have expired; returns the next expiry, monotonic in microseconds.
    func endDue(at now: UInt64 = SystemClock.monotonic()) -> UInt64? {
        let next = state.withLock { $0.nextEndOfLease }
        guard let next, next <= now else { return next }
        for view in state.withLock({ $0.viewLeases.due(at: now) }) { endView(view.name, view.lease) }
        let (overrides, rules, following) = state.change {
            ($0.leases.end(at: now), $0.ruleLeases.end(at: now), $0.nextEndOfLease)
        }
        for lease in overrides { Report.line("override   \(lease.rule) has ended: \(lease.name)") }
        for lease in rules { Report.line("rules      \(lease.rule) has ended: \(lease.text)") }
        return following
    }
}
