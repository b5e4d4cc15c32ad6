import Foundation
import TestSupport
import Testing

@Suite("Memory")
struct MemoryTests {
    /// Resident set size in bytes.
    private func resident(_ daemon: DaemonProcess) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(daemon.program.identifier)/statm", encoding: .utf8)
        let pages = try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) })
        return pages * Int(getpagesize())
    }

    /// Asks for `names`, at most 64 at once; returns the number of answers.
    private func flood(_ port: UInt16, _ names: Range<Int>) async throws -> Int {
        try await blocking {
            let client = try DatagramClient(port: port)
            var sent = names.lowerBound
            var answered = 0
            while answered < names.count {
                while sent < names.upperBound, sent - names.lowerBound - answered < 64 {
                    client.send(Wire.query("name-\(sent)-of-a-flood.example.net.", id: UInt16(sent & 0xFFFF)))
                    sent += 1
                }
                guard client.receiveNow() != nil else { return answered }
                answered += 1
            }
            return answered
        }
    }

    @Test("a flood of distinct names takes no more memory than the cache may, and new entries replace old ones")
    func flood() async throws {
        // A kilobyte each.
        let addresses = (0..<64).map { [10, 0, 0, UInt8($0)] as [UInt8] }
        let upstream = try ScriptedServer(remembering: "name-0-") { query, _ in .send(Reply.addresses(query, addresses))
        }
        let folder = try TemporaryFolder()
        let daemon = try await DaemonProcess([
            "--no-hosts", "--zones", folder.path, "--log", "none", "--cache-size", "1M", "--upstream",
            "127.0.0.1:\(upstream.port)",
        ])
        // Enough to fill the cache and anything else that grows once.
        #expect(try await flood(daemon.port, 0..<2_000) == 2_000)
        let before = try resident(daemon)
        #expect(try await flood(daemon.port, 2_000..<8_000) == 6_000)
        let grown = try resident(daemon) - before
        // 6,000 cached answers would be more than 6 MB.
        #expect(grown < 2 << 20, "\(before) bytes, then \(grown) more")
        let asked = upstream.count("name-0-")
        #expect(asked > 0)
        #expect(try await flood(daemon.port, 0..<1) == 1)
        #expect(upstream.count("name-0-") > asked)
        #expect(try await daemon.stop() == 0)
    }

    @Test("a flood of names that upstream never answers is bounded, and other queries are served meanwhile")
    func unanswered() async throws {
        let upstream = try ScriptedServer(remembering: "none") { _, _ in .silence }
        let folder = try TemporaryFolder()
        try folder.write(ZoneText.shop, to: "zones/shop.zone")
        let file = try folder.write("upstream:\n  timeout: 1s\n  max-in-flight: 200\n", to: "stub53.yaml")
        let daemon = try await DaemonProcess([
            "--config", file, "--no-hosts", "--zones", folder.file("zones"), "--log", "none", "--upstream",
            "127.0.0.1:\(upstream.port)",
        ])
        let port = daemon.port
        try await blocking {
            let client = try DatagramClient(port: port)
            var sent: UInt16 = 0
            for failed in 0..<2000 {
                // Twice as many as may wait; no more than the system's buffers hold.
                while sent < min(failed + 400, 2000) {
                    client.send(Wire.query("n\(sent).example.net.", id: sent))
                    sent += 1
                }
                if failed == 0 {
                    let local = try DatagramClient(port: port)
                    local.send(Wire.query("www.shop.test.", id: 1))
                    #expect(local.receiveNow().map(Wire.answers) == 1)
                }
                #expect(Wire.code(try #require(client.receiveNow())) == 2)
            }
        }
        #expect(try await daemon.stop() == 0)
    }
}
