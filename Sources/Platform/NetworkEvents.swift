import CLinux
import Glibc

/// Changes of this machine's addresses, links and routes, as the kernel announces them.
/// - See: rtnetlink(7)
public final class NetworkEvents: Sendable {
    /// Readable when something has changed.
    public let descriptor: Int32

    public init() throws(SystemError) {
        descriptor = clinux_open_network_events()
        guard descriptor >= 0 else { throw SystemError("netlink socket") }
    }

    deinit { close(descriptor) }

    /// The descriptor is quiet until the next change. What has changed is looked up, not read from the messages: some
    /// may be lost, and a program that flaps sends many.
    public func consume() {
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 8) { buffer in
            // Bounded, so that a flood does not keep the thread.
            for _ in 0..<64 {
                let length = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
                // ENOBUFS says that messages were lost; more may follow.
                if length < 0, errno != ENOBUFS, errno != EINTR { return }
            }
        }
    }
}

/// How packets reach an address: the interface, our own address, the gateway. Another path is another network, even if
/// the address stays the same.
public struct NetworkPath: Hashable, Sendable {
    private let bytes: [UInt8]

    /// Nil: there is no route.
    public init?(to target: SocketAddress) {
        var route = clinux_route()
        let found = target.withSockaddr { address, _ in
            let bytes = (UnsafeRawPointer(address) + (target.isIPv6 ? 8 : 4)).assumingMemoryBound(to: UInt8.self)
            return clinux_find_route(target.isIPv6 ? 1 : 0, bytes, target.scope, &route)
        }
        guard found == 1 else { return nil }
        bytes = withUnsafeBytes(of: &route) { Array($0) }
    }
}
