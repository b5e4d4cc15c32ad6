import DNSWire
import LocalData
import Lookup
package import Pipeline
import Platform
import Transports
import Upstream

extension ConfigurationKey {
    /// Every key there is, in the order of the reference.
    package static let all: [ConfigurationKey] =
        serving + overrides + zones + specialNames + upstream + cache + inspection

    private static let serving: [ConfigurationKey] = [
        .list(
            "listen", "[tls://|https://]ADDR[:PORT] ...", "127.0.0.53:53",
            "addresses served: UDP and TCP, TLS, or HTTPS; port 0 takes a free one",
            begin: {
                $0.listen = []
                $0.encrypted = []
                $0.listensByDefault = false
            },
            add: { configuration, text throws(Wrong) in try ConfigurationText.addListen(text, &configuration) }),
        .path("tls.certificate", "issued by the local CA", "certificate for tls:// and https://, PEM with its chain") {
            $0.certificatePath = $1
        },
        .path("tls.key", "with the certificate", "its private key, PEM") { $0.keyPath = $1 },
        .list(
            "access.allow", "CIDR ...", "connected networks", "clients served besides this machine",
            begin: { $0.access = [] },
            add: { configuration, text throws(Wrong) in
                guard let network = AccessList.Network(text) else {
                    throw Wrong("\(shown(text)) is no network; one is ADDRESS/LENGTH, as 10.0.0.0/8 or 2001:db8::/32")
                }
                configuration.access = (configuration.access ?? []) + [network]
            }),
        .number("workers", 1...256, "one per core", "serving threads") { $0.workers = Int($1) },
        .number("tcp.max-connections", 1...100_000, "1000", "open connections at once") {
            $0.streams.maximumConnections = Int($1)
        },
        .number("tcp.max-pipelined", 1...10_000, "100", "queries of one connection that wait for upstream") {
            $0.streams.maximumPipelined = Int($1)
        },
        .duration("tcp.idle-timeout", 100...600_000, "10s", "an idle connection is closed after this") {
            $0.streams.idleTimeout = $1
        },
        .word("log.format", Configuration.LogFormat.self, "text", "how lookups are logged") { $0.logFormat = $1 },
        .path("log.file", "standard output", "where lookups are logged to") { $0.logFile = $1 },
        .text("identity", "host name", "answer to id.server and NSID; empty: refused") { $0.identity = $1 },
        .text("version", "stub53 \(Release.version)", "answer to version.bind; empty: refused") { $0.version = $1 },
        .flag("keep-going", "no", "start although a zone is bad") { $0.keepsGoing = $1 },
    ]

    private static let overrides: [ConfigurationKey] = [
        .paths(
            "hosts.files", \.hostsPaths, "/etc/hosts", "overrides: hosts files, or folders of them; none: no overrides"),
        .duration("hosts.ttl", 0...(2_147_483_647 * 1000), "0", "TTL of overrides", unit: 1000) {
            $0.hosts.ttl = UInt32($1)
        },
        .word("hosts.null-address", HostsSettings.NullAddress.self, "literal", "what 0.0.0.0 and :: are answered as") {
            $0.hosts.nullAddress = $1
        },
        .word("hosts.https", HostsSettings.HTTPS.self, "mask", "HTTPS and SVCB of an overridden name") {
            $0.hosts.https = $1
        },
        .word("hosts.other-types", HostsSettings.OtherTypes.self, "nodata", "its other types, where no zone has them") {
            $0.hosts.otherTypes = $1
        },
    ]

    private static let zones: [ConfigurationKey] = [
        .paths(
            "zones.folders", \.zoneFolders, "zones or /etc/stub53/zones",
            "folders whose *.zone files are served; none: no folder"),
        .list(
            "zones.files", "[NAME=]FILE ...", "none", "zone files; the zone's name comes from its SOA, or is NAME",
            begin: { $0.zoneFiles = [] },
            add: { configuration, text throws(Wrong) in
                configuration.zoneFiles.append(try ConfigurationText.zoneFile(text))
            }),
    ]

    private static let specialNames: [ConfigurationKey] = SpecialNames.Group.allCases.map { group in
        .flag("special.\(group.rawValue)", "yes", meaning(of: group)) {
            if $1 { $0.withoutSpecialNames.remove(group) } else { $0.withoutSpecialNames.insert(group) }
        }
    }

    private static func meaning(of group: SpecialNames.Group) -> String {
        switch group {
        case .localhost: "localhost. is this machine"
        case .invalid: "invalid. does not exist"
        case .test: "test. does not exist, but for overrides and zones"
        case .onion: "onion. does not exist"
        case .alt: "alt. does not exist"
        case .local: "local. is multicast DNS's and not forwarded"
        case .canary: "use-application-dns.net. does not exist: browsers keep to this resolver"
        case .homeArpa: "home.arpa. is not forwarded"
        case .privateReverse: "reverse names of private addresses are not forwarded"
        case .resolverArpa: "resolver.arpa. is answered here: no other resolver is announced"
        }
    }

    private static let upstream: [ConfigurationKey] = [
        .list(
            "upstream.servers", "[DOMAIN=]SERVER ...", "system",
            "who is asked for what is not local; system: those of resolv.conf; none: nobody",
            begin: { $0.upstream = .servers([]) },
            add: { configuration, text throws(Wrong) in try ConfigurationText.addUpstream(text, &configuration) }),
        .duration("upstream.timeout", 100...60_000, "5s", "how long a client waits for upstream") {
            $0.forwarding.patience = $1 * 1000
        },
        .duration("upstream.stale-after", 0...60_000, "1800ms", "a stale answer steps in after this") {
            $0.forwarding.staleAfter = $1 * 1000
        },
        .number("upstream.max-in-flight", 1...1_000_000, "10000", "questions that wait at once") {
            $0.forwarding.maximumFlights = Int($1)
        },
        .flag("upstream.cookies", "yes", "send DNS cookies") { $0.forwarding.usesCookies = $1 },
        .flag("upstream.random-case", "no", "send names in random case, against forged answers") {
            $0.forwarding.randomizesCase = $1
        },
        .flag("upstream.trust-ad", "no", "pass on upstream's word that an answer was validated (AD)") {
            $0.cache.trustAuthenticData = $1
        },
    ]

    private static let cache: [ConfigurationKey] = [
        .one("cache.size", "BYTES[k|M|G]", "64M", "memory for answers; 0: nothing is kept") {
            configuration, text throws(Wrong) in
            configuration.cache.capacity = try ConfigurationText.size(text, in: 0...(1 << 40))
        },
        .duration("cache.min-ttl", 0...86_400_000, "0", "answers are kept at least so long", unit: 1000) {
            $0.cache.ttls.least = UInt32($1)
        },
        .duration("cache.max-ttl", 0...604_800_000, "1d", "and at most so long", unit: 1000) {
            $0.cache.ttls.most = UInt32($1)
        },
        .duration("cache.negative-max-ttl", 0...86_400_000, "3h", "the same for negative answers", unit: 1000) {
            $0.cache.ttls.mostNegative = UInt32($1)
        },
        .flag("cache.serve-stale", "yes", "answer with what ran out when upstream does not answer") {
            $0.cache.serveStale = $1
        },
        .duration("cache.stale-window", 0...604_800_000, "1d", "how long it may have run out", unit: 1000) {
            $0.cache.staleWindow = UInt32($1)
        },
        .flag("cache.prefetch", "yes", "renew what is asked for often before it runs out") { $0.cache.prefetch = $1 },
    ]

    private static let inspection: [ConfigurationKey] = [
        .one("history.path", "PATH|off", "history.db of the state folder", "database of all lookups") {
            configuration, text throws(Wrong) in
            configuration.history.path.set(text == "off" ? nil : try ConfigurationText.path(text))
        },
        .one("history.max-size", "BYTES[k|M|G]", "512M", "the oldest lookups make room beyond this") {
            configuration, text throws(Wrong) in
            configuration.history.maximumSize = try ConfigurationText.size(text, in: (4 << 20)...(1 << 40))
        },
        .duration("history.max-age", 60_000...(3650 * 86_400_000), "30d", "and after this", unit: 1000) {
            $0.history.maximumAge = $1
        },
        .number("history.max-rate", 1...10_000_000, "10000", "lookups kept of a second; more are only counted") {
            $0.history.maximumRate = Int($1)
        },
        .list(
            "dnstap.to", "PATH|unix:PATH|tcp:ADDR:PORT ...", "none", "who gets queries and responses as dnstap",
            begin: { $0.dnstap.destinations = [] },
            add: { configuration, text throws(Wrong) in try ConfigurationText.addDnstap(text, &configuration.dnstap) }),
        .one("dnstap.max-size", "BYTES[k|M|G]", "100M", "a dnstap file of this size is moved to PATH.1") {
            configuration, text throws(Wrong) in
            configuration.dnstap.maximumFileSize = try ConfigurationText.size(text, in: (64 << 10)...(1 << 40))
        },
        .number("dnstap.keep", 0...1000, "9", "and so many moved files are kept") { $0.dnstap.keptFiles = Int($1) },
        .word("explain", Explains.self, "loopback", "whose answers tell their reason (EDE text)") {
            $0.explains = $1
        },
        .one("control", "PATH|off", "control.sock of the runtime folder", "Unix socket of log, stats, why, flush ...") {
            configuration, text throws(Wrong) in
            configuration.control.set(text == "off" ? nil : try ConfigurationText.path(text))
        },
        .one("inspector", "ADDR:PORT|off", "127.0.0.53:8053", "web page that shows lookups and their reasons") {
            configuration, text throws(Wrong) in
            configuration.inspector.set(
                text == "off" ? nil : try ConfigurationText.address(text, defaultPort: 8053, mayChoosePort: true))
        },
    ]
}

// MARK: Kinds of keys

extension ConfigurationKey {
    private typealias Put<Value> = @Sendable (inout Configuration, Value) -> Void

    private static func one(
        _ path: String, _ form: String, _ initial: String, _ meaning: String,
        _ set: @escaping @Sendable (inout Configuration, String) throws(Wrong) -> Void
    ) -> ConfigurationKey {
        ConfigurationKey(path: path, form: form, initial: initial, meaning: meaning, setter: .one(set))
    }

    private static func list(
        _ path: String, _ form: String, _ initial: String, _ meaning: String,
        begin: @escaping @Sendable (inout Configuration) -> Void,
        add: @escaping @Sendable (inout Configuration, String) throws(Wrong) -> Void
    ) -> ConfigurationKey {
        ConfigurationKey(
            path: path, form: form, initial: initial, meaning: meaning, setter: .list(begin: begin, add: add))
    }

    private static func flag(
        _ path: String, _ initial: String, _ meaning: String, _ put: @escaping Put<Bool>
    ) -> ConfigurationKey {
        one(path, "yes|no", initial, meaning) { configuration, text throws(Wrong) in
            put(&configuration, try ConfigurationText.flag(text))
        }
    }

    private static func number(
        _ path: String, _ range: ClosedRange<UInt64>, _ initial: String, _ meaning: String,
        _ put: @escaping Put<UInt64>
    ) -> ConfigurationKey {
        one(path, "NUMBER", initial, meaning) { configuration, text throws(Wrong) in
            put(&configuration, try ConfigurationText.number(text, in: range))
        }
    }

    /// `range` is in milliseconds; `put` gets units of `unit` milliseconds.
    private static func duration(
        _ path: String, _ range: ClosedRange<UInt64>, _ initial: String, _ meaning: String, unit: UInt64 = 1,
        _ put: @escaping Put<UInt64>
    ) -> ConfigurationKey {
        one(path, "TIME", initial, meaning) { configuration, text throws(Wrong) in
            let milliseconds = try ConfigurationText.duration(text, in: range)
            guard milliseconds % unit == 0 else { throw Wrong("\(shown(text)) is no whole number of seconds") }
            put(&configuration, milliseconds / unit)
        }
    }

    private static func word<Value: RawRepresentable & CaseIterable & Sendable>(
        _ path: String, _ type: Value.Type, _ initial: String, _ meaning: String, _ put: @escaping Put<Value>
    ) -> ConfigurationKey where Value.RawValue == String {
        let words = Value.allCases.map(\.rawValue)
        return one(path, words.joined(separator: "|"), initial, meaning) { configuration, text throws(Wrong) in
            guard let value = Value(rawValue: text) else {
                throw Wrong("\(shown(text)) is none of \(words.joined(separator: ", "))")
            }
            put(&configuration, value)
        }
    }

    private static func path(
        _ path: String, _ initial: String, _ meaning: String, _ put: @escaping Put<String>
    ) -> ConfigurationKey {
        one(path, "PATH", initial, meaning) { configuration, text throws(Wrong) in
            put(&configuration, try ConfigurationText.path(text))
        }
    }

    private static func paths(
        _ path: String, _ target: any WritableKeyPath<Configuration, [String]?> & Sendable, _ initial: String,
        _ meaning: String
    ) -> ConfigurationKey {
        list(
            path, "PATH ...", initial, meaning, begin: { $0[keyPath: target] = [] },
            add: { configuration, text throws(Wrong) in
                if text != "none" { configuration[keyPath: target]?.append(try ConfigurationText.path(text)) }
            })
    }

    private static func text(
        _ path: String, _ initial: String, _ meaning: String, _ put: @escaping Put<String>
    ) -> ConfigurationKey {
        one(path, "TEXT", initial, meaning) { configuration, text throws(Wrong) in
            guard text.utf8.count <= 255, text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                throw Wrong("\(shown(text)) is not at most 255 printable ASCII characters")
            }
            put(&configuration, text)
        }
    }

    private static func shown(_ text: String) -> String { quoted(text.utf8) }
}
