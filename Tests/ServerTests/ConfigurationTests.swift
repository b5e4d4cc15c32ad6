import Cassettes
import DNSWire
import Foundation
import Lookup
import LookupLog
import TestSupport
import Testing
import Upstream

@testable import Daemon
@testable import LocalData
@testable import Platform
@testable import Transports

@Suite("Settings come from defaults, a file, and options, in this order")
struct ConfigurationTests {
    /// Reads `yaml` as the file test.yaml.
    static func read(
        _ yaml: String, options: [Configuration.Option] = []
    ) throws -> (configuration: Configuration, problems: [String]) {
        let folder = try TemporaryFolder()
        let path = try folder.write(yaml, to: "test.yaml")
        let (configuration, diagnostics) = Configuration.read(file: path, options: options)
        return (configuration, diagnostics.list.map { "\($0)".replacing(folder.path + "/", with: "") })
    }

    @Test("Without file and options everything has its documented default")
    func defaults() {
        let (configuration, diagnostics) = Configuration.read(file: nil, options: [])
        #expect(diagnostics.list.isEmpty)
        #expect(configuration.listen.plain.map(\.description) == ["127.0.0.53:53"])
        #expect(configuration.upstream.asksSystem && configuration.upstream.servers.isEmpty)
        #expect(configuration.hosts == HostsSettings())
        #expect(configuration.cache.capacity == 64 << 20)
        #expect(configuration.access == nil)
        #expect(configuration.logFormat == .text)
        #expect(configuration.forwarding.clientTimeout == 4_000_000)
        #expect(!configuration.keepsGoing)
    }

    struct Case: CustomTestStringConvertible, Sendable {
        var key: String
        var value: String
        var shows: @Sendable (Configuration) -> String
        var expected: String
        var testDescription: String { "\(key): \(value)" }

        init(_ key: String, _ value: String, _ expected: String, _ shows: @escaping @Sendable (Configuration) -> String)
        {
            self.key = key
            self.value = value
            self.shows = shows
            self.expected = expected
        }
    }

    /// The upstream servers.
    @Sendable private static func servers(_ configuration: Configuration) -> String {
        let upstream = configuration.upstream
        return ((upstream.asksSystem ? ["system"] : []) + upstream.servers.map(\.description)).joined(separator: " ")
    }

    static let cases: [Case] = [
        Case(
            "listen", "[tls://192.0.2.1, 'https://[2001:db8::1]:8443']",
            "tls://192.0.2.1:853 https://[2001:db8::1]:8443"
        ) {
            $0.listen.encrypted.map(\.description).joined(separator: " ")
        },
        Case("listen", "192.0.2.1", "192.0.2.1:53") { "\($0.listen.plain[0])" },
        Case("listen", "'[2001:db8::1]:5300'", "[2001:db8::1]:5300") { "\($0.listen.plain[0])" },
        Case("listen", "'2001:db8::1'", "[2001:db8::1]:53") { "\($0.listen.plain[0])" },
        Case("listen", "[127.0.0.1:5300, '[::1]:0', 127.0.0.1:5300]", "127.0.0.1:5300 [::1]:0") {
            $0.listen.plain.map(\.description).joined(separator: " ")
        },
        Case("access.allow", "[10.0.0.0/8, '2001:db8::/32']", "2") { "\($0.access?.count ?? -1)" },
        Case("access.allow", "[]", "0") { "\($0.access?.count ?? -1)" },
        Case("cassette.record", "/c", "/c") { $0.cassette.record ?? "" },
        Case("cassette.replay", "/c", "/c") { $0.cassette.replay ?? "" },
        Case("workers", "4", "4") { "\($0.workers ?? 0)" },
        Case("tcp.max-connections", "5", "5") { "\($0.streams.maximumConnections)" },
        Case("tcp.max-pipelined", "6", "6") { "\($0.streams.maximumPipelined)" },
        Case("tcp.max-per-client", "7", "7") { "\($0.streams.connectionsPerClient)" },
        Case("tcp.max-memory", "2M", "2097152") { "\($0.streams.maximumMemory)" },
        Case("tcp.idle-timeout", "2m", "120000") { "\($0.streams.idleTimeout)" },
        Case("log.format", "json", "json") { $0.logFormat.rawValue },
        Case("log.max-size", "1M", "\(1 << 20)") { "\($0.logRotation.size)" },
        Case("log.keep", "3", "3") { "\($0.logRotation.kept)" },
        Case("log.file", "/var/log/x", "/var/log/x") { $0.logFile ?? "" },
        Case("user", "daemon", "daemon") { $0.user?.name ?? "" },
        Case("identity", "''", "") { $0.identity },
        Case("version", "mine 1", "mine 1") { $0.version },
        Case("keep-going", "yes", "true") { "\($0.keepsGoing)" },
        Case("hosts.files", "[a, b]", "a b") { $0.hostsPaths?.joined(separator: " ") ?? "default" },
        Case("hosts.files", "none", "") { $0.hostsPaths?.joined(separator: " ") ?? "default" },
        Case("rules.files", "[a.rules, b]", "a.rules b") { ($0.rulesPaths ?? []).joined(separator: " ") },
        Case("hosts.ttl", "1h", "3600") { "\($0.hosts.ttl)" },
        Case("hosts.null-address", "nxdomain", "nxdomain") { $0.hosts.nullAddress.rawValue },
        Case("hosts.https", "synthesize", "synthesize") { $0.hosts.https.rawValue },
        Case("hosts.other-types", "forward", "forward") { $0.hosts.otherTypes.rawValue },
        Case("zones.folders", "z", "z") { $0.zoneFolders?.joined() ?? "default" },
        Case("zones.files", "[a.zone, acme.org=b=c.zone, ./x=y]", "nil a.zone, acme.org. b=c.zone, nil ./x=y") {
            $0.zoneFiles.map { "\($0.name.map { "\($0)" } ?? "nil") \($0.path)" }.joined(separator: ", ")
        },
        Case("zones.files", "[bücher.example=a]", "xn--bcher-kva.example.") {
            $0.zoneFiles.map { "\($0.name.map { "\($0)" } ?? "nil")" }.joined()
        },
        Case("special.test", "no", "test") { $0.withoutSpecialNames.map(\.rawValue).joined() },
        Case("special.home-arpa", "off", "home-arpa") { $0.withoutSpecialNames.map(\.rawValue).joined() },
        Case("upstream.servers", "none", "", servers),
        Case("upstream.servers", "[]", "", servers),
        Case("upstream.servers", "system", "system", servers),
        Case(
            "upstream.servers", "[10.0.0.53, corp.example=tcp://10.0.0.1:54]",
            "10.0.0.53:53 corp.example.=tcp://10.0.0.1:54", servers),
        Case("upstream.servers", "corp.example=10.0.0.1", "system corp.example.=10.0.0.1:53", servers),
        Case("upstream.servers", "[corp.example=10.0.0.1, system]", "system corp.example.=10.0.0.1:53", servers),
        Case("upstream.servers", "[none, corp.example=10.0.0.1]", "corp.example.=10.0.0.1:53", servers),
        Case("upstream.servers", "[.=10.0.0.1]", "10.0.0.1:53", servers),
        Case("upstream.servers", "[bücher.example=10.0.0.1]", "system xn--bcher-kva.example.=10.0.0.1:53", servers),
        Case("upstream.servers", "[.corp.example=10.0.0.1]", "system corp.example.=10.0.0.1:53", servers),
        Case("upstream.servers", "[~corp.example=10.0.0.1]", "system corp.example.=10.0.0.1:53", servers),
        Case(
            "upstream.servers", "[/corp.example/lan.example/=10.0.0.1]",
            "system corp.example.=10.0.0.1:53 lan.example.=10.0.0.1:53", servers),
        Case(
            "upstream.servers", "['corp.example,lan.example=tcp://10.0.0.1']",
            "system corp.example.=tcp://10.0.0.1:53 lan.example.=tcp://10.0.0.1:53", servers),
        Case("upstream.timeout", "1500ms", "1500000") { "\($0.forwarding.clientTimeout)" },
        Case("upstream.stale-after", "2", "2000000") { "\($0.forwarding.staleAfter)" },
        Case("upstream.max-in-flight", "7", "7") { "\($0.forwarding.maximumFlights)" },
        Case("upstream.ca", "/etc/ca.pem", "/etc/ca.pem") { $0.upstreamAuthorities ?? "" },
        Case("upstream.discover", "yes", "true") { "\($0.discovers)" },
        Case("upstream.cookies", "no", "false") { "\($0.forwarding.usesCookies)" },
        Case("upstream.random-case", "true", "true") { "\($0.forwarding.randomizesCase)" },
        Case("upstream.trust-ad", "on", "true") { "\($0.cache.trustAuthenticData)" },
        Case("upstream.private", "refuse", "refuse") { $0.privateAddresses.rawValue },
        Case("upstream.private-domains", "[fritz.box, Plex.Direct.]", "fritz.box. plex.direct.") {
            $0.privateDomains.map { "\($0)".lowercased() }.joined(separator: " ")
        },
        Case("cache.size", "65536", "65536") { "\($0.cache.capacity)" },
        Case("cache.size", "2k", "2048") { "\($0.cache.capacity)" },
        Case("cache.size", "3MiB", "\(3 << 20)") { "\($0.cache.capacity)" },
        Case("cache.size", "1GB", "\(1 << 30)") { "\($0.cache.capacity)" },
        Case("cache.min-ttl", "30", "30") { "\($0.cache.ttls.least)" },
        Case("cache.max-ttl", "2h", "7200") { "\($0.cache.ttls.most)" },
        Case("cache.negative-max-ttl", "60s", "60") { "\($0.cache.ttls.mostNegative)" },
        Case("cache.serve-stale", "no", "false") { "\($0.cache.serveStale)" },
        Case("cache.stale-window", "1h", "3600") { "\($0.cache.staleWindow)" },
        Case("cache.prefetch", "no", "false") { "\($0.cache.prefetch)" },
        Case("history.path", "/h.db", "/h.db") { $0.history.path.value ?? "" },
        Case("history.path", "off", "off") { $0.history.path.value ?? "off" },
        Case("history.max-size", "8M", "\(8 << 20)") { "\($0.history.maximumSize)" },
        Case("history.max-age", "2d", "172800") { "\($0.history.maximumAge)" },
        Case("history.max-rate", "7", "7") { "\($0.history.maximumRate)" },
        Case(
            "dnstap.to", "[/tap, \"unix:/tap.sock\", \"tcp:127.0.0.1:6000\", \"tcp:[::1]:6000\", none]",
            "/tap unix:/tap.sock tcp:127.0.0.1:6000 tcp:[::1]:6000"
        ) {
            $0.dnstap.destinations.map(\.description).joined(separator: " ")
        },
        Case("dnstap.max-size", "1M", "\(1 << 20)") { "\($0.dnstap.maximumFileSize)" },
        Case("dnstap.keep", "3", "3") { "\($0.dnstap.keptFiles)" },
        Case("explain", "all", "all") { $0.explains.rawValue },
        Case("control", "/c.sock", "/c.sock") { $0.control.value ?? "" },
        Case("control", "off", "off") { $0.control.value ?? "off" },
        Case("inspector", "127.0.0.1", "127.0.0.1:8053") { $0.inspector.value?.description ?? "" },
        Case("inspector", "off", "off") { $0.inspector.value?.description ?? "off" },
    ]

    @Test("Each key sets its property, written with dots", arguments: cases)
    func key(_ test: Case) throws {
        let (configuration, problems) = try Self.read("\(test.key): \(test.value)\n")
        #expect(problems.isEmpty)
        #expect(test.shows(configuration) == test.expected)
    }

    @Test("Each key sets the same property, written in its group", arguments: cases.filter { $0.key.contains(".") })
    func nested(_ test: Case) throws {
        let parts = test.key.split(separator: ".")
        let (configuration, problems) = try Self.read("\(parts[0]):\n  \(parts[1]): \(test.value)\n")
        #expect(problems.isEmpty)
        #expect(test.shows(configuration) == test.expected)
    }

    @Test("A certificate needs its key, and an encrypted address")
    func certificate() throws {
        let yaml = "listen: tls://127.0.0.1\ntls: {certificate: /a.pem, key: /a.key}\n"
        let (configuration, problems) = try Self.read(yaml)
        #expect(problems.isEmpty)
        #expect(configuration.certificatePath == "/a.pem" && configuration.keyPath == "/a.key")
        #expect(configuration.listen.plain.isEmpty)
        #expect(configuration.listen.encrypted.map(\.description) == ["tls://127.0.0.1:853"])
    }

    @Test("How a cassette is replayed is said beside its file only")
    func cassette() throws {
        let (configuration, problems) = try Self.read("cassette: {replay: /c, unknown: record, timing: real}")
        #expect(problems.isEmpty)
        #expect(configuration.cassette.unknown == .record && configuration.cassette.timing == .real)
        let lonely = "no cassette is replayed; name one with --replay, or leave this out"
        #expect(try Self.read("cassette.unknown: fail").problems == ["test.yaml:1: \(lonely)"])
        let both = try Self.read("cassette: {replay: /c, record: /d}").problems
        #expect(both.first?.contains("a cassette is recorded or replayed") == true)
    }

    @Test("Every key has a test, and the reference lists all")
    func complete() {
        let tested = Set(Self.cases.map(\.key))
        let others: Set = ["tls.certificate", "tls.key", "cassette.unknown", "cassette.timing"]
        let reference = ConfigurationKey.reference
        for key in ConfigurationKey.all {
            #expect(
                tested.contains(key.path) || others.contains(key.path) || key.path.hasPrefix("special."), "\(key.path)")
            #expect(reference.contains(key.path + " "))
        }
        #expect(Set(ConfigurationKey.all.map(\.path)).count == ConfigurationKey.all.count)
    }

    @Test("The displayed default is the value in use")
    func initial() throws {
        for (key, initial) in [
            ("tcp.idle-timeout", "10s"), ("upstream.stale-after", "1800ms"), ("cache.size", "64M"),
            ("upstream.private", "warn"),
            ("cache.max-ttl", "1d"), ("hosts.ttl", "0"), ("hosts.https", "mask"), ("special.onion", "yes"),
            ("keep-going", "no"), ("listen", "127.0.0.53:53"), ("inspector", "127.0.0.53:8053"),
        ] {
            let key = try #require(ConfigurationKey.find(key))
            #expect(key.initial == initial)
            let (configuration, problems) = try Self.read("\(key.path): \(initial)\n")
            #expect(problems.isEmpty)
            // An explicitly configured address is not optional.
            #expect(key.path == "inspector" || key.isSame(configuration, Configuration()), "\(key.path)")
        }
    }

    @Test("Only a value that differs from the running one needs a restart, however it is written")
    func restart() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("history.max-age: 48h\nworkers: 2\nhosts.ttl: 5\n", to: "test.yaml")
        var (asked, problems) = Configuration.read(file: path, options: [])
        try #require(!problems.hasErrors)
        asked.listen.plain = []
        _ = try folder.write("history.max-age: 2d\nworkers: 3\nhosts.ttl: 6\n", to: "test.yaml")
        let (fresh, changed, found) = asked.readAgain(running: asked)
        #expect(!found.hasErrors && changed.map(\.path) == ["listen", "workers"])
        #expect(fresh.workers == 2 && fresh.listen == asked.listen && fresh.hosts.ttl == 6)
    }

    @Test("An option overrides the file, and its list replaces the file's list")
    func precedence() throws {
        let yaml = "listen: [127.0.0.1:1, 127.0.0.1:2]\nhosts.ttl: 5\ncache.size: 1M\n"
        let (configuration, problems) = try Self.read(
            yaml, options: [.init("--listen", "listen", ["127.0.0.1:3"]), .init("--cache-size", "cache.size", ["2M"])])
        #expect(problems.isEmpty)
        #expect(configuration.listen.plain.map(\.port) == [3])
        #expect(configuration.cache.capacity == 2 << 20)
        #expect(configuration.hosts.ttl == 5)
    }

    @Test("A problem in an option names the option")
    func optionProblem() {
        let (_, diagnostics) = Configuration.read(
            file: nil, options: [.init("--listen", "listen", ["127.0.0.1:1", "localhost"])])
        #expect(
            diagnostics.list.map(\.description) == [
                "--listen: 'localhost' is not an IP address; give ADDR[:PORT], or [V6]:PORT"
            ])
    }
}

/// The articles match the code.
@Suite("Documentation")
struct DocumentationTests {
    private static let top = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func path(_ article: String) -> URL {
        top.appending(path: "Sources/stub53/Documentation.docc/\(article).md")
    }

    private func article(_ name: String) throws -> String { try String(contentsOf: Self.path(name), encoding: .utf8) }

    /// Written by `make reference`.
    @Test("the table of keys matches the program")
    func keys() throws {
        let lines = try article("Configuration").components(separatedBy: "\n")
        let heading = try #require(lines.firstIndex(of: "## Keys"))
        let start = try #require(lines[heading...].firstIndex { $0.hasPrefix("|") })
        let end = lines[start...].firstIndex { !$0.hasPrefix("|") } ?? lines.endIndex
        if ProcessInfo.processInfo.environment["WRITE_REFERENCE"] != nil {
            let written = lines[..<start] + ConfigurationKey.table + lines[end...]
            try written.joined(separator: "\n").write(to: Self.path("Configuration"), atomically: true, encoding: .utf8)
        } else {
            #expect(Array(lines[start..<end]) == ConfigurationKey.table, "run 'make reference'")
        }
    }

    @Test("the architecture article names existing files")
    func files() throws {
        let text = try article("Architecture")
        var count = 0
        for part in text.split(separator: "`") where part.hasSuffix(".swift") && part.contains("/") {
            count += 1
            let file = Self.top.appending(path: "Sources/\(part)")
            #expect(FileManager.default.fileExists(atPath: file.path), "\(part)")
        }
        #expect(count >= 10)
    }
}
