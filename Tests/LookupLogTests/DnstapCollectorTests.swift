import Foundation
import LookupLog
import Platform
import Synchronization
import TestSupport
import Testing
import Upstream

@testable import LookupLog

@Suite("A dnstap collector", .serialized)
struct DnstapCollectorTests {
    private static func control(_ type: UInt8, withType: Bool = false) -> [UInt8] {
        let name = Array("protobuf:dnstap.Dnstap".utf8)
        let field: [UInt8] = withType ? [0, 0, 0, 1, 0, 0, 0, UInt8(name.count)] + name : []
        return [0, 0, 0, 0, 0, 0, 0, UInt8(4 + field.count), 0, 0, 0, type] + field
    }

    /// Listens on a Unix socket; the test controls one connection at a time.
    private final class Collector: Sendable {
        let path: String
        private let descriptor: Int32

        init(_ path: String) throws {
            self.path = path
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            unlink(path)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            guard result == 0, listen(descriptor, 4) == 0 else {
                throw LineReader.Missing(description: "\(path) can't be listened on")
            }
        }

        deinit { close(descriptor) }

        /// The next connection; nil if there is none.
        func accept() -> Connection? {
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, Int32(longestWait * 1000)) == 1 else { return nil }
            let connection = Foundation.accept(descriptor, nil, nil)
            return connection >= 0 ? Connection(connection) : nil
        }
    }

    private final class Connection {
        private let descriptor: Int32
        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }

        func send(_ bytes: [UInt8]) { _ = Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

        /// Reads `count` bytes; fewer at the end, or if no more arrive.
        func read(_ count: Int) -> [UInt8] {
            var bytes: [UInt8] = []
            while bytes.count < count {
                var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                guard poll(&wait, 1, Int32(longestWait * 1000)) == 1 else { break }
                var piece = [UInt8](repeating: 0, count: min(count - bytes.count, 65_536))
                let got = recv(descriptor, &piece, piece.count, 0)
                guard got > 0 else { break }
                bytes += piece[..<got]
            }
            return bytes
        }

        /// READY, ACCEPT, START.
        func greet() -> Bool {
            guard read(42) == DnstapCollectorTests.control(4, withType: true) else { return false }
            send(DnstapCollectorTests.control(1, withType: true))
            return read(42) == DnstapCollectorTests.control(2, withType: true)
        }

        /// The payload of the next frame; empty for STOP, which is answered; nil at the end.
        func frame() -> [UInt8]? {
            let head = read(4)
            guard head.count == 4 else { return nil }
            let length = head.reduce(0) { $0 << 8 | Int($1) }
            guard length == 0 else {
                let payload = read(length)
                return payload.count == length ? payload : nil
            }
            guard read(8) == [0, 0, 0, 4, 0, 0, 0, 3] else { return nil }
            send(DnstapCollectorTests.control(5))
            return []
        }
    }

    private let folder: TemporaryFolder
    private let said = DnstapFileTests.Said()

    init() throws { folder = try TemporaryFolder() }

    private func tap(_ path: String) throws -> (writer: DnstapWriter, log: LookupLog, ring: LookupRing) {
        let writer = try DnstapWriter([.unix(path: path)], identity: "", version: "") { [said] in said.add($0) }
        let log = try LookupLog(sinks: [], observers: [writer], ringCapacity: 32 << 20)
        let ring = log.makeRing()
        log.start()
        return (writer, log, ring)
    }

    /// Sends `count` large frames: messages from upstream of 60,000 bytes.
    private func append(large count: Int, _ log: LookupLog) throws {
        let ring = try #require(log.makeExchangeRing())
        let server = try #require(SocketAddress(ip: "192.0.2.53", port: 53))
        let message = [UInt8](repeating: 7, count: 60_000)
        message.withUnsafeBytes {
            for _ in 0..<count {
                ring.append(
                    UpstreamMessage(server: server, local: nil, transport: .tcp, sent: 0, received: 1, bytes: $0),
                    clock: 0)
            }
        }
    }

    @Test("gets the handshake, the frames, and an end that it acknowledges")
    func order() async throws {
        try await blocking {
            let collector = try Collector(folder.file("sock"))
            let (writer, log, ring) = try tap(collector.path)
            SampleLookup().append(to: ring)
            let connection = try #require(collector.accept())
            #expect(connection.greet())
            #expect(try DnstapFrame(try #require(connection.frame())).kind == 5)
            #expect(try DnstapFrame(try #require(connection.frame())).kind == 6)
            let stopping = Thread { log.stop() }
            stopping.start()
            #expect(connection.frame() == [])
            #expect(connection.frame() == nil)
            try waitUntil("it has ended") { stopping.isFinished }
            #expect(writer.statistics[0].frames == 2 && writer.statistics[0].lost == 0 && said.all.isEmpty)
        }
    }

    @Test("that reconnects gets what it missed, and a partly sent frame again")
    func reconnection() async throws {
        try await blocking {
            let collector = try Collector(folder.file("sock"))
            let (_, log, ring) = try tap(collector.path)
            var connection = try #require(collector.accept())
            #expect(connection.greet())
            // More than a socket holds, so that it breaks off inside a frame.
            try append(large: 50, log)
            for _ in 0..<10 { #expect(connection.frame() != nil) }
            _ = connection.read(17)
            connection = try #require(
                {
                    connection = Connection(-1)
                    return collector.accept()
                }())
            #expect(connection.greet())
            let first = try DnstapFrame(try #require(connection.frame()))
            #expect(first.kind == 8 && first.responseMessage?.count == 60_000)
            SampleLookup().append(to: ring)
            let stopping = Thread { log.stop() }
            stopping.start()
            var frames = 1
            while let frame = connection.frame(), !frame.isEmpty { frames += 1 }
            try waitUntil("it has ended") { stopping.isFinished }
            // Of 52, minus those read or still in the socket.
            #expect((25...42).contains(frames))
            #expect(said.all.count == 2 && said.all[0].contains("has closed the connection"), "\(said.all)")
            #expect(said.all[1].hasSuffix("works again"))
        }
    }

    @Test("that does not read blocks nothing: frames beyond the limit are counted, and that is reported twice")
    func slow() async throws {
        try await blocking {
            let collector = try Collector(folder.file("sock"))
            let (writer, log, _) = try tap(collector.path)
            let connection = try #require(collector.accept())
            #expect(connection.greet())
            try append(large: 300, log)
            try waitUntil("frames are lost") { writer.statistics[0].lost > 0 }
            #expect(log.lost == 0)
            try waitUntil("it is said") { said.all.count == 1 }
            #expect(said.all[0] == "dnstap unix:\(collector.path): does not keep up; frames are lost until it does")
            var frames: UInt64 = 0
            while frames + writer.statistics[0].lost < 300, connection.frame() != nil { frames += 1 }
            let lost = writer.statistics[0].lost
            #expect(frames + lost == 300 && frames * 60_000 > 4 << 20)
            try waitUntil("it is said") { said.all.count == 2 }
            #expect(said.all[1] == "dnstap unix:\(collector.path): works again; \(lost) frames were lost")
            let stopping = Thread { log.stop() }
            stopping.start()
            #expect(connection.frame() == [])
            try waitUntil("it has ended") { stopping.isFinished }
        }
    }

    static let strangers: [(answer: [UInt8], why: String)] = [
        (Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), "does not speak Frame Streams"),
        (control(5), "does not speak Frame Streams as a collector does"),
        ([0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], "does not take dnstap"),
        ([0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], "does not speak Frame Streams"), ([], "has closed the connection"),
    ]

    @Test("that does not speak the protocol is reported once, and the connection retried", arguments: strangers)
    func stranger(_ answer: [UInt8], _ why: String) async throws {
        try await blocking {
            let collector = try Collector(folder.file("sock"))
            let (writer, log, ring) = try tap(collector.path)
            for _ in 0..<2 {
                let connection = try #require(collector.accept())
                _ = connection.read(42)
                connection.send(answer)
                if !answer.isEmpty { #expect(connection.read(1) == []) }
            }
            let connection = try #require(collector.accept())
            #expect(connection.greet())
            SampleLookup().append(to: ring)
            #expect(connection.frame()?.isEmpty == false)
            #expect(connection.frame()?.isEmpty == false)
            #expect(
                said.all.count == 2 && said.all[0].hasPrefix("dnstap unix:\(collector.path): \(why); "), "\(said.all)")
            let stopping = Thread { log.stop() }
            stopping.start()
            #expect(connection.frame() == [])
            try waitUntil("it has ended") { stopping.isFinished }
            #expect(writer.statistics[0].lost == 0)
        }
    }

    @Test("that never comes does not delay the end, which reports what is lost")
    func never() async throws {
        try await blocking {
            let (writer, log, ring) = try tap(folder.file("nobody"))
            for _ in 0..<3 { SampleLookup().append(to: ring) }
            let stopping = Thread { log.stop() }
            stopping.start()
            try waitUntil("it has ended") { stopping.isFinished }
            #expect(writer.statistics[0].lost == 6 && writer.statistics[0].frames == 0)
            #expect(said.all.last == "dnstap unix:\(folder.file("nobody")): 6 frames were lost")
        }
    }

    @Test("Arbitrary bytes as control frames never trap")
    func hostile() {
        var random = SeededGenerator(seed: 53)
        for _ in 0..<20_000 {
            var bytes = random.next() % 2 == 0 ? Self.control(1, withType: true) : []
            for _ in 0..<(random.next() % 6) {
                if bytes.isEmpty || random.next() % 3 == 0 {
                    bytes.append(UInt8(truncatingIfNeeded: random.next() % 3))
                } else {
                    bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
                }
            }
            for length in [bytes.count, Int(random.next() % UInt64(bytes.count + 1))] {
                if case .control(_, let read, _) = FrameStream.read(Array(bytes[..<length])) {
                    #expect(read <= length)
                }
            }
        }
    }
}
