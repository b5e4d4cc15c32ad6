import Foundation
import TestSupport

/// Hand-made messages, for what no client sends.
enum Wire {
    /// A query with RD, in class IN, without EDNS.
    static func query(_ name: String, type: UInt8 = 1, id: UInt16) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(id >> 8), UInt8(id & 0xFF), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
        return bytes + [0, 0, type, 0, 1]
    }

    static func id(_ message: [UInt8]) -> UInt16 { UInt16(message[0]) << 8 | UInt16(message[1]) }
    static func code(_ message: [UInt8]) -> UInt8 { message[3] & 0xF }
    static func answers(_ message: [UInt8]) -> Int { Int(message[6]) << 8 | Int(message[7]) }
}

/// A TCP connection to a daemon on 127.0.0.1.
final class StreamClient: @unchecked Sendable {
    private let descriptor: Int32

    /// `receiveBuffer`: the kernel's receive buffer in bytes; nil: the default. `source`: the last byte of the client's
    /// address 127.0.0.N. Tests that open thousands of connections use another one, to leave the ports of 127.0.0.1 to
    /// those that need a free one.
    init(port: UInt16, receiveBuffer: Int32? = nil, source: UInt8 = 1) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
        }
        if source != 1 { try loopback(0, source) { Foundation.bind(descriptor, $0, $1) == 0 } }
        try loopback(port) { Foundation.connect(descriptor, $0, $1) == 0 }
        // Nothing takes this long; a test that waits longer has failed.
        var limit = timeval(tv_sec: longestWait, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Sends messages in one piece, each with its length prefix.
    func send(_ messages: [UInt8]...) throws {
        try sendRaw(messages.flatMap { [UInt8($0.count >> 8), UInt8($0.count & 0xFF)] + $0 })
    }

    func sendRaw(_ bytes: [UInt8]) throws {
        guard Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw LineReader.Missing(description: "send: \(String(cString: strerror(errno)))")
        }
    }

    /// Sends while bytes are accepted within `patience` milliseconds; returns their number.
    func sendWhileTaken(_ bytes: [UInt8], within patience: Int32) -> Int {
        var done = 0
        while done < bytes.count {
            var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&state, 1, patience) == 1 else { break }
            let count = bytes.withUnsafeBytes {
                Foundation.send(
                    descriptor, $0.baseAddress! + done, bytes.count - done,
                    Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            guard count > 0 || errno == EAGAIN else { break }
            done += max(0, count)
        }
        return done
    }

    /// Limits the kernel's send buffer (Linux doubles the value).
    func limitSendBuffer(_ bytes: Int32) {
        var bytes = bytes
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Makes closing the connection send a reset (RST).
    func resetOnClose() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next message; nil if the server has closed.
    func receive() async throws -> [UInt8]? {
        try await blocking { [self] in try receiveNow() }
    }

    /// The same, blocking the thread.
    func receiveNow() throws -> [UInt8]? {
        guard let head = try read(2) else { return nil }
        return try read(Int(head[0]) << 8 | Int(head[1]))
    }

    func read(_ count: Int) throws -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + done, count - done, 0) }
            if got == 0 || got < 0 && errno == ECONNRESET { return nil }
            guard got > 0 else { throw LineReader.Missing(description: "recv: \(String(cString: strerror(errno)))") }
            done += got
        }
        return bytes
    }
}

/// A UDP socket connected to a daemon on 127.0.0.1 or another loopback address.
final class DatagramClient: @unchecked Sendable {
    private let descriptor: Int32

    /// `wait`: how long `receive` waits, in seconds. `host`: the last byte of the daemon's address 127.0.0.N.
    init(port: UInt16, wait: Int = longestWait, host: UInt8 = 1) throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        try loopback(port, host) { Foundation.connect(descriptor, $0, $1) == 0 }
        var limit = timeval(tv_sec: wait, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        enlargeReceiveBuffer(descriptor)
    }

    deinit { close(descriptor) }

    /// Whether it was sent: a closed port is noticed here.
    @discardableResult
    func send(_ message: [UInt8]) -> Bool { Foundation.send(descriptor, message, message.count, 0) == message.count }

    /// The next message; nil if none comes, or the port is closed.
    func receive() async throws -> [UInt8]? { try await blocking { [self] in receiveNow() } }

    /// The same, blocking the thread.
    func receiveNow() -> [UInt8]? { read(0) }

    /// The next message that has already arrived; nil if there is none.
    func takeNow() -> [UInt8]? { read(Int32(MSG_DONTWAIT)) }

    private func read(_ flags: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let got = recv(descriptor, &bytes, bytes.count, flags)
        return got >= 12 ? Array(bytes[..<got]) : nil
    }
}

private func loopback(
    _ port: UInt16, _ last: UInt8 = 1, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
) throws {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = (0x7F00_0000 | UInt32(last)).bigEndian
    let done = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard done else { throw LineReader.Missing(description: "connect: \(String(cString: strerror(errno)))") }
}
