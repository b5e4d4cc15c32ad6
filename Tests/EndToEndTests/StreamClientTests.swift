import Foundation
import Synchronization
import TestSupport
import Testing

/// TCP clients that are slow, leave early, or are hostile.
@Suite("Ill-behaved TCP clients")
struct StreamClientTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        let long = (0..<20).map { "long TXT \"\($0)\(String(repeating: "x", count: 200))\"\n" }.joined()
        try folder.write(ZoneText.shop + long, to: "zones/shop.zone")
    }

    private func daemon(_ settings: String, upstream: ScriptedServer? = nil) async throws -> DaemonProcess {
        let file = try folder.write(settings, to: "stub53.yaml")
        return try await DaemonProcess(
            ["--config", file, "--no-hosts", "--zones", folder.file("zones"), "--log", "none"]
                + (upstream.map { ["--upstream", "127.0.0.1:\($0.port)"] } ?? ["--no-upstream"]))
    }

    /// The number of connections that are open, or not yet accepted.
    private func connections(_ daemon: DaemonProcess) throws -> Int {
        let hex = String(daemon.port, radix: 16, uppercase: true)
        let port = ":" + String(repeating: "0", count: 4 - hex.count) + hex
        // A /proc file is read in pieces and reports no size.
        let file = try FileHandle(forReadingFrom: URL(filePath: "/proc/net/tcp"))
        var text = Data()
        while case let piece = file.availableData, !piece.isEmpty { text += piece }
        return String(decoding: text, as: UTF8.self).split(separator: "\n").count { line in
            let fields = line.split(separator: " ")
            // ESTABLISHED; SYN_RECV: the accept queue is full; CLOSE_WAIT: the client has closed.
            return fields.count > 3 && fields[1].hasSuffix(port) && ["01", "03", "08"].contains(fields[3])
        }
    }

    private func resident(_ daemon: DaemonProcess) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(daemon.program.identifier)/statm", encoding: .utf8)
        return try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) }) * Int(getpagesize())
    }

    private func framed(_ message: [UInt8]) -> [UInt8] { [0, UInt8(message.count)] + message }

    @Test("that never read their answers are no longer read from, take little memory, and are closed in time")
    func neverReads() async throws {
        let daemon = try await daemon("tcp.idle-timeout: 5m\n")
        let port = daemon.port
        #expect(try await daemon.dig("long.shop.test", "TXT", "+tcp", "+short").contains("xxx"))
        let before = try resident(daemon)
        // 100,000 queries for 4 kB each: 400 MB that nobody reads.
        let queries = (0..<100_000).flatMap { framed(Wire.query("long.shop.test.", type: 16, id: UInt16($0 & 0xFFFF))) }
        let clients = try (0..<20).map { _ in try StreamClient(port: port, receiveBuffer: 4096) }
        for client in clients { client.limitSendBuffer(4096) }
        let taken = try await blocking { clients.map { $0.sendWhileTaken(queries, within: 50) } }
        for bytes in taken { #expect(bytes > 0 && bytes < queries.count) }
        let grown = try resident(daemon) - before
        #expect(grown < 20 * 300_000 + (2 << 20), "\(grown) bytes more")
        // Other clients don't notice.
        try await eventually("only these are open") { try connections(daemon) == 20 }
        #expect(try await daemon.dig("www.shop.test", "+tcp", "+short") == "198.51.100.7\n")
        let beside = try folder.write("tcp.idle-timeout: 1s\n", to: "new")
        #expect(rename(beside, folder.file("stub53.yaml")) == 0)
        try await eventually("they are closed") { try connections(daemon) == 0 }
        withExtendedLifetime(clients) {}
        #expect(try await daemon.stop() == 0)
    }

    @Test("that read a zone slowly get all of it, piece by piece")
    func slowTransfer() async throws {
        let count = 30_000
        let text = (0..<count).map { "t\($0) TXT \"\(String(repeating: "y", count: 250))\"\n" }.joined()
        try folder.write(ZoneText.shop + text, to: "zones/shop.zone")
        let daemon = try await daemon("tcp.idle-timeout: 5m\n")
        // Whatever is allocated on first use is allocated.
        #expect(try await daemon.dig("t7.shop.test", "TXT", "+tcp", "+short").contains("yyy"))
        let before = try resident(daemon)
        let client = try StreamClient(port: daemon.port, receiveBuffer: 4096)
        try client.send(Wire.query("shop.test.", type: 252, id: 1), Wire.query("www.shop.test.", id: 2))
        #expect(try await client.receive() != nil)
        #expect(try await daemon.dig("www.shop.test", "+tcp", "+short") == "198.51.100.7\n")
        let grown = try resident(daemon) - before
        #expect(grown < 2 << 20, "\(grown) bytes more")
        let records = try await blocking {
            var records = 0
            while let message = try client.receiveNow() {
                // The other query's answer follows the transfer.
                if Wire.id(message) == 2 { return records }
                records += Wire.answers(message)
            }
            return 0
        }
        // The first message was read before; it has some of the records.
        #expect(records > count * 9 / 10 && records <= count + 5)
        #expect(try await daemon.stop() == 0)
    }

    /// The stage at which a client leaves.
    private enum Stage: CaseIterable {
        case connected, half, length, partOfMessage, asked, answered, shut, waiting, pipelined, nonsense
    }

    @Test("that come and go by the thousand, at every stage, leave nothing behind", arguments: [false, true])
    func comeAndGo(_ resets: Bool) async throws {
        let upstream = try ScriptedServer(remembering: "none") { query, _ in
            .sendAfter(milliseconds: 5, Reply.addresses(query))
        }
        let daemon = try await daemon(
            "tcp:\n  max-connections: 8\n  idle-timeout: 5m\nworkers: 2\n", upstream: upstream)
        let port = daemon.port
        #expect(try await daemon.dig("www.shop.test", "+tcp", "+short") == "198.51.100.7\n")
        let query = framed(Wire.query("www.shop.test.", id: 1))
        try await blocking {
            for number in 0..<3000 {
                let client = try StreamClient(port: port, source: 2)
                if resets { client.resetOnClose() }
                switch Stage.allCases[number % Stage.allCases.count] {
                case .connected: break
                case .half: _ = client.sendWhileTaken([0], within: 100)
                case .length: _ = client.sendWhileTaken([0, 30], within: 100)
                case .partOfMessage: _ = client.sendWhileTaken(query.dropLast(), within: 100)
                case .asked: _ = client.sendWhileTaken(query, within: 100)
                case .answered:
                    _ = client.sendWhileTaken(query, within: 100)
                    _ = try client.receiveNow()
                case .shut:
                    _ = client.sendWhileTaken(query, within: 100)
                    client.endSending()
                case .waiting:
                    _ = client.sendWhileTaken(framed(Wire.query("n\(number).example.net.", id: 2)), within: 100)
                case .pipelined: _ = client.sendWhileTaken(query + query + query.dropLast(3), within: 100)
                case .nonsense: _ = client.sendWhileTaken(query + [0, 1, 2], within: 100)
                }
            }
        }
        // Long before the idle timeout, all eight places are free.
        try await eventually("they are served") {
            let clients = try (0..<8).map { _ in try StreamClient(port: port) }
            return try clients.allSatisfy { client in
                guard (try? client.send(Wire.query("www.shop.test.", id: 3))) != nil else { return false }
                return try client.receiveNow().map(Wire.id) == 3
            }
        }
        try await eventually("all are closed") { try connections(daemon) == 0 }
        #expect(try await daemon.stop() == 0)
    }

    @Test("that leave before upstream answers don't leave the answer to the next client")
    func staleAnswer() async throws {
        let held = Mutex<[ScriptedServer.Release]>([])
        let hold: ScriptedServer.Script = { query, _ in
            .hold(Reply.addresses(query)) { release in held.withLock { $0.append(release) } }
        }
        let upstream = try ScriptedServer(hold)
        // One thread, so that the next connection reuses the slot of the last one.
        let daemon = try await daemon("workers: 1\nupstream.timeout: 60s\ntcp.idle-timeout: 5m\n", upstream: upstream)
        for round in 0..<5 as Range<UInt16> {
            upstream.become(hold)
            try await blocking {
                let gone = try StreamClient(port: daemon.port)
                gone.resetOnClose()
                for id in 0..<10 { try gone.send(Wire.query("n\(round)-\(id).example.net.", id: UInt16(100 + id))) }
                try waitUntil("upstream is asked") {
                    held.withLock { Set($0.map(\.question)).count } == 10 * Int(round + 1)
                }
            }
            try await eventually("it is closed") { try connections(daemon) == 0 }
            let next = try StreamClient(port: daemon.port)
            try next.send(Wire.query("www.shop.test.", id: 1))
            #expect(try await next.receive().map(Wire.id) == 1)
            upstream.become { query, _ in .send(Reply.addresses(query)) }
            for release in held.withLock({ $0 }) { release.send() }
            // Once they are cached, the parked queries have been answered.
            for id in 0..<10 {
                #expect(try await daemon.dig("n\(round)-\(id).example.net", "+short") == "192.0.2.1\n")
            }
            try next.send(Wire.query("www.shop.test.", id: 2))
            next.endSending()
            #expect(try await next.receive().map(Wire.id) == 2)
            #expect(try await next.receive() == nil)
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("that read slowly get the available answers when the daemon ends")
    func slowAtEnd() async throws {
        let daemon = try await daemon("tcp.idle-timeout: 5m\n")
        let client = try StreamClient(port: daemon.port, receiveBuffer: 4096)
        client.limitSendBuffer(4096)
        let queries = (0..<100_000).flatMap { framed(Wire.query("long.shop.test.", type: 16, id: UInt16($0 & 0xFFFF))) }
        let answers = try await blocking {
            let taken = client.sendWhileTaken(queries, within: 100)
            #expect(taken < queries.count)
            daemon.program.signal(SIGTERM)
            try waitUntil("no more connections") { (try? StreamClient(port: daemon.port)) == nil }
            var answers = 0
            while let message = try client.receiveNow() {
                #expect(Wire.id(message) == UInt16(answers & 0xFFFF) && Wire.answers(message) == 20)
                answers += 1
            }
            return answers
        }
        // More than both systems' buffers hold.
        #expect(answers > 10)
        #expect(try await daemon.program.exitCode() == 0)
    }
}
