import Foundation
import Testing

@testable import Platform

@Suite("A machine that sleeps")
struct SleepTests {
    @Test("is noticed when it wakes, once, with how long it slept")
    func noticed() {
        let second: UInt64 = 1_000_000
        var watch = SleepWatch(monotonic: 500 * second, awake: 400 * second)
        #expect(watch.look(monotonic: 505 * second, awake: 405 * second) == nil)
        // The clocks are not read at the same moment.
        #expect(watch.look(monotonic: 510 * second + 300, awake: 410 * second) == nil)
        #expect(watch.look(monotonic: 7710 * second, awake: 410 * second) == 7200 * second)
        #expect(watch.look(monotonic: 7715 * second, awake: 415 * second) == nil)
        #expect(watch.look(monotonic: 7900 * second, awake: 420 * second) == 180 * second)
    }

    @Test("has its timers due as soon as it wakes: they count the time asleep")
    func timer() throws {
        let timer = try WakeTimer()
        let description = try String(contentsOfFile: "/proc/self/fdinfo/\(timer.descriptor)", encoding: .utf8)
        // CLOCK_BOOTTIME
        #expect(description.contains("clockid: 7\n"), "\(description)")
        var polled = pollfd(fd: timer.descriptor, events: Int16(POLLIN), revents: 0)
        timer.set(1)
        #expect(poll(&polled, 1, -1) == 1)
        timer.consume()
        #expect(poll(&polled, 1, 0) == 0)
        timer.set(1)
        timer.set(nil)
        #expect(poll(&polled, 1, 0) == 0)
    }
}
