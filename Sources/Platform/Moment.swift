/// A point in time, read once per batch.
public struct Moment: Sendable, BitwiseCopyable {
    /// Microseconds since 1970.
    public var wall: UInt64
    /// Microseconds of `SystemClock.monotonic`.
    public var monotonic: UInt64

    public init(wall: UInt64, monotonic: UInt64) {
        self.wall = wall
        self.monotonic = monotonic
    }

    public static func now() -> Moment { Moment(wall: SystemClock.wall(), monotonic: SystemClock.monotonic()) }

    public static func microseconds(since start: Moment) -> UInt32 {
        UInt32(clamping: SystemClock.monotonic() &- start.monotonic)
    }
}
