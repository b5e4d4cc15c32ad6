import Platform
import Upstream

/// The networks that this machine is in.
struct NetworkState: Equatable, Sendable {
    var addresses: [InterfaceAddress]
    /// By upstream server; nil: there is no route to it.
    var paths: [NetworkPath?]

    /// As it is now. If the system does not tell the addresses, because there are no descriptors left, `last` are taken.
    init(to servers: [UpstreamServer], last: NetworkState? = nil) {
        self.init(InterfaceAddress.all() ?? last?.addresses ?? [], to: servers)
    }

    /// With the paths of now.
    init(_ addresses: [InterfaceAddress], to servers: [UpstreamServer]) {
        self.addresses = addresses
        paths = servers.map { NetworkPath(to: $0.address) }
    }

    /// What has changed, for the operator; nil if that is nothing. Link-local addresses come and go with each container.
    func changes(since last: NetworkState) -> String? {
        func list(_ addresses: [InterfaceAddress], _ others: [InterfaceAddress], _ word: String) -> [String] {
            addresses.filter { !others.contains($0) && !$0.address.isLinkLocal }.map { "\($0) \(word)" }
        }
        var parts = list(addresses, last.addresses, "new") + list(last.addresses, addresses, "gone")
        if paths != last.paths { parts.append("another path to upstream, which is asked afresh") }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}
