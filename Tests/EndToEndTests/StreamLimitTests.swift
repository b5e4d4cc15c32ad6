import Foundation
import Synchronization
import TestSupport
import Testing

/// Limits on TCP connections: their number, idle time, and waiting queries (RFC 7766 6.2).
@Suite("TCP connections")
struct StreamLimitTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write(ZoneText.shop, to: "zones/shop.zone")
    }

    private func daemon(_ settings: String, upstream: ScriptedServer? = nil) async throws -> DaemonProcess {
        let file = try folder.write("tcp:\n" + settings, to: "stub53.yaml")
        return try await DaemonProcess(
            ["--config", file, "--no-hosts", "--zones", folder.file("zones")]
                + (upstream.map { ["--upstream", "127.0.0.1:\($0.port)"] } ?? ["--no-upstream"]))
    }

    /// Whether a connection is served; nil if it was closed.
    private func ask(_ client: StreamClient, id: UInt16 = 1) async throws -> Bool? {
        guard (try? client.send(Wire.query("www.shop.test.", id: id))) != nil else { return nil }
        return try await client.receive().map { Wire.answers($0) == 1 && Wire.id($0) == id }
    }

    @Test("beyond the limit are closed at once without harm to others, and accepted again when one has left")
    func maximum() async throws {
        // However slow the test is, no connection is closed for being idle.
        let daemon = try await daemon("  max-connections: 3\n  idle-timeout: 5m\n")
        var clients = try (0..<3).map { _ in try StreamClient(port: daemon.port) }
        for client in clients { #expect(try await ask(client) == true) }
        for _ in 0..<5 { #expect(try await ask(try StreamClient(port: daemon.port)) == nil) }
        for client in clients { #expect(try await ask(client, id: 2) == true) }
        clients.removeFirst()
        let port = daemon.port
        try await eventually("another is served") {
            let client = try StreamClient(port: port)
            guard (try? client.send(Wire.query("www.shop.test.", id: 3))) != nil else { return false }
            return try client.receiveNow() != nil
        }
        // UDP is not limited.
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("of one client leave room for other clients")
    func shareOfClient() async throws {
        let daemon = try await daemon("  max-connections: 8\n  max-per-client: 3\n  idle-timeout: 5m\n")
        let clients = try (0..<3).map { _ in try StreamClient(port: daemon.port) }
        for client in clients { #expect(try await ask(client) == true) }
        for _ in 0..<5 { #expect(try await ask(try StreamClient(port: daemon.port)) == nil) }
        let other = try StreamClient(port: daemon.port, source: 9)
        #expect(try await ask(other) == true)
        for client in clients { #expect(try await ask(client, id: 2) == true) }
        let lines = try await daemon.errors.first { $0.contains("refused a connection from 127.0.0.1") }
        #expect(lines.contains("tcp.max-per-client"))
        #expect(try await daemon.stop() == 0)
    }

    @Test("that don't read their answers are closed before they take the memory, and others are served")
    func unread() async throws {
        let long = (0..<250).map { "long TXT \"\($0)\(String(repeating: "x", count: 240))\"\n" }.joined()
        try folder.write(ZoneText.shop + long, to: "zones/shop.zone")
        let daemon = try await daemon("  max-memory: 1M\n  idle-timeout: 5m\n")
        // More than the system's buffers take.
        let query = Wire.query("long.shop.test.", type: 16, id: 1)
        let queries = [UInt8]((0..<200).map { _ in [0, UInt8(query.count)] + query }.joined())
        let greedy = try (0..<16).map { _ in try StreamClient(port: daemon.port, receiveBuffer: 4096, source: 9) }
        for client in greedy { _ = client.sendWhileTaken(queries, within: 100) }
        // A quarter of the memory is less than what a few of them leave unread.
        _ = try await daemon.errors.first {
            $0.contains("closed a stream of 127.0.0.9") && $0.contains("tcp.max-memory")
        }
        #expect(try await ask(try StreamClient(port: daemon.port)) == true)
        // Who takes the answers gets all of them.
        let patient = try StreamClient(port: daemon.port)
        try patient.sendRaw(queries)
        for _ in 0..<200 { #expect(try #require(try await patient.receive()).count > 60_000) }
        withExtendedLifetime(greedy) {}
        #expect(try await daemon.stop() == 0)
    }

    @Test("are closed when idle; a query restarts the time, a part of one does not")
    func idle() async throws {
        let daemon = try await daemon("  idle-timeout: 500ms\n")
        let port = daemon.port
        /// Repeats `work` until the connection is closed, or until `limit`; returns the time since the last query. Each
        /// query is noted before it is sent, so that a delay of ours can't make the daemon's wait seem shorter.
        @Sendable func idle(
            atMost limit: Duration = .seconds(longestWait), _ work: @escaping @Sendable (StreamClient) -> Bool
        ) async throws -> Duration {
            try await blocking {
                let client = try StreamClient(port: port)
                let start = ContinuousClock.now
                var last = start
                while ContinuousClock.now - start < limit {
                    let before = ContinuousClock.now
                    guard work(client) else { break }
                    last = before
                }
                #expect(try client.receiveNow() == nil)
                return ContinuousClock.now - last
            }
        }
        async let silent = idle { _ in false }
        async let asking = idle(atMost: .seconds(2)) { client in
            usleep(20_000)
            return (try? client.send(Wire.query("www.shop.test.", id: 1))) != nil && (try? client.receiveNow()) != nil
        }
        // One endless message: the connection is closed in spite of its bytes.
        let start = ContinuousClock.now
        let sent = Atomic(0)
        async let dripping = idle { client in
            usleep(50_000)
            return (try? client.sendRaw([0xFF])) != nil && sent.add(1, ordering: .relaxed).newValue > 0
        }
        let all = try await (silent, asking, dripping)
        #expect(all.0 >= .milliseconds(480) && all.1 >= .milliseconds(480), "\(all)")
        #expect(ContinuousClock.now - start >= .milliseconds(480) && sent.load(ordering: .relaxed) < 0xFFFF)
        #expect(try await daemon.stop() == 0)
    }

    @Test("tell clients that ask how long they stay open (RFC 7828)")
    func keepalive() async throws {
        let daemon = try await daemon("  idle-timeout: 7500ms\n")
        let answer = try await daemon.dig("www.shop.test", "+tcp", "+keepalive")
        #expect(
            answer.contains("; TCP KEEPALIVE: 7.5 secs") || answer.contains("; TCP-KEEPALIVE: 7.5 secs"), "\(answer)")
        #expect(try await !daemon.dig("www.shop.test", "+notcp", "+keepalive").uppercased().contains("KEEPALIVE:"))
    }

    @Test("carry pipelined queries, each answered as soon as possible")
    func pipelined() async throws {
        let (releases, held) = AsyncStream.makeStream(of: ScriptedServer.Release.self)
        let upstream = try ScriptedServer { query, _ in .hold(Reply.addresses(query)) { held.yield($0) } }
        let daemon = try await daemon("  idle-timeout: 5m\n", upstream: upstream)
        let client = try StreamClient(port: daemon.port)
        try client.send(
            Wire.query("slow.example.net.", id: 1), Wire.query("www.shop.test.", id: 2),
            Wire.query("www.shop.test.", type: 28, id: 3))
        client.endSending()
        var order: [UInt16] = []
        for _ in 0..<2 { order.append(Wire.id(try #require(try await client.receive()))) }
        var release = releases.makeAsyncIterator()
        await release.next()?.send()
        while let answer = try await client.receive() { order.append(Wire.id(answer)) }
        #expect(order == [2, 3, 1])
    }

    @Test("with more queries than may wait get all answers, one after the other")
    func backpressure() async throws {
        let upstream = try ScriptedServer { query, _ in .sendAfter(milliseconds: 20, Reply.addresses(query)) }
        let daemon = try await daemon("  max-pipelined: 4\n", upstream: upstream)
        let client = try StreamClient(port: daemon.port)
        let ids = 0..<40 as Range<UInt16>
        for id in ids { try client.send(Wire.query("n\(id).example.net.", id: id)) }
        var seen: Set<UInt16> = []
        for _ in ids {
            let answer = try #require(try await client.receive())
            #expect(Wire.answers(answer) == 1)
            seen.insert(Wire.id(answer))
        }
        #expect(seen == Set(ids))
    }

    @Test("half-closed by a client that reads slowly, deliver every answer before they close")
    func halfClosed() async throws {
        let long = (0..<20).map { "long TXT \"\($0)\(String(repeating: "x", count: 200))\"\n" }.joined()
        try folder.write(ZoneText.shop + long, to: "zones/shop.zone")
        let daemon = try await daemon("  idle-timeout: 5m\n")
        let client = try StreamClient(port: daemon.port, receiveBuffer: 4096)
        let count = 1000
        let queries = (0..<count).flatMap { id -> [UInt8] in
            let query = Wire.query("long.shop.test.", type: 16, id: UInt16(id))
            return [0, UInt8(query.count)] + query
        }
        // Both directions may fill up, so answers are read meanwhile.
        async let sent: Void = blocking {
            try client.sendRaw(queries)
            client.endSending()
        }
        let seen = try await blocking {
            usleep(300_000)
            var seen: Set<UInt16> = []
            while let answer = try client.receiveNow() {
                if Wire.answers(answer) == 20 { seen.insert(Wire.id(answer)) }
            }
            return seen
        }
        try await sent
        #expect(seen.count == count)
        #expect(try await daemon.stop() == 0)
    }

    @Test("that send a query and then garbage get the answer before they are closed")
    func nonsenseBehindQuery() async throws {
        let daemon = try await daemon("  idle-timeout: 5m\n")
        let client = try StreamClient(port: daemon.port)
        let query = Wire.query("www.shop.test.", id: 9)
        try client.sendRaw([0, UInt8(query.count)] + query + [0, 3, 1, 2, 3])
        let answer = try #require(try await client.receive())
        #expect(Wire.id(answer) == 9 && Wire.answers(answer) == 1)
        #expect(try await client.receive() == nil)
    }

    @Test("wait, using no CPU, while the system has no descriptor for them")
    func noDescriptors() async throws {
        let daemon = try await daemon("  idle-timeout: 5m\n")
        let process = daemon.program.identifier
        @Sendable func descriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
        }
        func ticks() throws -> Int {
            let fields = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8).split(separator: " ")
            return (Int(fields[13]) ?? 0) + (Int(fields[14]) ?? 0)
        }
        // So that everything opened by the first query is open.
        #expect(try await ask(try StreamClient(port: daemon.port)) == true)
        try await eventually("the first has left") { try descriptors() < 64 }
        let limit = try await Command.run(
            ["--pid", "\(process)", "--nofile=\(try descriptors() + 2)"], executable: URL(filePath: "/usr/bin/prlimit"))
        #expect(limit.code == 0)
        var clients = try (0..<10).map { _ in try StreamClient(port: daemon.port) }
        let before = try ticks()
        try await Task.sleep(for: .seconds(1))
        #expect(try ticks() - before < 20)
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        let last = clients.removeLast()
        clients = []
        #expect(try await ask(last) == true)
        #expect(try await daemon.stop() == 0)
    }

    @Test(
        "that don't send DNS are closed", arguments: [Array("GET / HTTP/1.1\r\n\r\n".utf8), [0, 3, 1, 2, 3], [0, 0]])
    func nonsense(_ bytes: [UInt8]) async throws {
        let daemon = try await daemon("  idle-timeout: 1s\n")
        let client = try StreamClient(port: daemon.port)
        try client.sendRaw(bytes)
        #expect(try await client.receive() == nil)
        #expect(try await daemon.dig("www.shop.test", "+short", "+tcp") == "198.51.100.7\n")
    }
}
