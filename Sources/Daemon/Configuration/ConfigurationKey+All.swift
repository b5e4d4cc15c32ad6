import Cassettes
import DNSWire
import LocalData
import Lookup
import LookupLog
import Pipeline
import Platform
import Transports
import Upstream

extension ConfigurationKey {
    /// Every key, in the order of the reference.
    package static let all: [ConfigurationKey] =
        serving + overrides + rules + zones + specialNames + upstream + cache + cassette + inspection

    private static let serving: [ConfigurationKey] = [
        .init(
            "listen", \.listen,
            .init(
                listOf: "[tls://|https://]ADDR[:PORT]",
                show: { $0.plain.map(\.description).joined(separator: " ") }, empty: .init(),
                add: { listen, text throws(WrongValue) in try ConfigurationText.addListen(text, &listen) }),
            "address to serve over UDP and TCP, TLS (tls://) or HTTPS (https://); port 0 takes a free port",
            takes: .restart, flags: [.service("listen")]),
        .init(
            "tls.certificate", \.certificatePath, .optional(.path),
            "certificate for tls:// and https://, PEM with its chain",
            initial: "issued by the local CA, see 'stub53 trust'", takes: .restart, flags: [.service("certificate")]),
        .init(
            "tls.key", \.keyPath, .optional(.path), "private key of the certificate, PEM",
            initial: "issued with the certificate", takes: .restart, flags: [.service("key")]),
        .init(
            "access.allow", \.access,
            .init(
                listOf: "CIDR", show: { _ in "" }, empty: [],
                add: { networks, text throws(WrongValue) in
                    guard let network = AccessList.Network(text) else {
                        throw WrongValue(
                            "\(quoted(text.utf8)) is no network; one is ADDRESS/LENGTH, as 10.0.0.0/8 or 2001:db8::/32")
                    }
                    networks = (networks ?? []) + [network]
                }),
            "clients to serve, besides this machine", initial: "connected networks"),
        .init(
            "workers", \.workers, .optional(.number(1...256)), "serving threads", initial: "one per core",
            takes: .restart, flags: [.service("workers")]),
        .init("tcp.max-connections", \.streams.maximumConnections, .number(1...100_000), "connections open at once"),
        .init(
            "tcp.max-per-client", \.streams.maximumPerClient, .optional(.number(1...100_000)),
            "connections open at once of one client: an IPv4 address or an IPv6 /64",
            initial: "a quarter of tcp.max-connections, at least 16"),
        .init(
            "tcp.max-memory", \.streams.maximumMemory, .size((1 << 20)...(1 << 40)),
            "memory for unfinished queries and unread answers; one client may use a quarter of it"),
        .init(
            "tcp.max-pipelined", \.streams.maximumPipelined, .number(1...10_000),
            "queries of one connection that may wait for upstream at once"),
        .init(
            "tcp.idle-timeout", \.streams.idleTimeout, .time(in: .milliseconds, 100...600_000),
            "time after which an idle connection is closed"),
        .init(
            "log.format", \.logFormat, .word, "how lookups are logged", takes: .restart, flags: [.service("log")]),
        .init(
            "log.file", \.logFile, .optional(.path), "file that lookups are logged to", initial: "standard output",
            takes: .restart, flags: [.service("log-file")]),
        .init(
            "log.max-size", \.logRotation.size, .size((64 << 10)...(1 << 40)),
            "size at which the log's file is moved to PATH.1", takes: .restart),
        .init("log.keep", \.logRotation.kept, .number(0...1000), "moved log files that are kept", takes: .restart),
        .init(
            "user", \.user, .optional(.user), "user to become once root has opened the sockets; root: stay root",
            initial: "stub53 or _stub53, if there is one", takes: .restart, flags: [.service("user")]),
        .init("identity", \.identity, .text, "answer to id.server and NSID; empty: refused", initial: "host name"),
        .init("version", \.version, .text, "answer to version.bind; empty: refused"),
        .init(
            "keep-going", \.keepsGoing, .yesOrNo, "start although a zone is bad; it is reported and not served",
            takes: .restart, flags: [.service("keep-going", sets: "yes")]),
    ]

    private static let overrides: [ConfigurationKey] = [
        .init(
            "hosts.files", \.hostsPaths, .paths(.files),
            "overrides: a hosts file, or a folder of them; none: no overrides",
            initial: "/etc/hosts",
            flags: [.sources("hosts"), .sources("no-hosts", sets: "none", "no overrides")]),
        .init("hosts.ttl", \.hosts.ttl, .time(in: .seconds, 0...(2_147_483_647 * 1000)), "TTL of overrides"),
        .init("hosts.null-address", \.hosts.nullAddress, .word, "what 0.0.0.0 and :: are answered as"),
        .init("hosts.https", \.hosts.https, .word, "what happens to HTTPS and SVCB of an overridden name"),
        .init(
            "hosts.other-types", \.hosts.otherTypes, .word,
            "what happens to other types of an overridden name, where no zone has them"),
    ]

    private static let rules: [ConfigurationKey] = [
        .init(
            "rules.files", \.rulesPaths, .paths(.files),
            "rules that answer, delay or spoil lookups: a file, or a folder of *.rules files; none: no rules",
            initial: "none", flags: [.sources("rules")])
    ]

    private static let zones: [ConfigurationKey] = [
        .init(
            "zones.folders", \.zoneFolders, .paths(.folders), "folder whose *.zone files are served; none: no folder",
            initial: "zones, or else /etc/stub53/zones", flags: [.sources("zones")]),
        .init(
            "zones.files", \.zoneFiles,
            .init(
                listOf: "[NAME=]FILE", suggestions: .files, show: { _ in "none" }, empty: [],
                add: { files, text throws(WrongValue) in files.append(try ConfigurationText.zoneFile(text)) }),
            "zone file to serve; the zone's name comes from its SOA, or is NAME", flags: [.sources("zone")]),
    ]

    private static let specialNames: [ConfigurationKey] = SpecialNames.Group.allCases.map { group in
        .init("special.\(group.rawValue)", \.[special: group], .yesOrNo, meaning(of: group))
    }

    private static func meaning(of group: SpecialNames.Group) -> String {
        switch group {
        case .localhost: "localhost. is this machine"
        case .invalid: "invalid. does not exist"
        case .test: "test. does not exist, but for overrides and zones"
        case .onion: "onion. does not exist"
        case .alt: "alt. does not exist"
        case .local: "local. is for multicast DNS and not forwarded"
        case .canary: "use-application-dns.net. does not exist: browsers keep to this resolver"
        case .homeArpa: "home.arpa. is not forwarded"
        case .privateReverse: "reverse names of private addresses are not forwarded"
        case .resolverArpa: "resolver.arpa. is answered here: no other resolver is announced"
        }
    }

    private static let upstream: [ConfigurationKey] = [
        .init(
            "upstream.servers", \.upstream,
            .init(
                listOf: "[DOMAIN=]SERVER", suggestions: .words(["system", "none"]), show: { _ in "system" },
                empty: .init(rest: nil),
                add: { upstream, text throws(WrongValue) in try ConfigurationText.addUpstream(text, &upstream) }),
            "server to ask for what is not local, or for DOMAIN and the names below it; for names outside the domains, "
                + "system: those of /etc/resolv.conf; none: nobody",
            flags: [
                .sources("upstream"),
                .sources("no-upstream", sets: "none", "forward nothing: only local data is served"),
            ]),
        .init(
            "upstream.timeout", \.forwarding.clientTimeout, .time(in: .microseconds, 100...60_000),
            "how long a client waits for upstream"),
        .init(
            "upstream.stale-after", \.forwarding.staleAfter, .time(in: .microseconds, 0...60_000),
            "how long upstream may take before an expired answer is given"),
        .init(
            "upstream.max-in-flight", \.forwarding.maximumFlights, .number(1...1_000_000),
            "questions that wait for upstream at once"),
        .init(
            "upstream.ca", \.upstreamAuthorities, .optional(.path),
            "certificates, PEM, that servers with tls:// and https:// are verified with", initial: "the system's"),
        .init(
            "upstream.discover", \.discovers, .yesOrNo,
            "ask plain servers over TLS or HTTPS where they announce that, with a certificate for their address"),
        .init("upstream.cookies", \.forwarding.usesCookies, .yesOrNo, "send DNS cookies"),
        .init(
            "upstream.random-case", \.forwarding.randomizesCase, .yesOrNo,
            "send names in random case, against forged answers"),
        .init(
            "upstream.trust-ad", \.cache.trustAuthenticData, .yesOrNo,
            "pass on upstream's word that an answer was validated (AD)"),
        .init(
            "upstream.private", \.privateAddresses, .word,
            "what happens to a private address that upstream gives for a public name (DNS rebinding)"),
        .init(
            "upstream.private-domains", \.privateDomains,
            .init(
                listOf: "DOMAIN", show: { _ in "none" }, empty: [],
                add: { domains, text throws(WrongValue) in domains += try ConfigurationText.domains(text) }),
            "domain that may have private addresses, with all names below it; domains of routes always may"),
    ]

    private static let cache: [ConfigurationKey] = [
        .init(
            "cache.size", \.cache.capacity, .size(0...(1 << 40)), "memory for upstream's answers; 0: none are kept",
            flags: [.service("cache-size")]),
        .init(
            "cache.min-ttl", \.cache.ttls.least, .time(in: .seconds, 0...86_400_000),
            "how long answers are kept at least"),
        .init(
            "cache.max-ttl", \.cache.ttls.most, .time(in: .seconds, 0...604_800_000),
            "how long answers are kept at most"),
        .init(
            "cache.negative-max-ttl", \.cache.ttls.mostNegative, .time(in: .seconds, 0...86_400_000),
            "how long negative answers are kept at most"),
        .init(
            "cache.serve-stale", \.cache.serveStale, .yesOrNo, "give expired answers when upstream does not answer"),
        .init(
            "cache.stale-window", \.cache.staleWindow, .time(in: .seconds, 0...604_800_000),
            "how long after its end an expired answer may be given"),
        .init("cache.prefetch", \.cache.prefetch, .yesOrNo, "renew answers in demand before they expire"),
    ]

    private static let cassette: [ConfigurationKey] = [
        .init(
            "cassette.record", \.cassette.record, .optional(.path),
            "file that what upstream says is recorded in, for a later --replay", takes: .restart,
            flags: [.cassette("record")]),
        .init(
            "cassette.replay", \.cassette.replay, .optional(.path),
            "recorded file that answers in place of upstream", takes: .restart, flags: [.cassette("replay")]),
        .init(
            "cassette.unknown", \.cassette.unknown, .word,
            "what happens to questions that the replayed file has no reply to; record: upstream is asked, and the reply "
                + "is added",
            takes: .restart, flags: [.cassette("unknown")]),
        .init(
            "cassette.timing", \.cassette.timing, .word,
            "how long replayed replies take; real: as long as when they were recorded", takes: .restart,
            flags: [.cassette("timing")]),
    ]

    private static let inspection: [ConfigurationKey] = [
        .init(
            "history.path", \.history.path, .path, "database that lookups are kept in",
            initial: "history.db of the state folder", takes: .restart, flags: [.service("history")]),
        .init(
            "history.max-size", \.history.maximumSize, .size((4 << 20)...(1 << 40)),
            "size beyond which the oldest lookups are removed", takes: .restart),
        .init(
            "history.max-age", \.history.maximumAge, .time(in: .seconds, 60_000...(3650 * 86_400_000)),
            "age at which lookups are removed", takes: .restart),
        .init(
            "history.max-rate", \.history.maximumRate, .number(1...10_000_000),
            "lookups that are kept per second; more are only counted", takes: .restart),
        .init(
            "dnstap.to", \.dnstap.destinations,
            .init(
                listOf: "PATH|unix:PATH|tcp:ADDR:PORT", suggestions: .files, show: { _ in "none" }, empty: [],
                add: { destinations, text throws(WrongValue) in
                    try ConfigurationText.addDnstap(text, &destinations)
                }),
            "where queries and responses are sent as dnstap", takes: .restart, flags: [.service("dnstap")]),
        .init(
            "dnstap.max-size", \.dnstap.maximumFileSize, .size((64 << 10)...(1 << 40)),
            "size at which a dnstap file is moved to PATH.1", takes: .restart),
        .init(
            "dnstap.keep", \.dnstap.keptFiles, .number(0...1000), "moved dnstap files that are kept",
            takes: .restart),
        .init("explain", \.explains, .word, "clients that are told the reason of an answer (EDE text)"),
        .init(
            "control", \.control, .path, "Unix socket for 'stub53 log', 'stats', 'flush' and the like",
            initial: "/run/stub53/control.sock, or in the user's runtime folder", takes: .restart,
            flags: [.service("control")]),
        .init(
            "inspector", \.inspector, .address(defaultPort: 8053),
            "address of the inspector, a web page that shows lookups and their reasons", takes: .restart,
            flags: [.service("inspector")]),
    ]
}
