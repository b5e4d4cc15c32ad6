import Glibc
import Platform
import Testing

struct SystemClockTests {
    /// /proc/uptime counts the time asleep, in hundredths of a second.
    @Test func theMonotonicClockCountsTheMachinesSleep() throws {
        let before = SystemClock.monotonic()
        let file = try FileText(path: "/proc/uptime")
        let after = SystemClock.monotonic()
        let text = String(decoding: file.bytes, as: UTF8.self)
        let seconds = try #require(text.split(separator: " ").first.flatMap { Double($0) })
        let uptime = UInt64((seconds * 1_000_000).rounded())
        #expect(uptime + 10_000 >= before)
        #expect(uptime <= after)
    }

    @Test func theWallClockIsTheSystems() {
        let before = time(nil)
        let now = SystemClock.wall()
        let after = time(nil)
        // time(nil) may lag behind by a tick.
        #expect(Int(now / 1_000_000) >= before && Int(now / 1_000_000) <= after + 1)
    }
}
