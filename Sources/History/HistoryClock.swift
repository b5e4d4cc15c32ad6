/// Decides whether the clock may be believed when lookups are removed for their age: a clock that is far ahead for a
/// while would take the whole history along.
///
/// A clock more than a week ahead of the last time believed is doubted for a day of the daemon's running, unless it
/// comes back. The time last believed is stored, so that a restart does not help a wrong clock.
struct HistoryClock {
    /// Microseconds since 1970; nil: none yet.
    private(set) var believed: UInt64?
    /// Since when it is doubted, monotonic, in microseconds.
    private var doubted: UInt64?

    /// Microseconds that a machine may well be off.
    static let pause: UInt64 = 7 * 86_400_000_000
    /// Microseconds until a changed clock is believed.
    static let hold: UInt64 = 86_400_000_000

    init(believed: UInt64?) { self.believed = believed }

    /// Whether the wall clock, in microseconds, may be believed now.
    mutating func believes(wall: UInt64, monotonic: UInt64) -> Bool {
        if let believed, wall > believed, wall - believed > Self.pause {
            let since = doubted ?? monotonic
            doubted = since
            guard monotonic - min(since, monotonic) >= Self.hold else { return false }
        }
        doubted = nil
        believed = wall
        return true
    }
}
