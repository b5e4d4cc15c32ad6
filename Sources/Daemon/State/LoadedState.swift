import Cassettes
import Glibc
import LocalData
import Pipeline
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
    /// Our encrypted transports, to be announced to clients.
    var designated: [DesignatedResolver] = []

    init(_ configuration: Configuration, _ sources: LoadedSources, since: timespec) {
        self.configuration = configuration
        self.sources = sources
        self.since = since
        cache = AnswerCache(configuration.cache)
        cacheOrigin = sources.listed.map(\.origin)
        network = NetworkState(to: sources.upstream)
        leases = OverrideLeases(configuration.hosts)
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

    func servedData(_ cookie: ServerCookie) -> ServedData {
        let routes = ForwardRoutes(
            sources.upstream, awaitsDefault: sources.awaitsSystem,
            replays: configuration.cassette.replay != nil)
        return ServedData(
            pipeline: Pipeline(
                hosts: sources.hosts, leases: leases.table, zones: sources.zones,
                special: sources.special.announcing(designated), cache: cache, routes: routes,
                privateAddresses: sources.privateAddresses,
                access: configuration.accessList(network.addresses),
                identity: ServerIdentity(
                    identity: Array(configuration.identity.utf8.prefix(255)),
                    version: Array(configuration.version.utf8.prefix(255)))),
            service: ServiceSettings(
                cookie: cookie, identity: Array(configuration.identity.utf8.prefix(255)),
                streams: configuration.streams.fitting, explains: configuration.explains),
            recursionAvailable: !routes.isEmpty)
    }
}
