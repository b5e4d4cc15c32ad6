import Platform

/// How long something stays that was added at run time.
struct LeaseTerm: Sendable {
    /// When it expires, in the lookup log's format; nil: with the daemon.
    let until: String?
    /// The same, monotonic in microseconds; `.max`: never.
    let end: UInt64

    /// 30 days, in seconds.
    private static let longest: UInt32 = 2_592_000

    /// Refuses what is no time.
    static func check(_ seconds: UInt32?) throws(OverrideProblem) {
        guard let seconds, !(1...longest).contains(seconds) else { return }
        throw OverrideProblem("a lease of \(seconds) s is not possible; give 1 s to 30 days")
    }

    /// - Parameter seconds: nil: until the daemon ends.
    init(seconds: UInt32?, from now: Moment) {
        let microseconds = seconds.map { UInt64($0) * 1_000_000 }
        until = microseconds.map { CalendarTime.timestamp(now.wall + $0) }
        end = microseconds.map { now.monotonic + $0 } ?? .max
    }

    /// The seconds that remain, rounded up; nil: it does not expire. `now` is monotonic, in microseconds.
    func left(at now: UInt64) -> UInt32? {
        end == .max ? nil : UInt32(clamping: (end - min(end, now) + 999_999) / 1_000_000)
    }
}

extension Sequence<LeaseTerm> {
    /// When the first expires, monotonic in microseconds; nil if none does.
    var nextEnd: UInt64? { lazy.map(\.end).filter { $0 < .max }.min() }
}
