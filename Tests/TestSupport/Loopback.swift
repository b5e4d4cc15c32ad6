import Foundation

/// A loopback address that no other test uses, for services with a fixed port.
package func ownLoopbackAddress() -> String {
    "127.\(Int.random(in: 64..<128)).\(Int.random(in: 1..<255)).\(Int.random(in: 1..<255))"
}

/// Enlarges the receive buffer for a burst that a busy machine does not read at once.
package func enlargeReceiveBuffer(_ descriptor: Int32) {
    var bytes: Int32 = 4 << 20
    let size = socklen_t(MemoryLayout<Int32>.size)
    // Beyond the system's limit, if permitted.
    if setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, size) != 0 {
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, size)
    }
}

/// Binds to 127.0.0.1, another loopback address, or all addresses; returns the port.
package func bindLoopback(
    _ descriptor: Int32, _ port: UInt16, at text: String = "127.0.0.1", any: Bool = false
) -> UInt16? {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = any ? 0 : inet_addr(text)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            guard bind(descriptor, $0, length) == 0, getsockname(descriptor, $0, &length) == 0 else { return nil }
            return UInt16(bigEndian: pointer.pointee.sin_port)
        }
    }
}
