import Foundation
import Synchronization
import TestSupport
import Testing

/// SIGTERM and SIGINT: pending queries are answered, then the daemon exits with 0.
@Suite("A daemon that is told to end")
struct EndTests {
    /// How long upstream may still take at shutdown.
    private static let grace = Duration.seconds(2)

    private func daemon(_ upstream: ScriptedServer, _ folder: TemporaryFolder) async throws -> DaemonProcess {
        try await DaemonProcess([
            "--config", try folder.write("upstream.timeout: 60s\ntcp.idle-timeout: 5m\n", to: "stub53.yaml"),
            "--no-hosts", "--zones",
            folder.path, "--upstream", "127.0.0.1:\(upstream.port)",
        ])
    }

    @Test("answers waiting queries, over UDP and TCP, while other clients keep asking", arguments: [SIGTERM, SIGINT])
    func inFlight(_ signal: Int32) async throws {
        let held = Mutex<[ScriptedServer.Release]>([])
        let upstream = try ScriptedServer { query, _ in
            .hold(Reply.addresses(query)) { release in held.withLock { $0.append(release) } }
        }
        let folder = try TemporaryFolder()
        try folder.write(ZoneText.shop, to: "shop.zone")
        let daemon = try await daemon(upstream, folder)
        let port = daemon.port
        // A query loop beside them, until the daemon has ended.
        let looped = Atomic(0)
        let hasEnded = Atomic(false)
        async let loop: Void = blocking {
            let client = try DatagramClient(port: port, wait: 1)
            while !hasEnded.load(ordering: .relaxed) {
                client.send(Wire.query("www.shop.test.", id: 1))
                if client.receiveNow() != nil { looped.add(1, ordering: .relaxed) }
            }
        }
        // Runs before the loop is awaited, however the test ends.
        defer { hasEnded.store(true, ordering: .relaxed) }
        // One thread, so that busy parallel tests don't delay the answers after the signal.
        let (answers, isInTime) = try await blocking {
            let datagrams = try DatagramClient(port: port)
            let stream = try StreamClient(port: port)
            for id in 0..<100 as Range<UInt16> { datagrams.send(Wire.query("u\(id).example.net.", id: id)) }
            for id in 100..<150 as Range<UInt16> { try stream.send(Wire.query("t\(id).example.net.", id: id)) }
            try waitUntil("upstream is asked") { held.withLock { Set($0.map(\.question)).count } == 150 }
            try waitUntil("the loop runs") { looped.load(ordering: .relaxed) > 0 }
            let told = ContinuousClock.now
            daemon.program.signal(signal)
            // No new connections: the shutdown has begun.
            try waitUntil("no more connections") { (try? StreamClient(port: port)) == nil }
            for release in held.withLock({ $0 }) { release.send() }
            let isInTime = ContinuousClock.now - told < Self.grace / 2
            var answers: [[UInt8]] = []
            for _ in 0..<100 { answers.append(try #require(datagrams.receiveNow())) }
            for _ in 0..<50 { answers.append(try #require(try stream.receiveNow())) }
            #expect(try stream.receiveNow() == nil)
            return (answers, isInTime)
        }
        #expect(Set(answers.map(Wire.id)) == Set(0..<150))
        // On a very busy machine upstream may be too late: then the answer is SERVFAIL.
        #expect(answers.allSatisfy { Wire.code($0) == 0 && Wire.answers($0) == 1 || !isInTime && Wire.code($0) == 2 })
        #expect(try await daemon.program.exitCode() == 0)
        hasEnded.store(true, ordering: .relaxed)
        try await loop
        // Each has a log line, even those at the very end.
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
        daemon.program.signal(SIGTERM)
        let answer = try #require(try await client.receive())
        #expect(Wire.id(answer) == 7 && Wire.code(answer) == 2)
        // Not Ready: the timeout of a minute was cut short.
        let error = try await daemon.lookup("never.example.net.", "A")["ede"] as? [String: Any]
        #expect(error?["code"] as? Int == 14)
        #expect(try await daemon.program.exitCode() == 0)
    }

    @Test("an idle connection does not delay it")
    func idle() async throws {
        let upstream = try ScriptedServer { _, _ in .silence }
        let folder = try TemporaryFolder()
        let daemon = try await daemon(upstream, folder)
        let client = try StreamClient(port: daemon.port)
        try client.send(Wire.query("localhost.", id: 1))
        #expect(try await client.receive() != nil)
        // The idle timeout is five minutes, longer than the test waits.
        daemon.program.signal(SIGTERM)
        #expect(try await client.receive() == nil)
        #expect(try await daemon.program.exitCode() == 0)
    }
}
