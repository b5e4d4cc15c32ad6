import Testing

@testable import History

@Suite("Whether the clock is believed when lookups are removed for their age")
struct HistoryClockTests {
    private static let hour: UInt64 = 3_600_000_000
    private static let day = 24 * hour
    private static let start = 20_000 * day

    @Test("A steady clock is, one that is set by a day or set back, and one after a week's pause")
    func usual() {
        var clock = HistoryClock(believed: nil)
        for wall in [
            Self.start, Self.start + Self.hour, Self.start + Self.day, Self.start - 400 * Self.day,
            Self.start - 393 * Self.day,
        ] {
            let isBelieved = clock.believes(wall: wall, monotonic: 0)
            #expect(isBelieved && clock.believed == wall)
        }
    }

    @Test("One that has jumped a year is not, until it has stayed for a day")
    func jumped() {
        var clock = HistoryClock(believed: Self.start)
        let ahead = Self.start + 365 * Self.day
        for hours in 0..<24 as Range<UInt64> {
            let isBelieved = clock.believes(wall: ahead + hours * Self.hour, monotonic: (5 + hours) * Self.hour)
            #expect(!isBelieved && clock.believed == Self.start)
        }
        let isBelieved = clock.believes(wall: ahead + Self.day, monotonic: 29 * Self.hour)
        #expect(isBelieved)
    }

    @Test("It is again at once when it comes back, and the next jump is doubted anew")
    func back() {
        var clock = HistoryClock(believed: Self.start)
        let ahead = Self.start + 365 * Self.day
        var isBelieved = clock.believes(wall: ahead, monotonic: 5 * Self.hour)
        #expect(!isBelieved)
        isBelieved = clock.believes(wall: Self.start + Self.hour, monotonic: 6 * Self.hour)
        #expect(isBelieved)
        isBelieved = clock.believes(wall: ahead, monotonic: 40 * Self.hour)
        #expect(!isBelieved)
    }
}
