import Platform
import Testing

@Suite("Times of the calendar")
struct CalendarTimeTests {
    @Test(
        "are written as in RFC 3339",
        arguments: [
            (0, "1970-01-01T00:00:00.000000Z"), (1_000_001, "1970-01-01T00:00:01.000001Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"), (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (4_107_542_399_000_000, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] as [(UInt64, String)])
    func written(wall: UInt64, text: String) {
        #expect(CalendarTime.timestamp(wall) == text)
        #expect(CalendarTime.wall(of: text) == wall)
    }

    @Test(
        "are read with offsets, fractions and leap seconds",
        arguments: [
            ("2026-11-23T17:00:00Z", 1_795_453_200_000_000), ("2026-11-23t17:00z", 1_795_453_200_000_000),
            ("2026-11-23T18:30:00+01:30", 1_795_453_200_000_000), ("2026-11-23T09:00:00-08:00", 1_795_453_200_000_000),
            ("2026-11-23T17:00:00.5Z", 1_795_453_200_500_000),
            ("2026-11-23T17:00:00.123456789Z", 1_795_453_200_123_456),
            ("1990-12-31T23:59:60Z", 662_688_000_000_000), ("1970-01-01Z", 0),
        ] as [(String, UInt64)])
    func read(text: String, wall: UInt64) { #expect(CalendarTime.wall(of: text) == wall) }

    @Test(
        "are refused where there is no such time",
        arguments: [
            "", "2026", "2026-11", "2026-02-29Z", "2026-11-31Z", "2026-00-10Z", "2026-13-01Z", "2026-11-00Z",
            "1969-12-31Z", "26-11-23Z", "2026-1-23Z", "2026/11/23Z", "2026-11-23T", "2026-11-23T17Z",
            "2026-11-23T24:00Z", "2026-11-23T17:60Z", "2026-11-23T17:00:61Z", "2026-11-23T17:00:00.Z",
            "2026-11-23T17:00:00.1234567890Z", "2026-11-23T17:00:00Zx", "2026-11-23T17:00:00+1:00",
            "2026-11-23T17:00:00+24:00", "2026-11-23T17:00:00+01:60", "2026-11-23T17:00:00+0100",
            "1970-01-01T00:00:00+01:00", " 2026-11-23Z", "\u{0662}026-11-23Z", "+026-11-23Z",
        ])
    func refused(text: String) { #expect(CalendarTime.wall(of: text) == nil) }

    @Test("are in the machine's time zone where none is named")
    func local() throws {
        let wall = try #require(CalendarTime.wall(of: "2026-11-23T17:04:05"))
        let time = CalendarTime(seconds: Int(wall / 1_000_000), .local)
        #expect(time.date == "2026-11-23" && time.time == "17:04:05")
    }

    @Test("beyond what can be counted are no trap", arguments: [Int.max, Int.min])
    func extreme(seconds: Int) { #expect(CalendarTime(seconds: seconds).date == "1970-01-01") }
}
