import Glibc

/// A time as the lookup log writes it: `2026-11-23T17:00:00.123456Z`.
enum Timestamp {
    /// `wall`: microseconds since 1970.
    static func text(_ wall: UInt64) -> String {
        var clock = time_t(truncatingIfNeeded: wall / 1_000_000)
        var parts = tm()
        gmtime_r(&clock, &parts)
        func padded(_ value: some BinaryInteger, _ digits: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        let date = "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))"
        let time = "\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2)):\(padded(parts.tm_sec, 2))"
        return "\(date)T\(time).\(padded(wall % 1_000_000, 6))Z"
    }
}
