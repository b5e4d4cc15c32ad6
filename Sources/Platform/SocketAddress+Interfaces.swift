import CLinux
import Glibc

/// An address of one of this machine's interfaces, and the network that it is in.
public struct InterfaceAddress: Hashable, Sendable, CustomStringConvertible {
    /// Port 0.
    public let address: SocketAddress
    public let prefixLength: Int

    /// `192.0.2.1/24`.
    public var description: String { "\(address.ip)/\(prefixLength)" }

    /// Those of all interfaces, as they are now; nil if there is no descriptor left to ask with.
    public static func all() -> [InterfaceAddress]? {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return nil }
        defer { freeifaddrs(list) }
        var addresses: [InterfaceAddress] = []
        var next = list
        while let interface = next?.pointee {
            next = interface.ifa_next
            guard let raw = interface.ifa_addr, let rawMask = interface.ifa_netmask,
                let address = SocketAddress(raw), let mask = SocketAddress(rawMask)
            else { continue }
            let length = mask.high.nonzeroBitCount + mask.low.nonzeroBitCount
            addresses.append(InterfaceAddress(address: address, prefixLength: length))
        }
        return addresses
    }
}

extension SocketAddress {
    /// Without the scope of a link-local address, which certificates can't express.
    public var unscopedIP: String { SocketAddress(high: high, low: low, port: 0, isIPv6: isIPv6).ip }

    /// Whether this machine has the address now, or it is a wildcard address.
    public var isOfThisMachine: Bool {
        let descriptor = socket(
            isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        return withPort(0).withSockaddr { bind(descriptor, $0, $1) } == 0
    }
}
