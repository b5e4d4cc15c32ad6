import Cassettes
import Glibc
import LocalData
import Pipeline
import Platform
import Transports
import Upstream

/// What is in use: the settings, the contents of their files, and the cache.
struct LoadedState: Sendable {
    var configuration: Configuration
    var sources: LoadedSources
    var cache: AnswerCache
    /// The servers whose answers are in `cache`; those of the system stay in it while none is known.
    var cacheOrigin: [UpstreamServer]
    /// When loading began, on the clock of file times.
    var since: timespec
    var network: NetworkState
    /// Overrides added at run time.
    var leases: OverrideLeases
    /// Rules added at run time.
    var ruleLeases = RuleLeases()
    /// How often rules have been met: a reload does not start them again.
    let ruleCounts = RuleCounts()
    /// Views added at run time.
    var viewLeases = ViewLeases()
    /// The answers of views' own servers, by view.
    var viewCaches: [String: AnswerCache] = [:]
    /// Where each view is asked.
    var viewAddresses: [String: [SocketAddress]] = [:]
    /// Our encrypted transports, to be announced to clients.
    var designated: [DesignatedResolver] = []

    init(_ configuration: Configuration, _ sources: LoadedSources, since: timespec) {
        self.configuration = configuration
        self.sources = sources
        self.since = since
        cache = AnswerCache(configuration.cache)
        cacheOrigin = sources.shared.map(\.origin)
        network = NetworkState(to: sources.upstream)
        leases = OverrideLeases(configuration.hosts)
        makeViewCaches(emptied: true)
    }

    /// Whether what was found for `server` still counts.
    func keeps(_ server: UpstreamServer) -> Bool {
        sources.listed.contains(server) && configuration.seeks(server)
    }

    /// The settings of forwarding, with its servers.
    var forwarding: ForwardSettings {
        var settings = configuration.forwarding
        settings.servers = sources.upstream
        return settings
    }

    /// Rules added at run time, the newest first; then overrides that are no addresses.
    private var leasedRules: RuleTable {
        let rules = ruleLeases.rules + leases.rules
        return rules.isEmpty ? .empty : RuleTable(rules)
    }

    /// The cache for the answers of a view's own servers: an eighth of the common one.
    mutating func makeViewCaches(emptied: Bool) {
        var kept: [String: AnswerCache] = [:]
        for view in sources.views where view.hasServers {
            var settings = configuration.cache
            settings.capacity /= 8
            kept[view.name] = emptied ? AnswerCache(settings) : viewCaches[view.name] ?? AnswerCache(settings)
        }
        viewCaches = kept
    }

    func servedData(_ cookie: ServerCookie) -> ServedData {
        let service = ServiceSettings(
            cookie: cookie, identity: Array(configuration.identity.utf8.prefix(255)),
            streams: configuration.streams.fitting, explains: configuration.explains)
        let routes = ForwardRoutes(
            sources.upstream, awaitsDefault: sources.awaitsSystem, replays: configuration.cassette.replay != nil)
        let leased = leasedRules
        var views: [ServedData.View] = []
        for view in sources.views {
            let own =
                view.hasServers
                ? ForwardRoutes(
                    sources.upstream, of: view.number, awaitsDefault: view.awaitsSystem,
                    replays: configuration.cassette.replay != nil) : routes
            let pipeline = pipeline(
                RuleSet(
                    rules: view.rules, leases: leased, counts: ruleCounts, settings: view.hostsSettings, view: view.name
                ),
                view.hosts, view.zones, view.special, viewCaches[view.name] ?? cache, own, view.privateAddresses)
            let data = ServedData(
                pipeline, service, recursionAvailable: !own.isEmpty, view: view.number, partition: view.partition,
                sharing: views.first?.data)
            views.append(
                ServedData.View(
                    listen: viewAddresses[view.name] ?? view.settings.listen.addresses, clients: view.settings.clients,
                    data: data))
        }
        return ServedData(
            pipeline: pipeline(
                RuleSet(rules: sources.rules, leases: leased, counts: ruleCounts, settings: configuration.hosts),
                sources.hosts, sources.zones, sources.special, cache, routes, sources.privateAddresses),
            service: service, recursionAvailable: !routes.isEmpty, views: views)
    }

    private func pipeline(
        _ rules: RuleSet, _ hosts: HostsTable, _ zones: ZoneSet, _ special: SpecialNames, _ cache: AnswerCache,
        _ routes: ForwardRoutes, _ privateAddresses: PrivateAddressPolicy
    ) -> Pipeline {
        Pipeline(
            rules: rules, hosts: hosts, leases: leases.table, zones: zones, special: special.announcing(designated),
            cache: cache, routes: routes, privateAddresses: privateAddresses,
            access: configuration.accessList(network.addresses),
            identity: ServerIdentity(
                identity: Array(configuration.identity.utf8.prefix(255)),
                version: Array(configuration.version.utf8.prefix(255))))
    }
}
