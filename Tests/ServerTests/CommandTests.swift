import Foundation
import TestSupport
import Testing

@Suite("The commands keep their contract")
struct CommandTests {
    static let hosts = """
        127.0.0.14 over.acme.org
        127.0.0.1 *.wild.test

        """
    static let zone = """
        $ORIGIN acme.org.
        $TTL 3600
        @ IN SOA ns hostmaster 2026112301 3600 900 604800 300
        @ NS ns
        ns A 127.0.0.53
        @ A 152.153.81.14
        @ HTTPS 1 . alpn=h2
        www CNAME @
        ext CNAME www.example.net.
        over A 152.153.81.16
        over HTTPS 1 . alpn=h2
        over MX 10 mail
        mail A 152.153.81.15
        sub NS ns.sub
        ns.sub A 192.0.2.1

        """

    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write(Self.hosts, to: "hosts")
        try folder.write(Self.zone, to: "zones/acme.org.zone")
    }

    private func run(_ arguments: [String]) async throws -> Command.Result {
        try await Command.run(arguments, in: folder.path)
    }

    private let local = ["--hosts", "hosts", "--no-upstream"]

    // MARK: check

    @Test("check accepts good files, and shows what they contain")
    func checkGood() async throws {
        let result = try await run(["check"] + local)
        #expect(
            result.output == """
                overrides  hosts                2 names
                zones      zones/acme.org.zone  acme.org. serial 2026112301, 13 records
                upstream   none

                no problems

                """)
        #expect(result.code == 0)
        #expect(result.errors.isEmpty)
    }

    @Test("check reports every problem as FILE:LINE: WHY, and exits 1")
    func checkBad() async throws {
        try folder.write("127.0.0.1 a.test\nnonsense b.test\n300.1.1.1 c.test\n", to: "hosts")
        try folder.write(Self.zone + "bad A 1.2.3\nwww A 192.0.2.1\n", to: "zones/acme.org.zone")
        try folder.write("hosts:\n  tll: 1\n", to: "stub53.yaml")
        let result = try await run(["check", "--config", "stub53.yaml"] + local)
        let lines = result.output.split(separator: "\n")
        for place in [
            "stub53.yaml:2: ", "hosts:2: ", "hosts:3: ", "zones/acme.org.zone:16: ", "zones/acme.org.zone:17: ",
        ] {
            #expect(lines.contains { $0.hasPrefix(place) && $0.count > place.count + 5 }, "\(place)")
        }
        #expect(lines.last?.contains("errors") == true)
        #expect(result.code == 1)
    }

    @Test("check of a missing file exits 1 and names it")
    func checkMissing() async throws {
        let result = try await run(["check", "--no-hosts", "--no-upstream", "--zone", "nowhere.zone"])
        #expect(result.output.hasPrefix("nowhere.zone: "))
        #expect(result.code == 1)
    }

    @Test("check finds a zone that is in two files")
    func checkDouble() async throws {
        try folder.write(Self.zone, to: "zones/copy.zone")
        let result = try await run(["check"] + local)
        #expect(
            result.output.hasPrefix(
                "zones/copy.zone: acme.org. is in zones/acme.org.zone already, which is served; remove one\n"))
        #expect(result.code == 1)
    }

    @Test("Only *.zone files of a folder are zones")
    func otherFiles() async throws {
        try folder.write("not a zone", to: "zones/README")
        #expect(try await run(["check"] + local).code == 0)
    }

    @Test("check shows which servers are asked for which names")
    func checkServers() async throws {
        let names = [
            "check", "--hosts", "hosts", "--upstream", "bücher.example,lan.example=192.0.2.1", "--upstream", "none",
        ]
        let result = try await run(names)
        #expect(
            result.output.contains(
                """
                upstream   xn--bcher-kva.example.=192.0.2.1:53
                           lan.example.=192.0.2.1:53
                           none                                 for other names

                no problems
                """), "\(result.output)")
        let beside = try await run(["check", "--hosts", "hosts", "--upstream", "corp.example=192.0.2.1"])
        let system = try await run(["check", "--hosts", "hosts"])
        func servers(_ text: String) -> [Substring] { text.split(separator: "\n").filter { $0.contains(":53") } }
        #expect(servers(beside.output).count == servers(system.output).count + 1, "\(beside.output)")
    }

    @Test("check warns of chains of aliases that other resolvers don't follow, where they start")
    func checkChain() async throws {
        let links = (1...11).map { "c\($0) CNAME c\($0 + 1)\n" }.joined()
        let short = (1...10).map { "d\($0) CNAME \($0 == 10 ? "c12" : "d\($0 + 1)")\n" }.joined()
        try folder.write(Self.zone + links + short + "c12 A 192.0.2.1\n", to: "zones/acme.org.zone")
        let result = try await run(["check"] + local)
        let start = Self.zone.split(separator: "\n").count + 1
        #expect(
            result.output.hasPrefix(
                "zones/acme.org.zone:\(start): warning: c1.acme.org. leads over more than 10 aliases"),
            "\(result.output)")
        #expect(result.output.hasSuffix("\n1 warning\n") && result.code == 0)
    }

    // MARK: why

    @Test("why shows the override, what it shadows, the family, and what a browser does")
    func whyOverride() async throws {
        let result = try await run(["why", "over.acme.org"] + local)
        #expect(
            result.output == """
                over.acme.org. A = 127.0.0.14    (hosts, hosts:1)

                  1  hosts     hosts:1                 127.0.0.14     answers, TTL 0
                  2  zones     zones/acme.org.zone:10  152.153.81.16  shadowed by 1
                  3  special   -                                      not a special-use name
                  4  cache     -                                      not asked: nothing is forwarded
                  5  upstream  -                                      none is configured

                  family   AAAA NODATA · HTTPS masked (zones/acme.org.zone:11 has one) · MX from zones/acme.org.zone:12
                  browser  connects to 127.0.0.14, plain http first: no HTTPS record, so a downgrade is possible

                """)
        #expect(result.code == 0)
    }

    static let decisions: [(arguments: [String], first: String, holds: [String])] = [
        (["acme.org"], "acme.org. A = 152.153.81.14    (zone, zones/acme.org.zone:6)", ["by https at once"]),
        (
            ["www.acme.org"], "www.acme.org. A = 152.153.81.14    (zone, zones/acme.org.zone:6)",
            ["by way of  www.acme.org.  (zone, zones/acme.org.zone:8)", "CNAME acme.org."]
        ),
        (["WWW.Acme.ORG.", "aaaa"], "WWW.Acme.ORG. AAAA = NODATA    (zone, zones/acme.org.zone:3)", []),
        (
            ["over.acme.org", "HTTPS"], "over.acme.org. HTTPS = masked    (hosts, hosts:1)",
            ["an override hides HTTPS (hosts.https = mask)", "1 . alpn=h2"]
        ),
        (
            ["over.acme.org", "MX"], "over.acme.org. MX = 10 mail.acme.org.    (zone, zones/acme.org.zone:12)",
            ["says nothing about MX: local zones only"]
        ),
        (["over.acme.org", "TXT"], "over.acme.org. TXT = NODATA    (hosts, hosts:1)", ["no zone has TXT"]),
        (["a.b.wild.test"], "a.b.wild.test. A = 127.0.0.1    (hosts, hosts:2)", ["RFC 6761 6.2"]),
        (["nx.acme.org"], "nx.acme.org. A = NXDOMAIN    (zone, zones/acme.org.zone:3)", ["does not connect"]),
        (
            ["ext.acme.org"],
            "ext.acme.org. A = CNAME www.example.net., which no source here has    (zone, zones/acme.org.zone:9)", []
        ),
        (
            ["_8443._https.over.acme.org", "HTTPS"], "_8443._https.over.acme.org. HTTPS = masked    (hosts, hosts:1)",
            []
        ),
        (["B\u{FC}cher.invalid"], "xn--bcher-kva.invalid. A = NXDOMAIN    (special, RFC 6761 6.4)", []),
        (["localhost", "AAAA"], "localhost. AAAA = ::1    (special, RFC 6761 6.3)", []),
        (["x.invalid"], "x.invalid. A = NXDOMAIN    (special, RFC 6761 6.4)", []),
        (["host.sub.acme.org"], "host.sub.acme.org. A = referral to ns.sub.acme.org.", []),
        (["example.net"], "example.net. A = REFUSED", ["none is configured"]),
        (["acme.org", "TYPE65"], "acme.org. HTTPS = 1 . alpn=h2    (zone, zones/acme.org.zone:7)", []),
    ]

    @Test("why shows which source answers", arguments: decisions)
    func why(_ test: (arguments: [String], first: String, holds: [String])) async throws {
        let result = try await run(["why"] + test.arguments + local)
        #expect(result.output.hasPrefix(test.first), "\(result.output)")
        for text in test.holds { #expect(result.output.contains(text), "\(result.output)") }
        #expect(result.code == 0)
        #expect(!result.output.contains("\u{1B}"))
    }

    @Test("why shows shadowed lines below their source")
    func whyShadowed() async throws {
        try folder.write(Self.hosts + "127.0.0.14 over.acme.org\n127.0.0.99 *.acme.org\n", to: "hosts")
        let result = try await run(["why", "over.acme.org"] + local)
        let lines = result.output.split(separator: "\n").map(String.init)
        let first = try #require(lines.firstIndex { $0.hasPrefix("  1  hosts") })
        try #require(lines.count > first + 2)
        #expect(lines[first + 1].hasPrefix("               hosts:3  ") && lines[first + 1].hasSuffix("repeats hosts:1"))
        #expect(
            lines[first + 2].hasPrefix("               hosts:4  ")
                && lines[first + 2].contains("*.acme.org. 127.0.0.99")
                && lines[first + 2].hasSuffix("shadowed by over.acme.org. (hosts:1), which is closer"))
    }

    @Test("why shows which server would be asked")
    func whyUpstream() async throws {
        let servers = ["--hosts", "hosts", "--upstream", "192.0.2.1", "--upstream", "example.net=192.0.2.2:5353"]
        let routed = try await run(["why", "ext.acme.org"] + servers)
        #expect(routed.output.hasPrefix("ext.acme.org. A leads to www.example.net., which is asked upstream\n"))
        #expect(routed.output.contains("example.net.=192.0.2.2:5353"))
        let other = try await run(["why", "example.com"] + servers)
        #expect(other.output.hasPrefix("example.com. A is asked upstream\n"))
        #expect(other.output.contains("192.0.2.1:53") && !other.output.contains("192.0.2.2"))
    }

    @Test("why and trace leave names outside the routes to the system's servers")
    func whyRoutes() async throws {
        let route = ["--hosts", "hosts", "--upstream", "corp.example=192.0.2.2"]
        let system = try await run(["why", "example.com", "--hosts", "hosts"])
        let beside = try await run(["why", "example.com"] + route)
        #expect(beside.output == system.output)
        let routed = try await run(["why", "*.corp.example"] + route)
        #expect(routed.output.contains("corp.example.=192.0.2.2:53"))
        let none = try await run(["why", "example.com", "--upstream", "none"] + route)
        #expect(none.output.hasPrefix("example.com. A = REFUSED (no local data, and not forwarded)"), "\(none.output)")
    }

    @Test("why continues with what could be read, and says that there is more to check")
    func whyProblems() async throws {
        try folder.write("bogus\n" + Self.hosts, to: "hosts")
        let result = try await run(["why", "over.acme.org"] + local)
        #expect(result.output.hasPrefix("over.acme.org. A = 127.0.0.14    (hosts, hosts:2)\n"))
        #expect(result.errors == "stub53: 1 problem in the files; 'stub53 check' lists them\n")
        #expect(result.code == 0)
    }

    // MARK: exit codes

    static let wrongUsage: [[String]] = [
        ["frobnicate"], ["serve", "--bogus"], ["serve", "--hosts", "a", "--no-hosts"],
        ["serve", "--upstream", "192.0.2.1", "--no-upstream"], ["why"], ["why", "a..b"], ["why", "a", "BOGUS"],
        ["why", "a", "AXFR"], ["query"], ["query", "a..b"], ["query", "\u{202E}x"], ["query", "a", "BOGUS"],
        ["query", "a", "@nowhere"],
        ["query", "a", "+bogus"], ["query", "-x", "1.2.3"], ["query", "a", "AXFR"], ["query", "a", "--timeout", "0"],
        ["check", "extra"],
    ]

    @Test("Wrong usage exits 64, with the reason on standard error", arguments: wrongUsage)
    func usage(_ arguments: [String]) async throws {
        let result = try await run(arguments)
        #expect(result.code == 64)
        #expect(result.output.isEmpty)
        #expect(result.errors.hasPrefix("Error: "))
        #expect(!result.errors.contains("Fatal"))
    }

    @Test("An invalid configuration exits 78, with FILE:LINE on standard error")
    func configuration() async throws {
        try folder.write("workers: 4\nworkres: 4\n", to: "stub53.yaml")
        for command in [["serve"], ["why", "acme.org"]] {
            let result = try await run(command + ["--config", "stub53.yaml"])
            #expect(result.code == 78)
            #expect(result.output.isEmpty)
            #expect(result.errors == "stub53: stub53.yaml:2: unknown key 'workres'; did you mean 'workers'?\n")
        }
    }

    @Test(
        "Features that this version lacks are refused, and nothing is served",
        arguments: [
            (["--upstream", "quic://192.0.2.1"], "is no transport")
        ])
    func notInThisVersion(_ test: (arguments: [String], reason: String)) async throws {
        let result = try await run(["serve"] + test.arguments)
        #expect(result.code == 78)
        #expect(result.errors.contains(test.reason), "\(result.errors)")
    }

    @Test(
        "An unusable certificate is refused with the reason",
        arguments: [
            (["--certificate", "a", "--key", "b"], "--certificate: nothing is served over TLS or HTTPS"),
            (["--listen", "tls://127.0.0.1:0", "--certificate", "a"], "certificate and key belong together"),
            (["--listen", "tls://127.0.0.1:0", "--key", "a"], "certificate and key belong together"),
            (
                ["--listen", "tls://127.0.0.1:0", "--certificate", "/nowhere/a.pem", "--key", "/nowhere/a.key"],
                "/nowhere/a.pem: can't be read: No such file or directory"
            ),
            (["--listen", "tls://127.0.0.1:x"], "is no port"),
        ])
    func certificates(_ test: (arguments: [String], reason: String)) async throws {
        let result = try await run(["serve", "--no-hosts", "--no-upstream"] + test.arguments)
        #expect(result.code == 78)
        #expect(result.errors.contains(test.reason), "\(result.errors)")
    }

    @Test("--version names stub53 and libldns")
    func version() async throws {
        let result = try await run(["--version"])
        #expect(result.output.hasPrefix("stub53 0.1.0 (libldns 1."))
        #expect(result.code == 0)
    }

    @Test(
        "The help of each command shows examples",
        arguments: [
            "serve", "check", "query", "why", "log", "stats", "flush", "override", "reload", "exec", "expect", "doctor",
            "trace", "trust",
        ])
    func help(_ command: String) async throws {
        let result = try await run([command, "--help"])
        #expect(result.code == 0)
        #expect(result.output.components(separatedBy: "\n  stub53 \(command)").count > 2)
    }

    @Test("A mistyped flag is corrected, in all commands that have it")
    func nearFlag() async throws {
        for (command, near, right) in [
            ("serve", "--worker", "--workers"), ("serve", "--hots", "--hosts"), ("check", "--zons", "--zones"),
            ("check", "--no-upstraem", "--no-upstream"),
        ] {
            let result = try await run([command, near])
            #expect(result.code == 64)
            #expect(result.errors.hasPrefix("Error: Unknown option '\(near)'. Did you mean '\(right)'?"), "\(result)")
        }
    }

    @Test("Help has meaning and default of each key's flag; only serve has those of the service")
    func flagHelp() async throws {
        let serve = try await run(["serve", "--help"])
        let words = serve.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        for text in [
            "--hosts <path> Overrides: a hosts file, or a folder of them;", "--no-hosts No overrides.",
            "--zone <[name=]file>", "--workers <number> Serving threads. (default: one per core)",
            "--log <text|json|none> How lookups are logged. (default: text)", "--inspector <addr:port|off>",
            "--keep-going Start although a zone is bad;", "(default: 127.0.0.53:8053)",
        ] {
            #expect(words.contains(text), "\(text)")
        }
        for command in ["check", "why", "exec", "trace"] {
            let other = try await run([command, "--help"])
            #expect(other.output.contains("--no-upstream") && !other.output.contains("--workers"), "\(command)")
        }
    }

    @Test("A shell completes flags and their values")
    func completion() async throws {
        let script = try await run(["--generate-completion-script", "zsh"]).output
        #expect(script.contains("--log-file"))
        #expect(script.contains("--log[How lookups are logged"))
        #expect(script.contains("'text' 'json' 'none'"))
    }

    @Test("serve --help-keys lists the keys of the configuration file")
    func helpKeys() async throws {
        let result = try await run(["serve", "--help-keys"])
        #expect(result.output.contains("\nhosts.null-address "))
        #expect(result.code == 0)
    }
}
