internal import CLinux
internal import Glibc

extension SocketAddress {
    /// The user whose process has the other end, on this address, of a TCP connection with `server`.
    ///
    /// The kernel says so for both ends of a connection within this machine and network namespace. Nil for other
    /// connections, if the other end has been closed, and without the kernel's socket diagnosis.
    public func owner(ofConnectionWith server: SocketAddress) -> UInt32? {
        guard isIPv6 == server.isIPv6 else { return nil }
        let diagnosis = clinux_open_socket_diagnosis()
        guard diagnosis >= 0 else { return nil }
        defer { close(diagnosis) }
        var user: UInt32 = 0
        let isKnown = networkBytes.span.withUnsafeBufferPointer { own in
            server.networkBytes.span.withUnsafeBufferPointer { peer in
                clinux_connection_owner(
                    diagnosis, isIPv6 ? 1 : 0, own.baseAddress, port, peer.baseAddress, server.port, &user)
            }
        }
        return isKnown == 1 ? user : nil
    }

    /// The address in network byte order: 16 bytes, or the first 4 of them.
    public var networkBytes: InlineArray<16, UInt8> {
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        if isIPv6 {
            for index in 0..<8 {
                bytes[index] = UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * index))
                bytes[8 + index] = UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * index))
            }
        } else {
            for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: low >> UInt64(24 - 8 * index)) }
        }
        return bytes
    }
}
