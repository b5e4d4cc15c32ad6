public import Platform
internal import Synchronization

/// Wakes a thread that gathers what others bring it, and only when it needs to be woken: never a system call per lookup
/// under load.
///
/// The thread sleeps when nothing comes: then the first that does wakes it, and is dealt with at once. After work it naps
/// a while, so that more gathers: then only what is urgent wakes it, as a ring that is half full.
public final class Bell: Sendable {
    private let signal: WakeSignal
    private let state = Atomic<UInt8>(awake)

    private static let awake: UInt8 = 0
    private static let napping: UInt8 = 1
    private static let sleeping: UInt8 = 2

    public init() throws(SystemError) { signal = try WakeSignal() }

    /// Readable when it has rung.
    var descriptor: Int32 { signal.descriptor }

    /// Something was published.
    @inline(__always)
    public func ring(urgent: Bool, _ isUrgent: () -> Bool = { true }) {
        // What was published first, then the look at the state: the sleeper writes its state first and then looks for
        // what there is, so that one of the two sees the other.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let state = state.load(ordering: .relaxed)
        if state == Self.awake { return }
        if state == Self.sleeping || (urgent && isUrgent()) { wake() }
    }

    private func wake() {
        guard state.exchange(Self.awake, ordering: .acquiringAndReleasing) != Self.awake else { return }
        poke()
    }

    /// Makes the next wait end at once, whatever the state.
    public func poke() { signal.wake() }

    public func prepareToNap() { state.store(Self.napping, ordering: .relaxed) }

    /// After this, what there is has to be looked for once more before waiting.
    public func prepareToSleep() {
        state.store(Self.sleeping, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Waits until it rings, so many milliseconds at most; -1: for ever.
    public func wait(milliseconds: Int32) { signal.wait(milliseconds: milliseconds) }

    public func riseAfterWait() {
        state.store(Self.awake, ordering: .relaxed)
        _ = signal.consume()
    }
}
