import Foundation
import Platform
import Synchronization
import TestSupport
import Testing

/// An upstream server misbehaves: clients get the right answer from another server, or a failure with its reason.
///
/// The exact timing is tested with `ForwardCore`, which has a simulated clock.
@Suite("A bad upstream server")
struct BadUpstreamTests {
    enum Fault: String, CaseIterable, Sendable {
        case silent, wrongID, wrongQuestion, wrongName, wrongPort, garbage, cutShort, empty, query, loop, countsLie
        case truncatedForEver, servfail, refused, notimp, formerr

        /// The expected extended error of RFC 8914; SERVFAIL is passed on unchanged.
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
            // The pointer behind the question; the ID in front may hold the same byte.
            let owner = answer[12...].firstIndex(of: 0xC0)!
            switch self {
            case .silent: return .silence
            case .wrongID: answer[0] ^= 0x55
            case .wrongQuestion: answer[owner - 3] ^= 0x01
            case .wrongName: answer[13] ^= 0x01
            case .wrongPort: return .sendFromElsewhere(answer)
            case .garbage: answer = (0..<200).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
            case .cutShort: answer.removeLast(3)
            case .empty: answer = []
            case .query: answer[2] &= 0x7F
            case .loop:
                // The owner name is a pointer to itself.
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

    /// `timeout`: short if the test expects it to expire, long if it expects an answer.
    private func daemon(
        _ servers: [ScriptedServer], timeout: String = "60s", _ more: String = ""
    ) async throws -> (DaemonProcess, TemporaryFolder) {
        let folder = try TemporaryFolder()
        let list = servers.map { "\"127.0.0.1:\($0.port)\"" }.joined(separator: ", ")
        let file = try folder.write(
            "upstream:\n  servers: [\(list)]\n  timeout: \(timeout)\n\(more)", to: "stub53.yaml")
        return (try await DaemonProcess(["--config", file, "--no-hosts", "--zones", folder.path]), folder)
    }

    @Test("another server answers instead, long before the deadline", arguments: Fault.allCases)
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
        "alone, it leads to SERVFAIL with a reason at the deadline; its recovery is noticed",
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

    /// Repeats `attempt`, which gets its number, until the result contains `text`.
    private func until(_ text: String, _ attempt: (Int) async throws -> String) async throws {
        let end = ContinuousClock.now + .seconds(longestWait)
        var (said, tries) = ("", 0)
        while !said.contains(text) {
            try #require(ContinuousClock.now < end, "\(said)")
            tries += 1
            said = try await attempt(tries)
        }
    }

    @Test("once it is down, a flood of new questions is not sent there, and yet it is asked")
    func knownDown() async throws {
        let server = try ScriptedServer(Fault.silent.script)
        // Longer than it takes to notice.
        let (daemon, folder) = try await daemon([server], timeout: "4s")
        defer { withExtendedLifetime(folder) {} }
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<3 as Range<UInt16> { client.send(Wire.query("first\(id).example.net.", id: id)) }
        for _ in 0..<3 { #expect(Wire.code(try #require(try await client.receive())) == 2) }
        for id in 0..<1_000 as Range<UInt16> { client.send(Wire.query("later\(id).example.net.", id: id)) }
        for _ in 0..<1_000 { #expect(Wire.code(try #require(try await client.receive())) == 2) }
        #expect((1...500).contains(server.questions("later")))
    }

    @Test("while some names stay silent, others are answered at once, also those asked right after a failure")
    func silentNames() async throws {
        let server = try ScriptedServer { query, _ in
            query[13...].starts(with: "silent".utf8) ? .silence : .send(Reply.addresses(query))
        }
        let (daemon, folder) = try await daemon([server], timeout: "1s")
        defer { withExtendedLifetime(folder) {} }
        let client = try DatagramClient(port: daemon.port)
        for round in 0..<10 as Range<UInt16> {
            for id in 0..<5 as Range<UInt16> {
                client.send(Wire.query("silent\(round)-\(id).example.net.", id: round * 5 + id))
            }
            for _ in 0..<5 { #expect(Wire.code(try #require(try await client.receive())) == 2) }
            #expect(try await daemon.dig("good\(round).example.net", "+short") == "192.0.2.1\n")
        }
    }

    @Test("a server that answers one query per connection answers many at once")
    func oneQueryPerConnection() async throws {
        let server = try ScriptedServer { query, _ in .several([.send(Reply.addresses(query)), .hangUp]) }
        let folder = try TemporaryFolder()
        let daemon = try await DaemonProcess([
            "--no-hosts", "--zones", folder.path, "--upstream", "tcp://127.0.0.1:\(server.port)",
        ])
        let client = try DatagramClient(port: daemon.port)
        for round in 0..<3 as Range<UInt16> {
            for id in 0..<10 as Range<UInt16> {
                client.send(Wire.query("n\(round)-\(id).example.net.", id: round * 10 + id))
            }
            for _ in 0..<10 { #expect(Wire.code(try #require(try await client.receive())) == 0) }
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("a late answer is not lost: it counts even if the question was sent again")
    func late() async throws {
        let first = Mutex<ScriptedServer.Release?>(nil)
        let slow = try ScriptedServer { query, _ in
            // Sent after the second query arrives, which gets no answer.
            let late = first.withLock { $0 }
            late?.send()
            return late == nil
                ? .hold(Reply.addresses(query)) { release in first.withLock { $0 = release } } : .silence
        }
        let (daemon, folder) = try await daemon([slow])
        defer { withExtendedLifetime(folder) {} }
        #expect(try await daemon.dig("late.example.net", "+short") == "192.0.2.1\n")
    }

    @Test("the first correct answer counts, and forged ones before it do not")
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

    @Test("a truncated answer is fetched over TCP")
    func truncated() async throws {
        let server = try ScriptedServer { query, transport in
            transport == .udp
                ? .send(Reply.truncated(query))
                : .send(Reply.addresses(query, (1...200).map { [10, 0, 0, UInt8($0)] }))
        }
        let (daemon, folder) = try await daemon([server])
        defer { withExtendedLifetime(folder) {} }
        // Too large for UDP here too: dig retries over TCP.
        let answer = try await daemon.dig("large.example.net", "+short")
        #expect(answer.split(separator: "\n").count == 200)
        let first = try await daemon.lookup("large.example.net.", "A")
        #expect((first["upstream"] as? String)?.contains("tcp") == true, "\(first)")
    }

    @Test("a server without EDNS is asked without it")
    func noEDNS() async throws {
        let server = try ScriptedServer { query, _ in
            Reply.hasEDNS(query) ? .send(Array(Reply.error(query, 1).prefix(12))) : .send(Reply.addresses(query))
        }
        let (daemon, folder) = try await daemon([server])
        defer { withExtendedLifetime(folder) {} }
        #expect(try await daemon.dig("old.example.net", "+short") == "192.0.2.1\n")
    }

    @Test("unrequested records reach neither the client nor the cache")
    func bailiwick() async throws {
        let server = try ScriptedServer { query, _ in
            // Adds an address for victim.example.com. to the requested one.
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

    @Test("stale answers replace those of a dead server, and say so")
    func stale() async throws {
        let server = try ScriptedServer { query, _ in .send(Reply.addresses(query, ttl: 1)) }
        let (daemon, folder) = try await daemon([server], "  stale-after: 300ms\n")
        defer { withExtendedLifetime(folder) {} }
        #expect(try await daemon.dig("stale.example.net", "+short") == "192.0.2.1\n")
        server.become { _, _ in .silence }
        // The TTL of one second must pass, whatever the clock's resolution; until then the cache answers.
        try await until("; EDE: 3 (Stale Answer)") { _ in
            let answer = try await daemon.dig("stale.example.net")
            #expect(answer.contains("192.0.2.1"))
            return answer
        }
    }
}
