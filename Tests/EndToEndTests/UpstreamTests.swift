import Foundation
import TestSupport
import Testing

/// Real DNS servers behind the daemon.
@Suite("A real upstream server")
struct UpstreamTests {
    private static let zone = """
        $ORIGIN example.net.
        $TTL 300
        @ IN SOA ns hostmaster 1 7200 3600 1209600 60
        @ NS ns
        ns A 127.0.0.1
        www A 192.0.2.80
        www AAAA 2001:db8::80
        www HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.80
        alias CNAME www
        to-override CNAME over.acme.org.
        to-zone CNAME www.acme.org.
        to-nowhere CNAME nothing.example.net.
        large TXT \((0..<20).map { "\"\($0)\(String(repeating: "x", count: 200))\"" }.joined(separator: " "))

        """
    /// The zone as the rest of the world sees it.
    private static let elsewhere = """
        $ORIGIN acme.org.
        $TTL 300
        @ IN SOA ns hostmaster 1 7200 3600 1209600 60
        @ NS ns
        ns A 127.0.0.1
        www A 192.0.2.98
        over A 192.0.2.99

        """
    private static let local = """
        $ORIGIN acme.org.
        $TTL 3600
        @ IN SOA ns hostmaster 1 7200 3600 1209600 300
        @ NS ns
        ns A 152.153.81.53
        www A 152.153.81.14
        out CNAME www.example.net.
        over A 152.153.81.99

        """

    private func world() async throws -> (daemon: DaemonProcess, parts: [Any]) {
        let nsd = try await NSDServer([("example.net", Self.zone), ("acme.org", Self.elsewhere)])
        let unbound = try await UnboundServer([("example.net", nsd.port), ("acme.org", nsd.port)])
        let folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
        try folder.write(Self.local, to: "zones/acme.org.zone")
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--upstream",
            "127.0.0.1:\(unbound.port)",
        ])
        return (daemon, [nsd, unbound, folder])
    }

    @Test("that can't be reached: every question is told so at once")
    func unreachable() async throws {
        let daemon = try await DaemonProcess([
            // The thread that reads the query is the one that asks upstream.
            "--no-hosts", "--zones", "none", "--workers", "1", "--upstream", "127.0.0.1:\(try freePort())",
        ])
        for number in 0..<5 {
            #expect(try await daemon.dig("n\(number).example.net").contains("status: SERVFAIL"))
        }
    }

    @Test("answers, aliases and absence come through Unbound as its server has them; then from the cache")
    func answers() async throws {
        let (daemon, parts) = try await world()
        defer { withExtendedLifetime(parts) {} }
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.80\n")
        #expect(try await daemon.dig("www.example.net", "AAAA", "+short") == "2001:db8::80\n")
        #expect(
            try await daemon.dig("www.example.net", "HTTPS", "+short")
                == "1 . alpn=\"h2,h3\" ipv4hint=192.0.2.80\n")
        #expect(try await daemon.dig("alias.example.net", "+short") == "www.example.net.\n192.0.2.80\n")
        let missing = try await daemon.dig("missing.example.net")
        #expect(missing.contains("status: NXDOMAIN") && missing.contains("IN\tSOA\tns.example.net."))
        let nodata = try await daemon.dig("www.example.net", "MX")
        #expect(nodata.contains("status: NOERROR") && nodata.contains("ANSWER: 0") && nodata.contains("IN\tSOA"))

        let first = try await daemon.lookup("www.example.net.", "A")
        #expect(first["source"] as? String == "upstream")
        #expect((first["upstream_us"] as? Int ?? 0) > 0)
        let before = daemon.output.all.count
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.80\n")
        #expect(try await daemon.lookup("www.example.net.", "A", from: before)["source"] as? String == "cache")
        #expect(try await daemon.dig("missing.example.net", "AAAA").contains("status: NXDOMAIN"))
        #expect(try await daemon.stop() == 0)
    }

    @Test("aliases may lead from upstream to overrides and zones, and from these to upstream")
    func chains() async throws {
        let (daemon, parts) = try await world()
        defer { withExtendedLifetime(parts) {} }
        #expect(try await daemon.dig("to-override.example.net", "+short") == "over.acme.org.\n127.0.0.14\n")
        let lookup = try await daemon.lookup("to-override.example.net.", "A")
        let chain = try #require(lookup["chain"] as? [[String: Any]])
        #expect(chain.map { $0["source"] as? String } == ["upstream", "hosts"])
        #expect((chain.last?["rule"] as? String)?.hasSuffix("hosts:1") == true)
        #expect(try await daemon.dig("to-zone.example.net", "+short") == "www.acme.org.\n152.153.81.14\n")
        #expect(try await daemon.dig("out.acme.org", "+short") == "www.example.net.\n192.0.2.80\n")
        #expect(try await daemon.dig("to-nowhere.example.net").contains("status: NXDOMAIN"))
    }

    @Test("answers age in the cache, as dig sees them")
    func ageing() async throws {
        let (daemon, parts) = try await world()
        defer { withExtendedLifetime(parts) {} }
        func ttl() async throws -> Int? {
            try await daemon.dig("www.example.net", "+noall", "+answer").split(separator: "\t")
                .dropFirst().compactMap { Int($0) }.first
        }
        let start = ContinuousClock.now
        var last = try #require(try await ttl())
        #expect(last <= 300)
        let first = last
        while last > first - 2 {
            let now = try #require(try await ttl())
            // The TTL never grows, and shrinks no faster than time passes.
            #expect(now <= last && .seconds(first - now - 1) <= ContinuousClock.now - start)
            last = now
        }
        let sources = daemon.output.all.filter { $0.contains("\"www.example.net.\"") }
        #expect(sources.filter { $0.contains("\"source\":\"upstream\"") }.count == 1)
    }

    @Test("a large answer is truncated over UDP, and complete over TCP or if it fits")
    func large() async throws {
        let (daemon, parts) = try await world()
        defer { withExtendedLifetime(parts) {} }
        let cut = try await daemon.dig("large.example.net", "TXT", "+ignore", "+bufsize=1232")
        #expect(cut.contains("flags: qr tc rd ra"))
        let whole = try await daemon.dig("large.example.net", "TXT", "+bufsize=1232")
        #expect(whole.contains("Truncated, retrying in TCP mode") && whole.contains("\"19xxxx"))
        #expect(try await daemon.dig("large.example.net", "TXT", "+tcp", "+short").contains("\"19xxxx"))
    }

    @Test("a domain with its own server is asked there; others are not")
    func routes() async throws {
        let nsd = try await NSDServer([("example.net", Self.zone)])
        let other = try ScriptedServer { query, _ in .send(Reply.addresses(query, [[10, 9, 8, 7]])) }
        let folder = try TemporaryFolder()
        let daemon = try await DaemonProcess([
            "--no-hosts", "--zones", folder.path, "--upstream", "example.net=127.0.0.1:\(nsd.port)",
            "--upstream", "127.0.0.1:\(other.port)",
        ])
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.80\n")
        #expect(try await daemon.dig("www.example.com", "+short") == "10.9.8.7\n")
        #expect(other.questions() == 1)
    }
}
