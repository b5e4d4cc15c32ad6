public import DNSWire

/// The names that are forwarded: all, or, if there is no default server, those of the routes.
public struct ForwardRoutes: Sendable {
    private struct Route: Sendable {
        var domain: Domain
        var hasServers = true
    }

    /// Those with the longest names first, so that the first that fits decides.
    private let routes: [Route]
    /// Every name goes to the same servers.
    private let isSingle: Bool

    public static let everything = ForwardRoutes([Route(domain: Domain(.root))])

    /// Those of the servers of a partition. `awaitsDefault`: names outside the routes are forwarded too, but their servers
    /// are not known at the moment. `replays`: a cassette answers for them.
    public init(
        _ servers: [UpstreamServer], of partition: UInt16 = 0, awaitsDefault: Bool = false, replays: Bool = false
    ) {
        let servers = servers.filter { $0.partition == partition }
        var routes: [Route] = []
        for domain in servers.map({ Domain($0.domain) }) where !routes.contains(where: { $0.domain == domain }) {
            routes.append(Route(domain: domain))
        }
        let root = Domain(.root)
        if awaitsDefault || replays, !routes.contains(where: { $0.domain == root }) {
            routes.append(Route(domain: root, hasServers: replays))
        }
        self.init(routes.sorted { $0.domain.labelCount > $1.domain.labelCount })
    }

    private init(_ routes: [Route]) {
        self.routes = routes
        isSingle = routes.count == 1 && routes[0].domain.labelCount == 0 && routes[0].hasServers
    }

    /// Nothing is forwarded.
    public var isEmpty: Bool { routes.isEmpty }

    public enum Coverage: Sendable, BitwiseCopyable {
        case none
        /// It is forwarded, but no server is known at the moment: only what the cache holds can be given.
        case withoutServer
        case full
    }

    /// Whether `name` is forwarded.
    public func coverage(of name: borrowing LookupName) -> Coverage {
        if isSingle { return .full }
        guard let route = route(of: name) else { return .none }
        return routes[route].hasServers ? .full : .withoutServer
    }

    /// Whether other servers than those of `name` are asked for `target`: only they know its records.
    public func separate(_ target: borrowing LookupName, from name: borrowing LookupName) -> Bool {
        guard !isSingle, let there = route(of: target), routes[there].hasServers else { return false }
        return route(of: name) != there
    }

    private func route(of name: borrowing LookupName) -> Int? {
        for index in routes.indices where routes[index].domain.start(in: name) != nil { return index }
        return nil
    }
}
