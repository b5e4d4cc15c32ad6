import Synchronization

/// What a reload did.
package struct ReloadOutcome: Codable, Sendable {
    /// Microseconds since 1970.
    package var time: UInt64
    package var reason: String
    package var changes: String
    /// `FILE:LINE: why`.
    package var problems: [String]
}

/// How many reloads there were, the last one, and who waits for the next.
final class ReloadRecord: Sendable {
    struct Counts {
        var done: UInt64 = 0
        /// Those in which something could not be loaded.
        var failed: UInt64 = 0
        var last: ReloadOutcome?
    }

    private struct State {
        var counts = Counts()
        /// They asked before the reload at work began.
        var served: [CheckedContinuation<ReloadOutcome, Never>] = []
        var waiting: [CheckedContinuation<ReloadOutcome, Never>] = []
    }

    private let state = Mutex(State())

    var counts: Counts { state.withLock { $0.counts } }

    /// Somebody waits for the next reload.
    var isAwaited: Bool { state.withLock { !$0.waiting.isEmpty } }

    /// Waits for the end of a reload that begins after this call; `ask` asks for one.
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
