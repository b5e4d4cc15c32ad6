import Synchronization

/// The outcome of a reload.
package struct ReloadOutcome: Codable, Sendable {
    /// Microseconds since 1970.
    package var time: UInt64
    package var reason: String
    package var changes: String
    /// `FILE:LINE: why`.
    package var problems: [String]
}

/// Counts reloads, keeps the last outcome, and wakes those that wait for the next.
final class ReloadRecord: Sendable {
    struct Counts {
        var done: UInt64 = 0
        /// Those that could not load something.
        var failed: UInt64 = 0
        var last: ReloadOutcome?
    }

    private struct State {
        var counts = Counts()
        /// They asked before the current reload began.
        var served: [CheckedContinuation<ReloadOutcome, Never>] = []
        var waiting: [CheckedContinuation<ReloadOutcome, Never>] = []
    }

    private let state = Mutex(State())

    var counts: Counts { state.withLock { $0.counts } }

    /// Whether a caller waits for the next reload.
    var isAwaited: Bool { state.withLock { !$0.waiting.isEmpty } }

    /// Waits for a reload that begins after this call; `ask` requests one.
    func next(ask: () -> Void) async -> ReloadOutcome {
        await withCheckedContinuation { continuation in
            state.withLock { $0.waiting.append(continuation) }
            ask()
        }
    }

    func begin() {
        state.withLock { state in
            state.served += state.waiting
            state.waiting = []
        }
    }

    func end(_ outcome: ReloadOutcome, failed: Bool) {
        let served = state.withLock { state in
            state.counts.done += 1
            if failed { state.counts.failed += 1 }
            state.counts.last = outcome
            defer { state.served = [] }
            return state.served
        }
        for continuation in served { continuation.resume(returning: outcome) }
    }
}
