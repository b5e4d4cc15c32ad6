import Glibc
import Platform

/// Does a thread's work on time: it sleeps until the next is due.
final class WorkClock: Sendable {
    let signal: WakeSignal
    private let timer: WakeTimer

    init() throws(SystemError) {
        signal = try WakeSignal()
        timer = try WakeTimer()
    }

    /// Call it if work may now be due earlier than the clock expects.
    func wake() { signal.wake() }

    func end() { signal.end() }

    var hasEnded: Bool { signal.hasEnded }

    /// Calls `work`, which returns the time of its next call (monotonic, in microseconds), until `end`.
    func run(_ work: () -> UInt64?) {
        while true {
            timer.set(work())
            var polled = [signal.descriptor, timer.descriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            guard poll(&polled, 2, -1) > 0 else { continue }
            if polled[0].revents != 0, signal.consume() { return }
        }
    }
}
