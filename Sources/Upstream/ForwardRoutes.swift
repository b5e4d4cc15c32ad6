public import DNSWire

/// The names that are forwarded: all, or, if there is no default server, those of the routes.
public struct ForwardRoutes: Sendable {
    /// The routes' domains, if not everything is forwarded.
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

    /// Whether `name` is forwarded.
    public func covers(_ name: borrowing LookupName) -> Bool {
        if coversAll { return true }
        for index in domains.indices where domains[index].start(in: name) != nil { return true }
        return false
    }
}
