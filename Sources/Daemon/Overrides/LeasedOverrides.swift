import Platform

/// The leased overrides of the running service, and the clock that ends them.
struct LeasedOverrides: Sendable {
    private let state: ServedState
    let clock: WorkClock

    init(_ state: ServedState, _ clock: WorkClock) {
        self.state = state
        self.clock = clock
    }

    /// Changes the leases; all serving threads see it at once.
    func change<R: Sendable>(
        _ change: (inout OverrideLeases) throws(OverrideProblem) -> R
    ) throws(OverrideProblem) -> R {
        let result = try state.change { state throws(OverrideProblem) in try change(&state.leases) }
        clock.wake()
        return result
    }

    /// Ends each lease on time; returns after `clock` has ended.
    func run() { clock.run { endDue() } }

    /// Ends the leases that have expired; returns the next expiry, monotonic in microseconds.
    func endDue(at now: UInt64 = SystemClock.monotonic()) -> UInt64? {
        let next = state.withLock { $0.leases.nextEnd }
        guard let next, next <= now else { return next }
        let (ended, following) = state.change { ($0.leases.end(at: now), $0.leases.nextEnd) }
        for lease in ended { Report.line("override   \(lease.rule) has ended: \(lease.name)") }
        return following
    }
}
