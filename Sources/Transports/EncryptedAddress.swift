import CLinux
import Glibc
import Pipeline
package import Platform

/// An address where DNS is served over TLS or HTTPS.
package struct EncryptedAddress: Hashable, Sendable, CustomStringConvertible {
    package enum Service: String, Hashable, Sendable, CaseIterable {
        case tls, https

        package var defaultPort: UInt16 { self == .tls ? 853 : 443 }
    }
    package var service: Service
    package var address: SocketAddress

    package var description: String { "\(service)://\(address)" }

    package init(service: Service, address: SocketAddress) {
        self.service = service
        self.address = address
    }
}

extension SocketAddress {
    /// The address itself; for a wildcard address, each address of this machine.
    package var reachable: [SocketAddress] {
        guard isUnspecified else { return [self] }
        return (InterfaceAddress.all() ?? []).map { $0.address.withPort(port) }.filter { $0.isIPv6 == isIPv6 }
    }

    /// The socket option that lets an address be bound before the machine has it; it needs no rights. A socket bound so
    /// serves the address whenever it is there, so nothing is bound later, when root's rights are gone.
    /// - See: ip(7) IP_FREEBIND, ipv6(7)
    var freeBind: (level: Int32, option: Int32) {
        isIPv6 ? (Int32(IPPROTO_IPV6), 78) : (Int32(IPPROTO_IP), IP_FREEBIND)
    }
}
