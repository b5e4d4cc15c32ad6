/// Notices that the machine has slept, by the difference of two clocks.
public struct SleepWatch: Sendable {
    /// The time asleep since the machine started, in microseconds.
    private var asleep: UInt64

    /// The two clocks are read one after the other, and a shorter sleep changes nothing.
    private static let shortest: UInt64 = 1_000_000

    /// - Parameters:
    ///   - monotonic: microseconds of `SystemClock.monotonic`.
    ///   - awake: microseconds of `SystemClock.awake`.
    public init(monotonic: UInt64 = SystemClock.monotonic(), awake: UInt64 = SystemClock.awake()) {
        asleep = monotonic - min(awake, monotonic)
    }

    /// How long the machine has slept since the last call, in microseconds; nil if it has not.
    public mutating func look(
        monotonic: UInt64 = SystemClock.monotonic(), awake: UInt64 = SystemClock.awake()
    ) -> UInt64? {
        let now = SleepWatch(monotonic: monotonic, awake: awake).asleep
        guard now >= asleep + Self.shortest else { return nil }
        defer { asleep = now }
        return now - asleep
    }
}
