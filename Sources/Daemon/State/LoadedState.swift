import Glibc
import LocalData
import Pipeline
import Transports
import Upstream

/// What is in use: the settings, what their files held, and the cache for what upstream says.
struct LoadedState: Sendable {
    var configuration: Configuration
    var sources: ConfigurationSources
    var cache: AnswerCache
    /// Whose answers `cache` holds.
    var cacheOrigin: [UpstreamServer]
    /// When the loading began, as file times are.
    var since: timespec
    /// Overrides that were added at run time.
    var leases: OverrideLeases
    /// Encrypted transports of ours that clients may be told of.
    var designated: [DesignatedResolver] = []

    init(_ configuration: Configuration, _ sources: ConfigurationSources, since: timespec) {
        self.configuration = configuration
        self.sources = sources
        self.since = since
        cache = AnswerCache(configuration.cache)
        cacheOrigin = sources.upstream
        leases = OverrideLeases(configuration.hosts)
    }

    /// How upstream is asked, and whom.
    var forwarding: ForwardSettings {
        var settings = configuration.forwarding
        settings.servers = sources.upstream
        return settings
    }

    func servedData(_ cookie: ServerCookie) -> ServedData {
        ServedData(
            pipeline: Pipeline(
                hosts: sources.hosts, leases: leases.table, zones: sources.zones,
                special: sources.special.announcing(designated), cache: cache, routes: ForwardRoutes(sources.upstream),
                access: configuration.accessList,
                identity: ServerIdentity(
                    identity: Array(configuration.identity.utf8.prefix(255)),
                    version: Array(configuration.version.utf8.prefix(255)))),
            service: ServiceSettings(
                cookie: cookie, identity: Array(configuration.identity.utf8.prefix(255)),
                streams: configuration.streams, explains: configuration.explains),
            recursionAvailable: !sources.upstream.isEmpty)
    }
}
