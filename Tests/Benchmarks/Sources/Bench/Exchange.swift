import Foundation

/// A question, and how to check an answer. IPv4 loopback only.
struct Question {
    var name: String
    var type: UInt16 = 1

    /// RD=1, no EDNS: what a C library sends.
    func message(id: UInt16) -> [UInt8] {
        var message: [UInt8] = [UInt8(id >> 8), UInt8(id & 255), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { message += [UInt8(label.utf8.count)] + label.utf8 }
        return message + [0, UInt8(type >> 8), UInt8(type & 255), 0, 1]
    }
}

/// A socket to a server on 127.0.0.1.
struct LoopbackSocket: ~Copyable {
    let descriptor: Int32

    init(_ type: __socket_type, port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(type.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: \(String(cString: strerror(errno)))") }
        guard Self.withAddress(port, { connect(descriptor, $0, $1) }) == 0 else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw Failure("connect to 127.0.0.1:\(port): \(reason)")
        }
    }

    deinit { close(descriptor) }

    static func withAddress<Result>(_ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    /// Enlarges the receive buffer, so that answers that arrive while this process does not run don't count as lost by
    /// the server. Root gets the full size, others as much as the system allows.
    func enlargeBuffer() {
        var size: Int32 = 8 << 20
        let length = socklen_t(MemoryLayout<Int32>.size)
        if setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, length) < 0 {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, length)
        }
    }

    /// Whether it becomes readable within the time.
    func isReadable(within milliseconds: Int32) -> Bool {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, milliseconds) == 1
    }

    /// A port that is free for UDP and TCP.
    static func freePort() throws -> UInt16 {
        for _ in 0..<50 {
            let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            defer {
                close(stream)
                close(datagram)
            }
            guard withAddress(0, { bind(stream, $0, $1) }) == 0 else { continue }
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let found = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(stream, $0, &length) }
            }
            let port = UInt16(bigEndian: address.sin_port)
            if found == 0, withAddress(port, { bind(datagram, $0, $1) }) == 0 { return port }
        }
        throw Failure("no free port on 127.0.0.1")
    }
}
