import Foundation
import Synchronization
import TestSupport
import Testing

/// SIGTERM and SIGINT: what was asked is answered, then it ends with code 0.
@Suite("A daemon that is told to end")
struct EndTests {
    private func daemon(_ upstream: ScriptedServer, _ folder: TemporaryFolder) async throws -> DaemonProcess {
        try await DaemonProcess([
            "--no-hosts", "--zones", folder.path, "--upstream", "127.0.0.1:\(upstream.port)",
        ])
    }

    @Test("answers what waits for upstream, over UDP and TCP, while others keep asking", arguments: [SIGTERM, SIGINT])
    func inFlight(_ signal: Int32) async throws {
        let held = Mutex<[ScriptedServer.Release]>([])
        let upstream = try ScriptedServer { query, _ in
            .hold(Reply.addresses(query)) { release in held.withLock { $0.append(release) } }
        }
        let folder = try TemporaryFolder()
        try folder.write(ZoneText.shop, to: "shop.zone")
        let daemon = try await daemon(upstream, folder)
        let datagrams = try DatagramClient(port: daemon.port)
        let stream = try StreamClient(port: daemon.port)
        for id in 0..<100 as Range<UInt16> { datagrams.send(Wire.query("u\(id).example.net.", id: id)) }
        for id in 100..<150 as Range<UInt16> { try stream.send(Wire.query("t\(id).example.net.", id: id)) }
        // A query loop beside them, until nobody answers any more.
        let port = daemon.port
        async let loop = blocking {
            let client = try DatagramClient(port: port, patience: 1)
            var answered = 0
            while client.send(Wire.query("www.shop.test.", id: UInt16(answered & 0xFFFF))), client.receiveNow() != nil {
                answered += 1
            }
            return answered
        }
        try await eventually("upstream is asked") { held.withLock { Set($0.map(\.question)).count } == 150 }
        _ = try await daemon.lookup("www.shop.test.", "A")
        daemon.program.signal(signal)
        // No new connections: it has begun to end.
        try await eventually("no more connections") { (try? StreamClient(port: port)) == nil }
        for release in held.withLock({ $0 }) { release.send() }
        var seen: Set<UInt16> = []
        for _ in 0..<100 {
            let answer = try #require(try await datagrams.receive())
            #expect(Wire.code(answer) == 0 && Wire.answers(answer) == 1)
            seen.insert(Wire.id(answer))
        }
        for _ in 0..<50 {
            let answer = try #require(try await stream.receive())
            #expect(Wire.code(answer) == 0 && Wire.answers(answer) == 1)
            seen.insert(Wire.id(answer))
        }
        #expect(seen == Set(0..<150))
        #expect(try await stream.receive() == nil)
        #expect(try await daemon.program.exitCode() == 0)
        #expect(try await loop > 0)
        // Each has its line, those at the very end too.
        let lines = daemon.output.all.filter { $0.contains(".example.net.\",\"type\":\"A\"") }
        #expect(lines.count == 150)
    }

    @Test("does not wait for an upstream server that never answers: SERVFAIL after two seconds")
    func silent() async throws {
        let upstream = try ScriptedServer { _, _ in .silence }
        let folder = try TemporaryFolder()
        let daemon = try await daemon(upstream, folder)
        let client = try DatagramClient(port: daemon.port)
        client.send(Wire.query("never.example.net.", id: 7))
        try await eventually("upstream is asked") { upstream.count("never") > 0 }
        let start = ContinuousClock.now
        daemon.program.signal(SIGTERM)
        let answer = try #require(try await client.receive())
        #expect(Wire.id(answer) == 7 && Wire.code(answer) == 2)
        #expect(ContinuousClock.now - start < .seconds(3))
        #expect(try await daemon.program.exitCode() == 0)
    }

    @Test("an idle connection does not hold it up")
    func idle() async throws {
        let upstream = try ScriptedServer { _, _ in .silence }
        let folder = try TemporaryFolder()
        let daemon = try await daemon(upstream, folder)
        let client = try StreamClient(port: daemon.port)
        try client.send(Wire.query("localhost.", id: 1))
        #expect(try await client.receive() != nil)
        let start = ContinuousClock.now
        #expect(try await daemon.stop() == 0)
        #expect(ContinuousClock.now - start < .seconds(2))
        #expect(try await client.receive() == nil)
    }
}
