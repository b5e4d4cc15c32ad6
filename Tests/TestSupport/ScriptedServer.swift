package import DNSWire
import Foundation
import Synchronization

/// A scripted upstream server on its own loopback port, over UDP and TCP.
package final class ScriptedServer: Sendable {
    package enum Transport: Sendable { case udp, tcp }

    package enum Reaction: Sendable {
        case silence
        case send([UInt8])
        case sendAfter(milliseconds: UInt32, [UInt8])
        case sendFromElsewhere([UInt8])
        /// UDP: sends it when the test says so.
        case hold([UInt8], @Sendable (Release) -> Void)
        /// All of them, in this order.
        case several([Reaction])
        /// TCP: closes the connection.
        case hangUp
    }

    /// A response held back until the test releases it.
    package struct Release: Sendable {
        package let answer: [UInt8]
        package let send: @Sendable () -> Void

        /// The question and what follows, without the ID.
        package var question: [UInt8] { Array(answer[12...]) }
    }

    package typealias Script = @Sendable (_ query: [UInt8], Transport) -> Reaction

    package let port: UInt16
    private let datagram: Int32
    private let stream: Int32
    private let script: Mutex<Script>
    private let received = Mutex<[(Transport, [UInt8])]>([])
    private let isClosed = Mutex(false)
    /// The open connections of its TCP socket.
    private let connections = Mutex<Set<Int32>>([])
    private let reopened = DispatchSemaphore(value: 0)
    /// During a flood, only queries that contain this are recorded.
    private let remembered: Data

    package init(remembering: String = "", _ script: @escaping Script) throws {
        remembered = Data(remembering.utf8)
        self.script = Mutex(script)
        var found: (UInt16, Int32, Int32)?
        for _ in 0..<20 where found == nil {
            let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            if let port = bindLoopback(stream, 0), bindLoopback(datagram, port) != nil {
                found = (port, datagram, stream)
            } else {
                Foundation.close(stream)
                Foundation.close(datagram)
            }
        }
        guard let (port, datagram, stream) = found else { throw LineReader.Missing(description: "no free port") }
        self.port = port
        self.datagram = datagram
        self.stream = stream
        enlargeReceiveBuffer(datagram)
        listen(stream, 16)
        Thread.detachNewThread { [weak self] in Self.serveDatagrams(datagram) { self } }
        Thread.detachNewThread { [weak self] in Self.serveStreams(stream) { self } }
    }

    deinit {
        // Wakes the threads, which close their sockets.
        shutdown(stream, Int32(SHUT_RDWR))
        shutdown(datagram, Int32(SHUT_RDWR))
        reopened.signal()
    }

    /// Replaces the script.
    package func become(_ script: @escaping Script) { self.script.withLock { $0 = script } }

    /// Closes the port, as if the server had ended, but keeps it reserved; or opens it again.
    package func close(_ closes: Bool) {
        let wasClosed = isClosed.withLock { value in
            defer { value = closes }
            return value
        }
        guard wasClosed != closes else { return }
        // A datagram socket connected to another address rejects everything, and the kernel tells the sender.
        var address = sockaddr_in()
        address.sin_family = sa_family_t(closes ? AF_INET : AF_UNSPEC)
        address.sin_port = UInt16(1).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(datagram, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if closes {
            shutdown(stream, Int32(SHUT_RDWR))
            connections.withLock { for one in $0 { shutdown(one, Int32(SHUT_RDWR)) } }
        } else {
            listen(stream, 16)
            reopened.signal()
        }
    }

    /// The number of queries for names that contain `text`.
    package func count(_ text: String = "") -> Int {
        let bytes = Array(text.utf8)
        return received.withLock { all in
            all.count { text.isEmpty || Data($0.1).range(of: Data(bytes)) != nil }
        }
    }

    /// The number of questions for names that contain `text`: a question repeated because of a late answer counts once.
    package func questions(_ text: String = "") -> Int {
        let bytes = Data(text.utf8)
        return received.withLock { all in
            Set(all.map(\.1).filter { text.isEmpty || Data($0).range(of: bytes) != nil }.map(Reply.question)).count
        }
    }

    private func react(_ query: [UInt8], _ transport: Transport) -> Reaction {
        if remembered.isEmpty || Data(query).range(of: remembered) != nil {
            received.withLock { $0.append((transport, query)) }
        }
        return script.withLock { $0 }(query, transport)
    }

    private static func serveDatagrams(_ descriptor: Int32, _ server: () -> ScriptedServer?) {
        defer { Foundation.close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var peer = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count > 0, let reaction = server()?.react(Array(buffer[..<count]), .udp) else { return }
            perform(reaction, descriptor, peer)
        }
    }

    private static func perform(_ reaction: Reaction, _ descriptor: Int32, _ peer: sockaddr_in) {
        switch reaction {
        case .silence, .hangUp: break
        case .send(let bytes): send(bytes, descriptor, peer)
        case .sendAfter(let milliseconds, let bytes):
            Thread.detachNewThread {
                usleep(milliseconds * 1000)
                send(bytes, descriptor, peer)
            }
        case .sendFromElsewhere(let bytes):
            let other = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            _ = bindLoopback(other, 0)
            send(bytes, other, peer)
            Foundation.close(other)
        case .hold(let bytes, let hand): hand(Release(answer: bytes) { send(bytes, descriptor, peer) })
        case .several(let reactions): for one in reactions { perform(one, descriptor, peer) }
        }
    }

    private static func send(_ bytes: [UInt8], _ descriptor: Int32, _ peer: sockaddr_in) {
        var peer = peer
        _ = withUnsafePointer(to: &peer) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    private static func serveStreams(_ descriptor: Int32, _ server: @escaping () -> ScriptedServer?) {
        defer { Foundation.close(descriptor) }
        while true {
            let connection = accept(descriptor, nil, nil)
            guard connection >= 0 else {
                // Closed temporarily or for good.
                guard let reopened = server()?.reopened else { return }
                reopened.wait()
                continue
            }
            guard let alive = server() else { return }
            alive.connections.withLock { _ = $0.insert(connection) }
            Thread.detachNewThread { [weak alive] in
                defer {
                    alive?.connections.withLock { _ = $0.remove(connection) }
                    Foundation.close(connection)
                }
                while let head = read(connection, 2),
                    let query = read(connection, Int(head[0]) << 8 | Int(head[1])),
                    let reaction = alive?.react(query, .tcp)
                {
                    guard perform(reaction, onStream: connection) else { return }
                }
            }
        }
    }

    /// False if the connection is to be closed.
    private static func perform(_ reaction: Reaction, onStream connection: Int32) -> Bool {
        switch reaction {
        case .send(let bytes): sendFramed(bytes, connection)
        case .sendAfter(let milliseconds, let bytes):
            usleep(milliseconds * 1000)
            sendFramed(bytes, connection)
        case .hangUp: return false
        case .several(let reactions): return reactions.allSatisfy { perform($0, onStream: connection) }
        case .silence, .sendFromElsewhere, .hold: break
        }
        return true
    }

    private static func sendFramed(_ bytes: [UInt8], _ connection: Int32) {
        let framed = [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes
        _ = Foundation.send(connection, framed, framed.count, Int32(MSG_NOSIGNAL))
    }

    private static func read(_ descriptor: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + done, count - done, 0) }
            guard got > 0 else { return nil }
            done += got
        }
        return bytes
    }
}

/// Builds responses from a query's bytes.
package enum Reply {
    fileprivate static func question(_ query: [UInt8]) -> [UInt8] { Array(query[12..<questionEnd(query)]) }

    private static func questionEnd(_ query: [UInt8]) -> Int {
        var cursor = 12
        while cursor < query.count, query[cursor] != 0 { cursor += Int(query[cursor]) + 1 }
        return min(cursor + 5, query.count)
    }

    private static func header(_ query: [UInt8], flags: UInt16, answers: UInt16) -> [UInt8] {
        [
            query[0], query[1], UInt8(flags >> 8), UInt8(flags & 0xFF), 0, 1, UInt8(answers >> 8),
            UInt8(answers & 0xFF), 0, 0, 0, 0,
        ]
    }

    private static func a(_ octets: [UInt8], ttl: UInt16) -> [UInt8] {
        [0xC0, 12, 0, 1, 0, 1, 0, 0, UInt8(ttl >> 8), UInt8(ttl & 0xFF), 0, 4] + octets
    }

    /// Addresses for any name; no data for types other than A.
    package static func addresses(_ query: [UInt8], _ addresses: [[UInt8]] = [[192, 0, 2, 1]], ttl: UInt16 = 60)
        -> [UInt8]
    {
        let end = questionEnd(query)
        let isA = query[end - 4] == 0 && query[end - 3] == 1
        let records = isA ? addresses.flatMap { a($0, ttl: ttl) } : []
        return header(query, flags: 0x8180, answers: isA ? UInt16(addresses.count) : 0) + query[12..<end] + records
    }

    /// The record of the requested type, if there is one; else no data.
    package static func record(_ query: [UInt8], of records: [RecordType: [UInt8]]) -> [UInt8] {
        let end = questionEnd(query)
        let type = RecordType(rawValue: UInt16(query[end - 4]) << 8 | UInt16(query[end - 3]))
        let answer = records[type].map { Packet.record([0xC0, 12], type, $0) }
        return header(query, flags: 0x8180, answers: answer == nil ? 0 : 1) + query[12..<end] + (answer ?? [])
    }

    package static func error(_ query: [UInt8], _ code: UInt16) -> [UInt8] {
        header(query, flags: 0x8180 | code, answers: 0) + query[12..<questionEnd(query)]
    }

    package static func truncated(_ query: [UInt8]) -> [UInt8] {
        header(query, flags: 0x8380, answers: 0) + query[12..<questionEnd(query)]
    }

    package static func hasEDNS(_ query: [UInt8]) -> Bool { query[11] == 1 }
}
