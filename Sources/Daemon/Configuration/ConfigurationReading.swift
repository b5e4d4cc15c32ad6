import Cassettes
import Lookup
package import Platform
import Upstream

extension Configuration {
    /// Applies defaults, then the file, then the options; the last one wins.
    ///
    /// Reports all problems, not only the first; settings without problems take effect.
    package static func read(file: String?, options: [Option]) -> (Configuration, Diagnostics) {
        read(Origin(file: file, options: options))
    }

    private static func read(_ origin: Origin) -> (Configuration, Diagnostics) {
        var configuration = Configuration()
        configuration.origin = origin
        var diagnostics = Diagnostics()
        var places: [String: Place] = [:]
        if let file = origin.file {
            var views: [ViewSettings] = []
            defer { configuration.views = views }
            ConfigurationFile.read(file, &diagnostics, views: &views) { key, values, place, diagnostics in
                places[key.path] = place
                configuration.settingsInFile += 1
                key.set(&configuration, values, at: place, key.path, &diagnostics)
            }
        }
        for option in origin.options {
            let place = Place(path: option.flag)
            guard let key = ConfigurationKey.find(option.key) else {
                diagnostics.error(place, "sets '\(option.key)', which is no key")
                continue
            }
            places[key.path] = place
            key.set(&configuration, .init(option.values.map { ($0, place) }), at: place, nil, &diagnostics)
        }
        if !diagnostics.hasErrors { configuration.checkTogether(places, &diagnostics) }
        return (configuration, diagnostics)
    }

    /// Reads the same file and options again for a service that runs with `running`. Settings that need a restart keep
    /// their running values; `changed` are those of them that differ from `self`, the configuration at start.
    func readAgain(
        running: Configuration
    ) -> (configuration: Configuration, changed: [ConfigurationKey], problems: Diagnostics) {
        var (fresh, problems) = Self.read(origin)
        // Cut short by whoever is about to write it, more likely than meant: without its settings, overrides' names could
        // go upstream.
        if let file = origin.file, fresh.settingsInFile == 0, running.settingsInFile > 0 {
            problems.error(
                Place(path: file), "has no settings any more; write one, or start stub53 again to run without")
        }
        let fixed = ConfigurationKey.all.filter { $0.effect == .restart }
        let changed = fixed.filter { !$0.isSame(fresh, self) }
        for key in fixed { key.copy(from: running, to: &fresh) }
        return (fresh, changed, problems)
    }

    /// Reports problems between settings.
    private mutating func checkTogether(_ places: [String: Place], _ diagnostics: inout Diagnostics) {
        func place(_ key: String) -> Place { places[key] ?? Place(path: key) }
        if (certificatePath == nil) != (keyPath == nil) {
            diagnostics.error(
                place(certificatePath == nil ? "tls.key" : "tls.certificate"),
                "certificate and key belong together; give both, or neither to have the local CA make them")
        }
        if listen.encrypted.isEmpty, certificatePath != nil || keyPath != nil {
            diagnostics.error(
                place(certificatePath == nil ? "tls.key" : "tls.certificate"),
                "nothing is served over TLS or HTTPS; listen on tls://ADDR or https://ADDR, or leave it out")
        }
        if listen.plain.isEmpty, listen.encrypted.isEmpty {
            diagnostics.error(place("listen"), "no address to listen on; give one, or leave listen out")
        }
        if cache.ttls.least > cache.ttls.most {
            diagnostics.error(
                place("cache.min-ttl"),
                "cache.min-ttl (\(cache.ttls.least)s) is more than cache.max-ttl (\(cache.ttls.most)s)")
        }
        if cassette.record != nil, cassette.replay != nil {
            diagnostics.error(
                place("cassette.record"),
                "a cassette is recorded or replayed; to add to the replayed one, leave this out and use --unknown record"
            )
        }
        if cassette.replay == nil,
            let key = ["cassette.unknown", "cassette.timing"].first(where: { places[$0] != nil })
        {
            diagnostics.error(place(key), "no cassette is replayed; name one with --replay, or leave this out")
        }
        if upstream.servers.isEmpty, upstream.rest == nil { upstream.rest = Upstream.Rest.none }
        let own = ownAddresses
        for server in upstream.servers {
            if let own = own.first(where: { server.address.reaches($0) }) {
                diagnostics.error(
                    place("upstream.servers"),
                    "\(server) is an address of our own (listen \(own)): it would ask itself; name another server")
            }
        }
    }
}

extension SocketAddress {
    /// Whether packets to it reach the listener at `own`, judging by the addresses.
    func reaches(_ own: SocketAddress) -> Bool {
        guard port == own.port else { return false }
        if own.isUnspecified { return isLoopback && (own.isIPv6 || !isIPv6) }
        return withPort(0) == own.withPort(0)
    }
}
