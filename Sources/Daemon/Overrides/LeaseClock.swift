import Glibc
import Platform

/// Ends leases on time: a thread that sleeps until the next lease expires.
final class LeaseClock: Sendable {
    private let signal: WakeSignal
    private let timer: WakeTimer

    init() throws(SystemError) {
        signal = try WakeSignal()
        timer = try WakeTimer()
    }

    /// Call it if a lease may now expire earlier than the clock expects.
    func wake() { signal.wake() }

    func end() { signal.end() }

    /// Calls `endDue`, which returns the time of its next call (monotonic, in microseconds), until `end`.
    func run(_ endDue: () -> UInt64?) {
        while true {
            timer.set(endDue())
            var polled = [signal.descriptor, timer.descriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            guard poll(&polled, 2, -1) > 0 else { continue }
            if polled[0].revents != 0, signal.consume() { return }
        }
    }
}
