public import DNSWire

/// The names that some upstream server is asked about: all, or only those of the routes where no server is for the rest.
public struct ForwardRoutes: Sendable {
    /// Of the routes, where not everything is forwarded.
    private let domains: [Domain]
    private let coversAll: Bool

    public static let everything = ForwardRoutes(domains: [], coversAll: true)

    public init(_ servers: [UpstreamServer]) {
        let coversAll = servers.contains { $0.domain.isRoot }
        let domains = servers.map { Domain($0.domain) }
        self.init(domains: coversAll ? [] : domains, coversAll: coversAll)
    }

    private init(domains: [Domain], coversAll: Bool) {
        self.domains = domains
        self.coversAll = coversAll
    }

    /// Whether somebody is asked about `name`.
    public func covers(_ name: borrowing LookupName) -> Bool {
        if coversAll { return true }
        for index in domains.indices where domains[index].start(in: name) != nil { return true }
        return false
    }
}
