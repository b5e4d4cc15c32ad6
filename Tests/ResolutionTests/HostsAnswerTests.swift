import DNSWire
import Lookup
import Platform
import Testing

@testable import LocalData

@Suite("Overrides answer")
struct HostsAnswerTests {
    private static let lines = """
        127.0.0.1 acme.test www.acme.test   # the site
        ::1 acme.test
        127.0.0.2 acme.test
        127.0.0.1 acme.test
        10.0.0.1 four.test
        2001:db8::1 six.test
        0.0.0.0 blocked.test
        :: blocked.test
        10.0.0.9 *.wild.test
        10.0.0.8 exact.wild.test
        10.0.0.7 a.deep.wild.test
        10.0.0.6 *.inner.wild.test
        """

    @Test(
        "A, AAAA and ANY from the lines, in order, without duplicates",
        arguments: [
            ("acme.test.", .a, "127.0.0.1 127.0.0.2"), ("ACME.Test.", .aaaa, "::1"),
            ("acme.test.", .any, "127.0.0.1 ::1 127.0.0.2"), ("www.acme.test.", .a, "127.0.0.1"),
            ("www.acme.test.", .aaaa, "NODATA"), ("six.test.", .a, "NODATA"), ("six.test.", .aaaa, "2001:db8::1"),
            ("blocked.test.", .a, "0.0.0.0"), ("blocked.test.", .aaaa, "::"), ("test.", .a, "pass"),
            ("sub.acme.test.", .a, "pass"), ("acme.test.", .cname, "NODATA"), ("acme.test.", .dname, "NODATA"),
            ("acme.test.", .mx, "exists in zones"), ("acme.test.", .soa, "exists in zones"),
        ] as [(String, RecordType, String)])
    func addresses(_ name: String, _ type: RecordType, _ expected: String) {
        #expect(HostsExchange(Self.lines).ask(name, type).summary == expected)
    }

    @Test(
        "a wildcard applies as RFC 4592 defines",
        arguments: [
            ("x.wild.test.", "10.0.0.9"), ("x.y.z.wild.test.", "10.0.0.9"), ("*.wild.test.", "10.0.0.9"),
            ("wild.test.", "pass"), ("exact.wild.test.", "10.0.0.8"),
            // exact.wild.test is the closest encloser, and has no wildcard of its own.
            ("below.exact.wild.test.", "pass"),
            // deep.wild.test is an empty non-terminal.
            ("deep.wild.test.", "pass"), ("b.deep.wild.test.", "pass"), ("a.deep.wild.test.", "10.0.0.7"),
            ("inner.wild.test.", "pass"), ("x.inner.wild.test.", "10.0.0.6"), ("x.y.inner.wild.test.", "10.0.0.6"),
        ])
    func wildcards(_ name: String, _ expected: String) {
        #expect(HostsExchange(Self.lines).ask(name, .a).summary == expected)
    }

    @Test("NODATA has an SOA for the name, with the overrides' TTL")
    func negative() {
        var settings = HostsSettings()
        settings.ttl = 30
        let answer = HostsExchange(Self.lines, settings).ask("FOUR.test.", .aaaa)
        #expect(answer.summary == "NODATA")
        #expect(answer.authority == ["FOUR.test. 30 SOA localhost. nobody.invalid. 1 3600 1200 604800 30"])
        #expect(answer.decision.authoritative && answer.decision.source == .hosts)
    }

    @Test(
        "the place is the line of the first address of that address family, or the name's first line",
        arguments: [
            ("acme.test.", .a, 1), ("acme.test.", .aaaa, 2), ("acme.test.", .https, 1), ("six.test.", .a, 6),
            ("q.wild.test.", .a, 9), ("2.0.0.127.in-addr.arpa.", .ptr, 3),
        ] as [(String, RecordType, UInt32)])
    func places(_ name: String, _ type: RecordType, _ line: UInt32) {
        #expect(HostsExchange(Self.lines).ask(name, type).decision.place.line == line)
    }

    @Test(
        "PTR returns the canonical names of an address",
        arguments: [
            ("1.0.0.127.in-addr.arpa.", "acme.test."), ("1.0.0.10.in-addr.arpa.", "four.test."),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "six.test."),
            ("0.0.0.0.in-addr.arpa.", "pass"), ("9.0.0.10.in-addr.arpa.", "pass"), ("01.0.0.10.in-addr.arpa.", "pass"),
            ("3.0.0.127.in-addr.arpa.", "pass"), ("x.1.0.0.10.in-addr.arpa.", "pass"),
            ("256.0.0.10.in-addr.arpa.", "pass"),
        ])
    func reverse(_ name: String, _ expected: String) {
        #expect(HostsExchange(Self.lines).ask(name, .ptr).summary == expected)
    }

    @Test("an overridden reverse name has no data but PTR")
    func reverseTypes() {
        let hosts = HostsExchange(Self.lines)
        #expect(hosts.ask("1.0.0.10.in-addr.arpa.", .txt).summary == "exists in zones")
        #expect(hosts.ask("1.0.0.10.in-addr.arpa.", .cname).summary == "NODATA")
        #expect(hosts.data("1.0.0.10.in-addr.arpa.", .any) == ["four.test."])
    }

    @Test("the first non-wildcard name of a line is canonical; repeated lines add no duplicate")
    func canonicalNames() {
        let hosts = HostsExchange(
            "10.0.0.1 *.dev.test dev.test\n10.0.0.2 bad..name good.test alias.test\n10.0.0.1 dev.test\n10.0.0.1 two.test"
                + String(repeating: "\n10.0.0.2 good.test", count: 100) + "\n10.0.0.2 last.test")
        #expect(hosts.data("1.0.0.10.in-addr.arpa.", .ptr) == ["dev.test.", "two.test."])
        #expect(hosts.data("2.0.0.10.in-addr.arpa.", .ptr) == ["good.test.", "last.test."])
    }

    @Test(
        "all-zero addresses mean what the settings say",
        arguments: [
            (.literal, "0.0.0.0", "::", "exists in zones"), (.nodata, "NODATA", "NODATA", "NODATA"),
            (.nxdomain, "NXDOMAIN", "NXDOMAIN", "NXDOMAIN"),
        ] as [(HostsSettings.NullAddress, String, String, String)])
    func nullAddresses(_ meaning: HostsSettings.NullAddress, _ a: String, _ aaaa: String, _ mx: String) {
        var settings = HostsSettings()
        settings.nullAddress = meaning
        let hosts = HostsExchange(Self.lines, settings)
        #expect(hosts.ask("blocked.test.", .a).summary == a)
        #expect(hosts.ask("blocked.test.", .aaaa).summary == aaaa)
        #expect(hosts.ask("blocked.test.", .mx).summary == mx)
        #expect(hosts.ask("acme.test.", .a).summary == "127.0.0.1 127.0.0.2")
    }

    @Test("NXDOMAIN from later sources becomes NODATA, whatever null addresses mean")
    func noDataAfterBeyond() {
        var settings = HostsSettings()
        settings.nullAddress = .nxdomain
        settings.otherTypes = .forward
        let table = HostsExchange(Self.lines, settings).table
        let answer = LocalAnswer("four.test.", .mx) { lookup in
            lookup.decision.responseCode = .nxDomain
            lookup.decision.authenticData = true
            lookup.decision.upstream = 1
            lookup.decision.explain(.staleAnswer, "of the answer that was dropped")
            table.answerNoData(&lookup)
            return "answered"
        }
        #expect(answer.summary == "NODATA")
        #expect(answer.authority.count == 1)
        #expect(answer.decision.place.line == 5 && answer.decision.source == .hosts)
        #expect(answer.decision.authoritative && !answer.decision.authenticData)
        #expect(answer.decision.extendedError == nil && answer.decision.upstream == -1)
    }

    @Test("if a name has more addresses than fit, TC is set")
    func truncation() {
        let hosts = HostsExchange((1...200).map { "10.0.0.\($0) many.test" }.joined(separator: "\n"))
        #expect(hosts.data("many.test.", .a).count == 200)
        let small = LocalAnswer("many.test.", .a, limit: 512) { lookup in
            _ = hosts.table.answer(&lookup)
            return "answered"
        }
        #expect(small.truncated && small.authority.isEmpty)
    }
}

@Suite("The override family")
struct HostsFamilyTests {
    private static let lines = """
        10.0.0.1 site.test
        2001:db8::1 site.test
        10.0.0.2 *.wild.test
        0.0.0.0 blocked.test
        10.0.0.3 _service.test
        """

    private func exchange(_ https: HostsSettings.HTTPS) -> HostsExchange {
        var settings = HostsSettings()
        settings.https = https
        return HostsExchange(Self.lines, settings)
    }

    private static let family: [(String, RecordType)] = [
        ("site.test.", .https), ("site.test.", .svcb), ("_8443._https.site.test.", .https),
        ("_https.site.test.", .svcb),
        ("_53._dns.site.test.", .svcb), ("www.wild.test.", .https), ("_8443._https.www.wild.test.", .https),
        ("_8443._https._service.test.", .https),
    ]

    @Test("HTTPS and SVCB of an overridden name are masked", arguments: family)
    func masked(_ name: String, _ type: RecordType) {
        let answer = exchange(.mask).ask(name, type)
        #expect(answer.summary == "NODATA")
        #expect(answer.decision.masked && answer.decision.source == .hosts && answer.authority.count == 1)
    }

    @Test("or left to later sources", arguments: family)
    func passed(_ name: String, _ type: RecordType) {
        #expect(exchange(.pass).ask(name, type).summary == "exists beyond")
    }

    @Test(
        "or synthesized from the override",
        arguments: [
            ("site.test.", .https, "1 . alpn=h2 ipv4hint=10.0.0.1 ipv6hint=2001:db8::1"),
            ("_8443._https.site.test.", .https, "1 site.test. alpn=h2 ipv4hint=10.0.0.1 ipv6hint=2001:db8::1"),
            ("www.wild.test.", .https, "1 . alpn=h2 ipv4hint=10.0.0.2"),
            ("_8443._https.www.wild.test.", .https, "1 www.wild.test. alpn=h2 ipv4hint=10.0.0.2"),
            ("blocked.test.", .https, "NODATA"), ("site.test.", .svcb, "NODATA"),
        ] as [(String, RecordType, String)])
    func synthesized(_ name: String, _ type: RecordType, _ expected: String) {
        #expect(exchange(.synthesize).ask(name, type).summary == expected)
    }

    @Test(
        "names outside the override family are not affected",
        arguments: [
            ("_8443._https.other.test.", .https), ("_a._b._c.site.test.", .https), ("www.site.test.", .https),
            ("_8443._https.site.test.", .a), ("_8443._https.site.test.", .txt), ("_._https.test.", .https),
        ] as [(String, RecordType)])
    func others(_ name: String, _ type: RecordType) {
        #expect(exchange(.mask).ask(name, type).summary == "pass")
    }

    @Test("a chain that reaches a name of the family reaches the override")
    func ownership() {
        let table = exchange(.mask).table
        var name = LookupName()
        for (text, owned) in [
            ("site.test.", true), ("_8443._https.site.test.", true), ("x.site.test.", false),
            ("1.0.0.10.in-addr.arpa.", true), ("_8443._https.other.test.", false),
        ] {
            name.assign(Name(text) ?? .root)
            #expect(table.owns(name) == owned, "\(text)")
        }
    }
}
