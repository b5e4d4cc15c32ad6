import CLinux
import Glibc

/// A point in time, read once per batch.
struct Moment: Sendable, BitwiseCopyable {
    /// Microseconds since 1970.
    var wall: UInt64
    /// Microseconds of the monotonic clock.
    var monotonic: UInt64

    static func now() -> Moment {
        Moment(wall: microseconds(CLOCK_REALTIME), monotonic: monotonicMicroseconds())
    }

    static func monotonicMicroseconds() -> UInt64 { microseconds(CLOCK_MONOTONIC) }

    static func microseconds(since start: Moment) -> UInt32 {
        UInt32(clamping: monotonicMicroseconds() &- start.monotonic)
    }

    private static func microseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) &* 1_000_000 &+ UInt64(time.tv_nsec) / 1000
    }
}
