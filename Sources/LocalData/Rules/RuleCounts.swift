package import Lookup
import Synchronization

/// How often each rule has been met by a client, for a name and type: what `first=`, `every=` and seeds go by.
///
/// Bounded: of very many, the counts that have not been used for longest start again.
package final class RuleCounts: Sendable {
    private struct State {
        var recent: [UInt64: UInt32] = [:]
        var older: [UInt64: UInt32] = [:]
    }

    private let state = Mutex(State())
    private static let most = 32_768
    /// For an explanation, which is no lookup: the counts that it reads, and does not change.
    private let real: RuleCounts?

    package init() { real = nil }

    private init(peekingAt real: RuleCounts) { self.real = real }

    /// The same counts for an explanation, which reads them and counts nothing.
    package var peeking: RuleCounts { RuleCounts(peekingAt: self) }

    /// The number of this lookup among those with the same key, from 1.
    func next(_ key: UInt64) -> UInt32 {
        if let real { return real.current(key) &+ 1 }
        return state.withLock { state in
            let count = (state.recent[key] ?? state.older[key] ?? 0) &+ 1
            if state.recent.count >= Self.most, state.recent[key] == nil {
                state.older = state.recent
                state.recent = [:]
            }
            state.recent[key] = count
            return count
        }
    }

    private func current(_ key: UInt64) -> UInt32 {
        state.withLock { $0.recent[key] ?? $0.older[key] ?? 0 }
    }

    /// All rules count from 1 again.
    package func reset() { state.withLock { $0 = State() } }
}
