package import DNSWire

/// The names that some upstream server is asked about: all, or only those of the routes where no server is for the rest.
package struct ForwardRoutes: Sendable {
    /// Of the routes, where not everything is forwarded.
    private let domains: [Name]
    private let coversAll: Bool

    package static let everything = ForwardRoutes(domains: [], coversAll: true)

    package init(_ servers: [UpstreamServer]) {
        self.init(domains: servers.map(\.domain), coversAll: servers.contains { $0.domain.isRoot })
    }

    private init(domains: [Name], coversAll: Bool) {
        self.domains = domains
        self.coversAll = coversAll
    }

    /// Whether somebody is asked about `name`.
    package func covers(_ name: borrowing LookupName) -> Bool {
        if coversAll { return true }
        for domain in domains where domain.labelCount <= name.labelCount {
            let label = name.labelCount - domain.labelCount
            let isSuffix = domain.canonicalWire.withUnsafeBytes {
                name.suffixEquals(label, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
            }
            if isSuffix { return true }
        }
        return false
    }
}
