import Glibc
import Platform

/// Ends leases on time: a thread that sleeps until the next lease expires.
final class LeaseClock: Sendable {
    private let signal: WakeSignal

    /// How long one wait takes at most, in milliseconds: it stands still while the machine sleeps, the leases don't.
    private static let longestPause: Int32 = 30_000

    init() throws(SystemError) { signal = try WakeSignal() }

    /// Call it if a lease may now expire earlier than the clock expects.
    func wake() { signal.wake() }

    func end() { signal.end() }

    /// Calls `endDue`, which returns the time of its next call (monotonic, in microseconds), until `end`.
    func run(_ endDue: () -> UInt64?) {
        while true {
            let next = endDue()
            let pause = next.map {
                min(Int32(clamping: ($0 - min($0, SystemClock.monotonic()) + 999) / 1000), Self.longestPause)
            }
            var polled = pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, pause ?? -1) > 0 else { continue }
            if signal.consume() { return }
        }
    }
}
