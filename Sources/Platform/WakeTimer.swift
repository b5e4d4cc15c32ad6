import CLinux
import Glibc

/// Wakes a thread that waits for descriptors at a time of `SystemClock.monotonic`. What falls due while the machine
/// sleeps is due as soon as it wakes: the time-outs of poll(2) and epoll(7) stand still meanwhile.
/// - See: timerfd_create(2)
public final class WakeTimer: Sendable {
    /// Readable once the time has come.
    public let descriptor: Int32

    public init() throws(SystemError) {
        descriptor = clinux_open_timer()
        guard descriptor >= 0 else { throw SystemError("timerfd_create") }
    }

    deinit { close(descriptor) }

    /// Wakes at `time`, in microseconds, and no longer at the time set before; nil: never.
    public func set(_ time: UInt64?) {
        clinux_set_timer(descriptor, time ?? 0)
    }

    /// The descriptor is quiet until the next set time.
    public func consume() {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
    }
}
