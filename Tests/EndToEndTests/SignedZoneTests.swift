import Foundation
import TestSupport
import Testing

/// DNSSEC data passes unchanged, from upstream and from local zone files: a validating client finds no fault.
@Suite("Signed zones")
struct SignedZoneTests {
    private static let zone = """
        $ORIGIN example.net.
        $TTL 300
        @ IN SOA ns hostmaster 1 7200 3600 1209600 60
        @ NS ns
        ns A 127.0.0.1
        www A 192.0.2.80
        alias CNAME www
        *.wild A 192.0.2.81
        empty.non.terminal A 192.0.2.82

        """

    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// The signed zone's text; its key is in `key.conf` for delv and in `key` for Unbound.
    private func sign(nsec3: Bool = false) async throws -> String {
        func run(_ tool: String, _ arguments: [String]) async throws -> String {
            let result = try await Command.run(arguments, executable: URL(filePath: tool), in: folder.path)
            try #require(result.code == 0, "\(tool): \(result.errors)")
            return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        try folder.write(Self.zone, to: "unsigned")
        let key = try await run("/usr/bin/ldns-keygen", ["-a", "ECDSAP256SHA256", "-k", "example.net"])
        _ = try await run(
            "/usr/bin/ldns-signzone",
            (nsec3 ? ["-n", "-t", "0"] : []) + ["-f", folder.file("signed"), "unsigned", key])
        let record = try String(contentsOfFile: folder.file(key + ".key"), encoding: .utf8)
        try folder.write(record, to: "key")
        let data = try #require(record.components(separatedBy: "DNSKEY\t").last?.components(separatedBy: " ;").first)
        let fields = data.split(separator: " ", maxSplits: 3)
        try folder.write(
            "trust-anchors { example.net. static-key \(fields[0]) \(fields[1]) \(fields[2]) \"\(fields[3])\"; };\n",
            to: "key.conf")
        return try String(contentsOfFile: folder.file("signed"), encoding: .utf8)
    }

    private func daemon(_ arguments: [String]) async throws -> DaemonProcess {
        try folder.write("", to: "none/hosts")
        return try await DaemonProcess(["--hosts", folder.file("none/hosts")] + arguments)
    }

    enum Place: CaseIterable, Sendable { case upstream, zoneFile }

    @Test("satisfy a validating client, with NSEC and NSEC3", arguments: Place.allCases, [false, true])
    func validates(_ place: Place, _ nsec3: Bool) async throws {
        let signed = try await sign(nsec3: nsec3)
        let nsd = try await NSDServer([("example.net", signed)])
        let daemon: DaemonProcess
        switch place {
        case .upstream:
            daemon = try await self.daemon(["--zones", folder.file("none"), "--upstream", "127.0.0.1:\(nsd.port)"])
        case .zoneFile:
            daemon = try await self.daemon(["--zone", folder.file("signed"), "--no-upstream"])
        }
        for (name, type, expected) in [
            ("www", "A", "; fully validated"), ("alias", "A", "; fully validated"),
            ("x.wild", "A", "; fully validated"),
            ("www", "MX", "; negative response, fully validated"),
            ("nope", "A", "; negative response, fully validated"),
            ("non.terminal", "A", "; negative response, fully validated"),
            ("x.wild", "TXT", "; negative response, fully validated"),
        ] {
            // Twice: the second time from the cache, if there is one.
            for _ in 0..<2 {
                let result = try await Command.run(
                    [
                        "@127.0.0.1", "-p", "\(daemon.port)", "-a", folder.file("key.conf"), "+root=example.net",
                        "\(name).example.net", type,
                    ], executable: URL(filePath: "/usr/bin/delv"))
                #expect(result.output.contains(expected), "\(name) \(type): \(result)")
                #expect(!result.output.contains("; unsigned answer"), "\(name) \(type): \(result)")
            }
        }
        #expect(try await daemon.dig("www.example.net", "+dnssec").contains("\tRRSIG\tA 13 3 300 "))
        #expect(try await !daemon.dig("www.example.net").contains("RRSIG"))
        #expect(try await !daemon.dig("nope.example.net").contains("NSEC"))
        #expect(try await daemon.stop() == 0)
    }

    @Test("AD is passed on only from a trusted upstream server")
    func authenticData() async throws {
        let nsd = try await NSDServer([("example.net", try await sign())])
        let unbound = try await UnboundServer([("example.net", nsd.port)], anchor: folder.file("key"))
        for (trusts, flags) in [(false, "flags: qr rd ra;"), (true, "flags: qr rd ra ad;")] {
            let file = try folder.write("upstream:\n  trust-ad: \(trusts ? "yes" : "no")\n", to: "stub53.yaml")
            let daemon = try await daemon([
                "--config", file, "--zones", folder.path, "--upstream", "127.0.0.1:\(unbound.port)",
            ])
            for _ in 0..<2 { #expect(try await daemon.dig("www.example.net", "+adflag").contains(flags)) }
            #expect(try await daemon.dig("www.example.net", "+noadflag").contains("flags: qr rd ra;"))
            #expect(try await daemon.stop() == 0)
        }
    }

    @Test("data that upstream finds forged is SERVFAIL with a reason, but returned to queries with CD")
    func bogus() async throws {
        let signed = try await sign().replacing("192.0.2.80", with: "192.0.2.66")
        let nsd = try await NSDServer([("example.net", signed)])
        let unbound = try await UnboundServer([("example.net", nsd.port)], anchor: folder.file("key"))
        let daemon = try await daemon(["--zones", folder.path, "--upstream", "127.0.0.1:\(unbound.port)"])
        let failure = try await daemon.dig("www.example.net")
        #expect(failure.contains("status: SERVFAIL") && failure.contains("EDE: 6 (DNSSEC Bogus)"), "\(failure)")
        #expect(!failure.contains("192.0.2.66"))
        #expect(try await daemon.dig("www.example.net", "+cdflag", "+short") == "192.0.2.66\n")
        #expect(try await daemon.dig("www.example.net").contains("status: SERVFAIL"))
        #expect(try await daemon.dig("x.wild.example.net", "+short") == "192.0.2.81\n")
        #expect(try await daemon.stop() == 0)
    }
}
