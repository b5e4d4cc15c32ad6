import Glibc
import Platform

/// Ends leases on time: a thread that sleeps until the next lease expires.
final class LeaseClock: Sendable {
    private let signal: WakeSignal

    init() throws(SystemError) { signal = try WakeSignal() }

    /// Call it if a lease may now expire earlier than the clock expects.
    func wake() { signal.wake() }

    func end() { signal.end() }

    /// Calls `endDue`, which returns the time of its next call (monotonic, in microseconds), until `end`.
    func run(_ endDue: () -> UInt64?) {
        while true {
            let next = endDue()
            let pause = next.map { Int32(clamping: ($0 - min($0, Moment.monotonicMicroseconds()) + 999) / 1000) } ?? -1
            var polled = pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, pause) > 0 else { continue }
            if signal.consume() { return }
        }
    }
}
