public import Platform

/// Which clients are served: by default this machine and the networks it is directly connected to.
///
/// An open resolver can be abused to attack others (RFC 5358), so further networks need an explicit setting.
public struct AccessList: Sendable {
    public typealias Network = AddressNetwork

    private let networks: [Network]

    /// This machine alone.
    public static let loopback = AccessList(allowing: [])

    public init(allowing networks: [Network]) {
        self.networks = networks
    }

    public func allows(_ client: SocketAddress) -> Bool {
        if client.isLoopback { return true }
        // A dual-stack socket, which only a service manager opens, reports IPv4 clients as mapped addresses.
        let client = client.unmapped
        for network in networks where network.contains(client) { return true }
        return false
    }

    /// The networks that this machine's addresses are in.
    public static func networks(of addresses: [InterfaceAddress]) -> [Network] {
        Array(Set(addresses.map { AddressNetwork($0.address, prefixLength: $0.prefixLength) }))
    }
}
