import DNSWire
import LocalData
import Lookup
import Platform
import Testing

/// The answer to a question: `NOERROR aa`, the answer section, and the authority section.
struct ZoneCase: Sendable, CustomTestStringConvertible {
    var question: String
    var header: String
    var answer: [String]
    var authority: [String]

    init(_ question: String, _ header: String, _ answer: [String] = [], authority: [String] = []) {
        self.question = question
        self.header = header
        self.answer = answer
        self.authority = authority
    }

    var testDescription: String { question }

    func check(_ zones: ZoneAnswers, dnssecOK: Bool = false) throws {
        let answer = try zones.ask(question, dnssecOK: dnssecOK)
        #expect(answer.header == header)
        #expect(answer.answer == self.answer.map { $0.lowercased() }.sorted())
        #expect(answer.authority == authority.map { $0.lowercased() }.sorted())
    }
}

@Suite("Wildcards (RFC 4592)")
struct ZoneWildcardTests {
    /// RFC 4592 2.2.1.
    static let zones = ZoneAnswers(
        """
        $TTL 3600
        example. SOA ns.example.com. admin.example. 1 2 3 4 5
        example. NS ns.example.com.
        example. NS ns.example.net.
        *.example. TXT "this is a wildcard"
        *.example. MX 10 host1.example.
        sub.*.example. TXT "this is not a wildcard"
        host1.example. A 192.0.2.1
        _ssh._tcp.host1.example. SRV 0 0 22 host1.example.
        _ssh._tcp.host2.example. SRV 0 0 22 host1.example.
        subdel.example. NS ns.example.com.
        subdel.example. NS ns.example.net.

        """)
    static let soa = ["example. 5 SOA ns.example.com. admin.example. 1 2 3 4 5"]

    @Test(
        "the zone of RFC 4592 answers the questions of RFC 4592",
        arguments: [
            ZoneCase("host3.example. MX", "NOERROR aa", ["host3.example. 3600 MX 10 host1.example."]),
            ZoneCase("host3.example. A", "NOERROR aa", authority: soa),
            ZoneCase("foo.bar.example. TXT", "NOERROR aa", ["foo.bar.example. 3600 TXT \"this is a wildcard\""]),
            ZoneCase("host1.example. MX", "NOERROR aa", authority: soa),
            ZoneCase("sub.*.example. MX", "NOERROR aa", authority: soa),
            ZoneCase("_telnet._tcp.host1.example. SRV", "NXDOMAIN aa", authority: soa),
            ZoneCase(
                "host.subdel.example. A", "NOERROR",
                authority: ["subdel.example. 3600 NS ns.example.com.", "subdel.example. 3600 NS ns.example.net."]),
            ZoneCase("ghost.*.example. MX", "NXDOMAIN aa", authority: soa),
            // The wildcard's own name is an ordinary name (2.3), and an empty non-terminal blocks it (2.2.2).
            ZoneCase("*.example. MX", "NOERROR aa", ["*.example. 3600 MX 10 host1.example."]),
            ZoneCase("_tcp.host2.example. MX", "NOERROR aa", authority: soa),
            ZoneCase("HOST3.Example. MX", "NOERROR aa", ["HOST3.Example. 3600 MX 10 host1.example."]),
        ])
    func rfcExamples(_ line: ZoneCase) throws { try line.check(Self.zones) }
}

@Suite("CNAME, DNAME and delegations (RFC 1034 4.3.2, RFC 6672)")
struct ZoneRedirectionTests {
    static let label = String(repeating: "a", count: 63)
    static let zones = ZoneAnswers(
        """
        $ORIGIN example.
        $TTL 300
        @ 3600 SOA ns1 admin 1 2 3 4 60
        @ NS ns1
        ns1 A 192.0.2.1
        www CNAME web
        web A 192.0.2.2
        web A 192.0.2.3
        dangling CNAME nowhere
        away CNAME www.other.invalid.
        *.wild CNAME web
        d 600 DNAME target
        d TXT "beside a DNAME"
        a.target A 192.0.2.4
        long DNAME \(label).\(label).\(label).example.
        child NS ns.child
        child NS ns1
        ns.child A 192.0.2.5
        secure NS ns1
        secure DS 1 8 1 0123456789ABCDEF0123456789ABCDEF01234567
        tochild CNAME www.child

        """,
        """
        $ORIGIN child.example.
        $TTL 100
        @ SOA ns admin 9 2 3 4 50
        @ NS ns
        ns A 192.0.2.6
        www A 192.0.2.7

        """)
    static let parentOnly = ZoneAnswers([zones.zones.zones[0]])
    static let soa = ["example. 60 SOA ns1.example. admin.example. 1 2 3 4 60"]
    static let cut = ["child.example. 300 NS ns.child.example.", "child.example. 300 NS ns1.example."]

    @Test(
        "one zone",
        arguments: [
            ZoneCase(
                "www.example. A", "NOERROR aa",
                [
                    "www.example. 300 CNAME web.example.", "web.example. 300 A 192.0.2.2",
                    "web.example. 300 A 192.0.2.3",
                ]),
            ZoneCase("www.example. CNAME", "NOERROR aa", ["www.example. 300 CNAME web.example."]),
            ZoneCase("www.example. ANY", "NOERROR aa", ["www.example. 300 CNAME web.example."]),
            ZoneCase("www.example. TXT", "NOERROR aa", ["www.example. 300 CNAME web.example."], authority: soa),
            ZoneCase(
                "dangling.example. A", "NXDOMAIN aa", ["dangling.example. 300 CNAME nowhere.example."],
                authority: soa),
            ZoneCase("away.example. A", "NOERROR aa", ["away.example. 300 CNAME www.other.invalid."]),
            ZoneCase("x.wild.example. TXT", "NOERROR aa", ["x.wild.example. 300 CNAME web.example."], authority: soa),
            ZoneCase("d.example. TXT", "NOERROR aa", ["d.example. 300 TXT \"beside a DNAME\""]),
            ZoneCase("d.example. DNAME", "NOERROR aa", ["d.example. 600 DNAME target.example."]),
            ZoneCase("d.example. A", "NOERROR aa", authority: soa),
            ZoneCase(
                "A.d.example. A", "NOERROR aa",
                [
                    "d.example. 600 DNAME target.example.", "A.d.example. 600 CNAME a.target.example.",
                    "a.target.example. 300 A 192.0.2.4",
                ]),
            ZoneCase(
                "a.d.example. CNAME", "NOERROR aa",
                ["d.example. 600 DNAME target.example.", "a.d.example. 600 CNAME a.target.example."]),
            ZoneCase(
                "b.d.example. DNAME", "NXDOMAIN aa",
                ["d.example. 600 DNAME target.example.", "b.d.example. 600 CNAME b.target.example."], authority: soa),
            ZoneCase(
                "\(label).long.example. A", "YXDOMAIN aa",
                ["long.example. 300 DNAME \(label).\(label).\(label).example."]),
            ZoneCase("child.example. NS", "NOERROR", authority: cut),
            ZoneCase("ns.child.example. A", "NOERROR", authority: cut),
            ZoneCase("no.such.child.example. A", "NOERROR", authority: cut),
            ZoneCase("child.example. DS", "NOERROR aa", authority: soa),
            ZoneCase(
                "secure.example. DS", "NOERROR aa",
                ["secure.example. 300 DS 1 8 1 0123456789abcdef0123456789abcdef01234567"]),
            ZoneCase("x.secure.example. DS", "NOERROR", authority: ["secure.example. 300 NS ns1.example."]),
            ZoneCase("example. DS", "NOERROR aa", authority: soa),
        ])
    func parent(_ line: ZoneCase) throws { try line.check(Self.parentOnly) }

    @Test(
        "if the child is loaded too, the longest apex answers, except for DS",
        arguments: [
            ZoneCase("child.example. NS", "NOERROR aa", ["child.example. 100 NS ns.child.example."]),
            ZoneCase("ns.child.example. A", "NOERROR aa", ["ns.child.example. 100 A 192.0.2.6"]),
            ZoneCase("child.example. DS", "NOERROR aa", authority: soa),
            ZoneCase(
                "tochild.example. A", "NOERROR aa",
                ["tochild.example. 300 CNAME www.child.example.", "www.child.example. 100 A 192.0.2.7"]),
            ZoneCase(
                "x.child.example. A", "NXDOMAIN aa",
                authority: ["child.example. 50 SOA ns.child.example. admin.child.example. 9 2 3 4 50"]),
        ])
    func parentAndChild(_ line: ZoneCase) throws { try line.check(Self.zones) }

    @Test("below a cut, a query that may be forwarded is left to upstream, and nothing is written")
    func forwards() throws {
        for question in ["child.example. A", "x.child.example. NS", "ns.child.example. A"] {
            let answer = try Self.parentOnly.ask(question, mayForward: true)
            #expect(answer.outcome == .pass && answer.isBelowCut && answer.authority.isEmpty && answer.answer.isEmpty)
        }
        #expect(try Self.parentOnly.ask("child.example. DS", mayForward: true).outcome == .answered)
        #expect(try Self.parentOnly.ask("www.other. A", mayForward: true).outcome == .pass)
    }

    @Test("the decision has the record's line, or the SOA's for a negative answer")
    func places() throws {
        #expect(try Self.parentOnly.ask("ns1.example. A").decision.place.line == 5)
        #expect(try Self.parentOnly.ask("web.example. A").decision.place.line == 7)
        #expect(try Self.parentOnly.ask("nowhere.example. A").decision.place.line == 3)
        #expect(try Self.parentOnly.ask("x.child.example. A").decision.place.line == 16)
    }
}

@Suite("Additional records and truncation (RFC 2181 9, RFC 9471)")
struct ZoneAdditionalTests {
    static let many = (1...40).map { "many A 192.0.2.\($0)" }.joined(separator: "\n")
    static let zones = ZoneAnswers(
        """
        $ORIGIN example.
        $TTL 300
        @ SOA ns1 admin 1 2 3 4 60
        @ NS ns1
        @ MX 10 mail
        @ MX 20 many
        @ MX 30 ns.child
        ns1 A 192.0.2.1
        mail A 192.0.2.2
        mail AAAA 2001:db8::2
        https HTTPS 1 . alpn=h2
        https A 192.0.2.9
        *.any HTTPS 1 . alpn=h2
        alias HTTPS 0 .
        alias A 192.0.2.8
        child NS ns.child
        child NS many
        ns.child A 192.0.2.3
        deep NS many.deep
        deep NS ns1
        \(many.replacing("many ", with: "many.deep "))
        \(many)

        """)

    @Test("a target's addresses are added, each RRset completely or not at all")
    func wholeOrNot() throws {
        let roomy = try Self.zones.ask("example. MX")
        #expect(roomy.additional.count == 42)
        let tight = try Self.zones.ask("example. MX", limit: 512)
        #expect(!tight.isTruncated && tight.answer.count == 3)
        #expect(tight.additional == ["mail.example. 300 a 192.0.2.2", "mail.example. 300 aaaa 2001:db8::2"])
    }

    @Test("addresses below a zone cut are not added for MX")
    func noGlueForMX() throws {
        #expect(try !Self.zones.ask("example. MX").additional.contains("ns.child.example. 300 a 192.0.2.3"))
    }

    @Test("a target of '.' in ServiceMode is the owner name (RFC 9460 2.5.2)")
    func serviceOwner() throws {
        #expect(try Self.zones.ask("https.example. HTTPS").additional == ["https.example. 300 a 192.0.2.9"])
        #expect(try Self.zones.ask("x.any.example. HTTPS").additional.isEmpty)
        #expect(try Self.zones.ask("alias.example. HTTPS").additional.isEmpty)
    }

    @Test("in-domain glue is included, or TC is set; other glue is optional")
    func glue() throws {
        let referral = try Self.zones.ask("x.child.example. A", limit: 512)
        #expect(!referral.isTruncated && referral.additional == ["ns.child.example. 300 a 192.0.2.3"])
        #expect(try Self.zones.ask("x.deep.example. A", limit: 512).isTruncated)
        #expect(try Self.zones.ask("x.deep.example. A").additional.count == 41)
    }

    @Test("an answer that does not fit sets TC")
    func truncation() throws {
        #expect(try Self.zones.ask("many.example. A", limit: 512).isTruncated)
        #expect(try !Self.zones.ask("many.example. A").isTruncated)
    }
}
