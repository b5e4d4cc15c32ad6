import Foundation
import Platform
import Synchronization
import TestSupport
import Testing

/// An upstream server misbehaves: clients get the right answer elsewhere, or a failure with its reason.
///
/// When that is is for the tests of `ForwardCore`, which have a clock of their own.
@Suite("A bad upstream server")
struct BadUpstreamTests {
    enum Fault: String, CaseIterable, Sendable {
        case silent, wrongID, wrongQuestion, wrongName, wrongPort, garbage, cutShort, empty, query, loop, countsLie
        case truncatedForEver, servfail, refused, notimp, formerr

        /// The extended error of RFC 8914 that fits; SERVFAIL is passed on as it came.
        var reason: String? {
            switch self {
            case .servfail: nil
            case .cutShort, .loop, .countsLie: "24 (Invalid Data)"
            case .truncatedForEver: "23 (Network Error)"
            default: "22 (No Reachable Authority)"
            }
        }

        func reaction(_ query: [UInt8], _ transport: ScriptedServer.Transport) -> ScriptedServer.Reaction {
            var answer = Reply.addresses(query, [[6, 6, 6, 6]])
            switch self {
            case .silent: return .silence
            case .wrongID: answer[0] ^= 0x55
            case .wrongQuestion: answer[answer.firstIndex(of: 0xC0)! - 3] ^= 0x01
            case .wrongName: answer[13] ^= 0x01
            case .wrongPort: return .sendFromElsewhere(answer)
            case .garbage: answer = (0..<200).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
            case .cutShort: answer.removeLast(3)
            case .empty: answer = []
            case .query: answer[2] &= 0x7F
            case .loop:
                // The owner name points at itself.
                let owner = answer.firstIndex(of: 0xC0)!
                answer[owner + 1] = UInt8(owner)
            case .countsLie: answer[7] = 200
            case .truncatedForEver: return transport == .udp ? .send(Reply.truncated(query)) : .hangUp
            case .servfail: answer = Reply.error(query, 2)
            case .refused: answer = Reply.error(query, 5)
            case .notimp: answer = Reply.error(query, 4)
            case .formerr: answer = Reply.error(query, 1)
            }
            return .send(answer)
        }

        var script: ScriptedServer.Script { { query, transport in self.reaction(query, transport) } }
    }

    private static let good: ScriptedServer.Script = { query, _ in .send(Reply.addresses(query)) }

    /// `timeout`: short where the test is for what comes then, and long where an answer is.
    private func daemon(
        _ servers: [ScriptedServer], timeout: String = "60s", _ more: String = ""
    ) async throws -> (DaemonProcess, TemporaryFolder) {
        let folder = try TemporaryFolder()
        let list = servers.map { "\"127.0.0.1:\($0.port)\"" }.joined(separator: ", ")
        let file = try folder.write(
            "upstream:\n  servers: [\(list)]\n  timeout: \(timeout)\n\(more)", to: "stub53.yaml")
        return (try await DaemonProcess(["--config", file, "--no-hosts", "--zones", folder.path]), folder)
    }

    @Test("another server's answer is given instead, long before the deadline", arguments: Fault.allCases)
    func failover(_ fault: Fault) async throws {
        let bad = try ScriptedServer(fault.script)
        let good = try ScriptedServer(Self.good)
        let (daemon, folder) = try await daemon([bad, good])
        defer { withExtendedLifetime(folder) {} }
        for name in ["one.example.net", "two.example.net", "three.example.net"] {
            #expect(try await daemon.dig(name, "+short") == "192.0.2.1\n")
            let lookup = try await daemon.lookup("\(name).", "A")
            #expect((lookup["upstream"] as? String)?.contains(":\(good.port)") == true, "\(lookup)")
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test(
        "alone, it gives SERVFAIL with the reason at the deadline; its recovery is noticed",
        arguments: Fault.allCases)
    func alone(_ fault: Fault) async throws {
        let server = try ScriptedServer(fault.script)
        let (daemon, folder) = try await daemon([server], timeout: "5s")
        defer { withExtendedLifetime(folder) {} }
        let failure = try await daemon.dig("one.example.net")
        #expect(failure.contains("status: SERVFAIL"), "\(failure)")
        if let reason = fault.reason { #expect(failure.contains("; EDE: \(reason)"), "\(failure)") }
        #expect(!failure.contains("6.6.6.6"))
        server.become(Self.good)
        try await until("192.0.2.1\n") { try await daemon.dig("back\($0).example.net", "+short") }
        #expect(try await daemon.stop() == 0)
    }

    /// Tries until something of `text` is among what comes; `attempt` gets the number of the try.
    private func until(_ text: String, _ attempt: (Int) async throws -> String) async throws {
        let end = ContinuousClock.now + .seconds(longestWait)
        var (said, tries) = ("", 0)
        while !said.contains(text) {
            try #require(ContinuousClock.now < end, "\(said)")
            tries += 1
            said = try await attempt(tries)
        }
    }

    @Test("once it is known to be down, later queries fail without being asked there")
    func knownDown() async throws {
        let server = try ScriptedServer(Fault.silent.script)
        // Longer than it takes to find that out.
        let (daemon, folder) = try await daemon([server], timeout: "4s")
        defer { withExtendedLifetime(folder) {} }
        _ = try await daemon.dig("one.example.net")
        _ = try await daemon.dig("two.example.net")
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<20 as Range<UInt16> { client.send(Wire.query("later\(id).example.net.", id: id)) }
        for _ in 0..<20 { #expect(Wire.code(try #require(try await client.receive())) == 2) }
        // One at a time is let through, to see whether it is back.
        #expect(server.questions("later") < 10)
    }

    @Test("a late answer is not lost: it counts although the question has been asked once more")
    func late() async throws {
        let first = Mutex<ScriptedServer.Release?>(nil)
        let slow = try ScriptedServer { query, _ in
            // Sent once the second has come, which itself gets no answer.
            let late = first.withLock { $0 }
            late?.send()
            return late == nil
                ? .hold(Reply.addresses(query)) { release in first.withLock { $0 = release } } : .silence
        }
        let (daemon, folder) = try await daemon([slow])
        defer { withExtendedLifetime(folder) {} }
        #expect(try await daemon.dig("late.example.net", "+short") == "192.0.2.1\n")
    }

    @Test("of several answers the first right one counts, and forged ones before it do not")
    func race() async throws {
        let server = try ScriptedServer { query, _ in
            var forged = Reply.addresses(query, [[6, 6, 6, 6]])
            forged[0] ^= 1
            return .several([
                .send(forged), .sendFromElsewhere(Reply.addresses(query, [[6, 6, 6, 6]])),
                .send(Reply.addresses(query)), .send(Reply.addresses(query, [[6, 6, 6, 6]])),
            ])
        }
        let (daemon, folder) = try await daemon([server])
        defer { withExtendedLifetime(folder) {} }
        for number in 0..<5 {
            #expect(try await daemon.dig("n\(number).example.net", "+short") == "192.0.2.1\n")
        }
        #expect(try await daemon.dig("n0.example.net", "+short") == "192.0.2.1\n")
    }

    @Test("what is truncated comes over TCP")
    func truncated() async throws {
        let server = try ScriptedServer { query, transport in
            transport == .udp
                ? .send(Reply.truncated(query))
                : .send(Reply.addresses(query, (1...200).map { [10, 0, 0, UInt8($0)] }))
        }
        let (daemon, folder) = try await daemon([server])
        defer { withExtendedLifetime(folder) {} }
        // Too much for UDP here too: dig asks again over TCP.
        let answer = try await daemon.dig("large.example.net", "+short")
        #expect(answer.split(separator: "\n").count == 200)
        let first = try await daemon.lookup("large.example.net.", "A")
        #expect((first["upstream"] as? String)?.contains("tcp") == true, "\(first)")
    }

    @Test("one that does not know EDNS is asked without")
    func noEDNS() async throws {
        let server = try ScriptedServer { query, _ in
            Reply.hasEDNS(query) ? .send(Array(Reply.error(query, 1).prefix(12))) : .send(Reply.addresses(query))
        }
        let (daemon, folder) = try await daemon([server])
        defer { withExtendedLifetime(folder) {} }
        #expect(try await daemon.dig("old.example.net", "+short") == "192.0.2.1\n")
    }

    @Test("records that nobody asked for reach neither the client nor the cache")
    func bailiwick() async throws {
        let server = try ScriptedServer { query, _ in
            // An address for victim.example.com. behind the one asked for.
            var answer = Reply.addresses(query)
            guard answer[7] == 1, query.count > 13, query[13] == UInt8(ascii: "p") else { return .send(answer) }
            answer[7] = 2
            answer += [6] + Array("victim".utf8) + [7] + Array("example".utf8) + [3] + Array("com".utf8) + [0]
            answer += [0, 1, 0, 1, 0, 0, 0x0E, 0x10, 0, 4, 6, 6, 6, 6]
            return .send(answer)
        }
        let (daemon, folder) = try await daemon([server])
        defer { withExtendedLifetime(folder) {} }
        #expect(try await !daemon.dig("poison.example.net").contains("6.6.6.6"))
        #expect(try await daemon.dig("victim.example.com", "+short") == "192.0.2.1\n")
    }

    @Test("stale answers stand in for a dead server, and say so")
    func stale() async throws {
        let server = try ScriptedServer { query, _ in .send(Reply.addresses(query, ttl: 1)) }
        let (daemon, folder) = try await daemon([server], "  stale-after: 300ms\n")
        defer { withExtendedLifetime(folder) {} }
        #expect(try await daemon.dig("stale.example.net", "+short") == "192.0.2.1\n")
        server.become { _, _ in .silence }
        // The TTL of one second has to pass, whatever the clock's grain; until then the cache answers.
        try await until("; EDE: 3 (Stale Answer)") { _ in
            let answer = try await daemon.dig("stale.example.net")
            #expect(answer.contains("192.0.2.1"))
            return answer
        }
    }
}
