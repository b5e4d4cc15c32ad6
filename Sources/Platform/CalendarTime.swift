import Glibc

/// A second in the Gregorian calendar.
/// - RFC: 3339 5.6.
public struct CalendarTime: Sendable, Equatable {
    public let year: Int
    /// From 1, as the day is.
    public let month: Int
    public let day: Int
    public let hour: Int
    public let minute: Int
    public let second: Int

    public enum Zone: Sendable {
        case utc
        /// The machine's time zone.
        case local
    }

    /// - Parameter seconds: since 1970. Years beyond what the C library can count become 1970.
    public init(seconds: Int, _ zone: Zone = .utc) {
        var clock = time_t(seconds)
        var parts = tm()
        let isKnown = zone == .utc ? gmtime_r(&clock, &parts) != nil : localtime_r(&clock, &parts) != nil
        if !isKnown {
            parts = tm()
            parts.tm_year = 70
            parts.tm_mday = 1
        }
        year = Int(parts.tm_year) + 1900
        month = Int(parts.tm_mon) + 1
        day = Int(parts.tm_mday)
        hour = Int(parts.tm_hour)
        minute = Int(parts.tm_min)
        second = Int(parts.tm_sec)
    }

    /// `2026-11-23`.
    public var date: String { "\(Self.padded(year, 4))-\(Self.padded(month))-\(Self.padded(day))" }

    /// `17:00:00`.
    public var time: String { "\(Self.padded(hour)):\(Self.padded(minute)):\(Self.padded(second))" }

    /// `2026-11-23T17:00:00.123456Z`.
    ///
    /// - Parameter wall: microseconds since 1970.
    public static func timestamp(_ wall: UInt64) -> String {
        let time = CalendarTime(seconds: Int(wall / 1_000_000))
        return "\(time.date)T\(time.time).\(padded(Int(wall % 1_000_000), 6))Z"
    }

    /// Microseconds since 1970 of `2026-11-23`, `2026-11-23T17:00`, `...:00` or `...:00.123`, followed by `Z` or an offset
    /// (`+01:00`) for other time zones than the machine's. Nil for other texts, for days that no month has, and for years
    /// before 1970.
    public static func wall(of text: String) -> UInt64? {
        var reader = Reader(rest: Array(text.utf8)[...])
        return reader.timestamp()
    }

    private static func padded(_ number: Int, _ digits: Int = 2) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        mutating func timestamp() -> UInt64? {
            guard let year = number(4, 1970...9999), let month = number(after: "-", 1...12),
                let day = number(after: "-", 1...31)
            else { return nil }
            var parts = tm()
            parts.tm_year = year - 1900
            parts.tm_mon = month - 1
            parts.tm_mday = day
            var microseconds: UInt64 = 0
            if take("T") || take("t") {
                guard let hour = number(2, 0...23), let minute = number(after: ":", 0...59) else { return nil }
                parts.tm_hour = hour
                parts.tm_min = minute
                if take(":") {
                    guard let second = number(2, 0...60) else { return nil }
                    parts.tm_sec = second
                    if take(".") {
                        guard let fraction = fraction() else { return nil }
                        microseconds = fraction
                    }
                }
            }
            let wanted = parts
            parts.tm_isdst = -1
            let seconds: Int
            if rest.isEmpty {
                seconds = mktime(&parts)
            } else {
                guard let offset = offset() else { return nil }
                seconds = timegm(&parts) - offset
            }
            // timegm and mktime turn 31 February into a day in March; a leap second does become the next day's first.
            guard seconds >= 0, parts.tm_mday == wanted.tm_mday || wanted.tm_sec == 60 else { return nil }
            return UInt64(seconds) * 1_000_000 + microseconds
        }

        private mutating func take(_ mark: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: mark) else { return false }
            rest.removeFirst()
            return true
        }

        private mutating func number(after mark: Unicode.Scalar, _ range: ClosedRange<Int32>) -> Int32? {
            take(mark) ? number(2, range) : nil
        }

        private mutating func number(_ digits: Int, _ range: ClosedRange<Int32>) -> Int32? {
            let part = rest.prefix(digits)
            guard part.count == digits, part.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            rest = rest.dropFirst(digits)
            let value = part.reduce(Int32(0)) { $0 * 10 + Int32($1 - 0x30) }
            return range.contains(value) ? value : nil
        }

        /// One to nine digits, in microseconds.
        private mutating func fraction() -> UInt64? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard (1...9).contains(digits.count) else { return nil }
            rest = rest.dropFirst(digits.count)
            let padded = digits + [UInt8](repeating: 0x30, count: 9 - digits.count)
            return padded.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) } / 1000
        }

        /// Seconds ahead of UTC, to the end.
        private mutating func offset() -> Int? {
            if take("Z") || take("z") { return rest.isEmpty ? 0 : nil }
            let sign = take("+") ? 1 : take("-") ? -1 : 0
            guard sign != 0, let hours = number(2, 0...23), let minutes = number(after: ":", 0...59), rest.isEmpty
            else {
                return nil
            }
            return sign * (Int(hours) * 3600 + Int(minutes) * 60)
        }
    }
}
