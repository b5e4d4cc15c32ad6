public import Platform
internal import Synchronization

/// Wakes a thread that collects the output of other threads, and only when needed: no system call per lookup under
/// load.
///
/// The thread sleeps while nothing comes; then the first output wakes it and is handled at once. After work it naps for
/// a while, so that output accumulates; then only urgent output wakes it, such as a half-full ring buffer.
public final class Bell: Sendable {
    private let signal: WakeSignal
    private let state = Atomic<UInt8>(awake)

    private static let awake: UInt8 = 0
    private static let napping: UInt8 = 1
    private static let sleeping: UInt8 = 2

    public init() throws(SystemError) { signal = try WakeSignal() }

    /// Readable when the bell has rung.
    var descriptor: Int32 { signal.descriptor }

    /// Call after publishing something.
    @inline(__always)
    public func ring(urgent: Bool, _ isUrgent: () -> Bool = { true }) {
        // Publish first, then read the state; the sleeper writes its state first, then checks for output. So at least
        // one of the two sees the other's write.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let state = state.load(ordering: .relaxed)
        if state == Self.awake { return }
        if state == Self.sleeping || (urgent && isUrgent()) { wake() }
    }

    private func wake() {
        guard state.exchange(Self.awake, ordering: .acquiringAndReleasing) != Self.awake else { return }
        poke()
    }

    /// Ends the current or next wait, whatever the state.
    public func poke() { signal.wake() }

    public func prepareToNap() { state.store(Self.napping, ordering: .relaxed) }

    /// The caller must check for output once more before it waits.
    public func prepareToSleep() {
        state.store(Self.sleeping, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Waits until the bell rings, `milliseconds` at most (-1: for ever).
    public func wait(milliseconds: Int32) { signal.wait(milliseconds: milliseconds) }

    public func riseAfterWait() {
        state.store(Self.awake, ordering: .relaxed)
        _ = signal.consume()
    }
}
