import DNSWire
import TestSupport
import Testing

@testable import Daemon
@testable import stub53

@Suite("The text of a live explanation")
struct ExplanationTextTests {
    @Test("shows upstream's answer, the cache entries and the servers' state")
    func live() async throws {
        let world = try LiveWorld()
        let name = try #require(Name("www.example.net."))
        let server = "127.0.0.1:\(world.upstream.port)"
        let asked = ExplanationText(await world.control.why(name, .a, asks: true)).text
        #expect(asked.hasPrefix("www.example.net. A = 192.0.2.1    (upstream)\n"), "\(asked)")
        #expect(asked.contains(/\n  asked    127\.0\.0\.1:\d+ says NOERROR in \d+\.\d ms\n/), "\(asked)")
        let text = ExplanationText(await world.control.why(name, .a)).text
        #expect(text.hasPrefix("www.example.net. A = 192.0.2.1    (cache)\n"), "\(text)")
        #expect(
            text.contains(
                /\n  cache    www\.example\.net\. A: NOERROR, \d+ s old, \d+ s left of 3600, 0 hits, from [0-9.:]+ in \d+\.\d ms\n/
            ), "\(text)")
        #expect(text.contains("\n  server   \(server): "), "\(text)")
        #expect(text.contains("  browser  connects to 192.0.2.1; upstream's HTTPS record"), "\(text)")
    }
}
