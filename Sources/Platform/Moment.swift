import CLinux
import Glibc

/// A point in time, read once per batch.
public struct Moment: Sendable, BitwiseCopyable {
    /// Microseconds since 1970.
    public var wall: UInt64
    /// Microseconds of the monotonic clock.
    public var monotonic: UInt64

    public init(wall: UInt64, monotonic: UInt64) {
        self.wall = wall
        self.monotonic = monotonic
    }

    public static func now() -> Moment {
        Moment(wall: microseconds(CLOCK_REALTIME), monotonic: monotonicMicroseconds())
    }

    public static func monotonicMicroseconds() -> UInt64 { microseconds(CLOCK_MONOTONIC) }

    public static func microseconds(since start: Moment) -> UInt32 {
        UInt32(clamping: monotonicMicroseconds() &- start.monotonic)
    }

    private static func microseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) &* 1_000_000 &+ UInt64(time.tv_nsec) / 1000
    }
}
