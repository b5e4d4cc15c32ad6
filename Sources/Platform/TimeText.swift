/// Times as people write them.
public enum TimeText {
    /// Milliseconds: `500ms`, `5s`, `2m`, `1h`, `1d`; a plain number is seconds. Nil for anything else, and for what no
    /// 64 bits hold.
    public static func milliseconds(_ text: some StringProtocol) -> UInt64? {
        let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
        let unit = String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self)
        let factors: [String: UInt64] = [
            "": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000,
        ]
        guard !digits.isEmpty, let value = UInt64(String(decoding: digits, as: UTF8.self)), let factor = factors[unit]
        else { return nil }
        let (milliseconds, overflow) = value.multipliedReportingOverflow(by: factor)
        return overflow ? nil : milliseconds
    }
}
