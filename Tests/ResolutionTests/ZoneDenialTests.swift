import DNSWire
import Testing

/// The records of the example zone that RFC 4035 A and RFC 5155 A share, with dummy signatures.
private func signed(_ lines: [String], denial: (type: String, names: [(owner: String, next: String, types: String)]))
    -> ZoneAnswers
{
    var text = "$TTL 3600\n"
    func add(_ owner: String, _ type: String, _ data: String) { text += "\(owner) \(type) \(data)\n" }
    func sign(_ owner: String, _ type: String) {
        add(owner, "RRSIG", "\(type) 8 1 3600 20300101000000 20200101000000 1 example. AA==")
    }
    for line in lines {
        let words = line.split(separator: " ", maxSplits: 2).map(String.init)
        add(words[0], words[1], words[2])
    }
    // Neither delegations nor glue are signed (RFC 4035 2.2).
    let unsigned = ["a.example. NS", "b.example. NS", "ns1.a.example. A", "ns1.b.example. A"]
    for pair in Set(lines.map { $0.split(separator: " ").prefix(2).joined(separator: " ") }).sorted()
    where !unsigned.contains(pair) {
        let words = pair.split(separator: " ").map(String.init)
        sign(words[0], words[1])
    }
    for name in denial.names {
        add(name.owner, denial.type, "\(denial.type == "NSEC3" ? "1 1 12 aabbccdd " : "")\(name.next) \(name.types)")
        sign(name.owner, denial.type)
    }
    return ZoneAnswers(text)
}

private let common = [
    "example. SOA ns1.example. bugs.x.w.example. 1 3600 300 3600000 3600",
    "example. NS ns1.example.", "example. NS ns2.example.", "example. MX 1 xx.example.",
    "a.example. NS ns1.a.example.", "a.example. DS 58470 5 1 3079F1593EBAD6DC121E202A8B766A6A4837206C",
    "ns1.a.example. A 192.0.2.5", "ai.example. A 192.0.2.9", "ai.example. AAAA 2001:db8::f00:baa9",
    "b.example. NS ns1.b.example.", "ns1.b.example. A 192.0.2.7",
    "ns1.example. A 192.0.2.1", "ns2.example. A 192.0.2.2",
    "*.w.example. MX 1 ai.example.", "x.w.example. MX 1 xx.example.", "x.y.w.example. MX 1 xx.example.",
    "xx.example. A 192.0.2.10", "xx.example. AAAA 2001:db8::f00:baaa",
]

/// A question, its RCODE, and the owner names of the NSEC or NSEC3 records in the authority section.
struct DenialCase: Sendable, CustomTestStringConvertible {
    var question: String
    var header: String
    var answer: [String]
    var proofs: [String]
    var others: [String]

    init(_ question: String, _ header: String, answer: [String] = [], proofs: [String], others: [String] = []) {
        self.question = question
        self.header = header
        self.answer = answer
        self.proofs = proofs
        self.others = others
    }

    var testDescription: String { question }

    func check(_ zones: ZoneAnswers) throws {
        let got = try zones.ask(question, dnssecOK: true)
        func owners(_ section: [String]) -> [String] {
            section.map { $0.split(separator: " ") }
                .map { $0[2] == "rrsig" ? "\($0[0]) sig(\($0[3]))" : "\($0[0]) \($0[2])" }
        }
        func isProof(_ text: String) -> Bool { text.contains("nsec") }
        #expect(got.header == header)
        #expect(owners(got.answer).sorted() == answer.sorted())
        let authority = owners(got.authority)
        // Each once, with its signature.
        let spans = authority.filter { $0.hasSuffix(" nsec") || $0.hasSuffix(" nsec3") }
        #expect(spans.map { String($0.prefix { $0 != " " }) }.sorted() == proofs.sorted())
        #expect(authority.count { $0.contains("sig(nsec") } == proofs.count)
        #expect(authority.filter { !isProof($0) }.sorted() == others.sorted())
        let plain = try zones.ask(question)
        #expect(!(plain.answer + plain.authority).contains { $0.contains(" rrsig ") || $0.contains(" nsec") })
        #expect(plain.code == got.code)
    }
}

private let soa = ["example. soa", "example. sig(soa)"]

@Suite("Denial by NSEC (RFC 4035 3.1.3, B)")
struct ZoneNSECTests {
    static let zones = signed(
        common + ["*.c.w.example. CNAME xx.example.", "t.*.e.example. TXT x"],
        denial: (
            "NSEC",
            [
                ("example.", "a.example.", "NS SOA MX RRSIG NSEC"),
                ("a.example.", "ai.example.", "NS DS RRSIG NSEC"),
                ("ai.example.", "b.example.", "A AAAA RRSIG NSEC"),
                ("b.example.", "t.*.e.example.", "NS RRSIG NSEC"),
                ("t.*.e.example.", "ns1.example.", "TXT RRSIG NSEC"),
                ("ns1.example.", "ns2.example.", "A RRSIG NSEC"),
                ("ns2.example.", "*.w.example.", "A RRSIG NSEC"),
                ("*.w.example.", "*.c.w.example.", "MX RRSIG NSEC"),
                ("*.c.w.example.", "x.w.example.", "CNAME RRSIG NSEC"),
                ("x.w.example.", "x.y.w.example.", "MX RRSIG NSEC"),
                ("x.y.w.example.", "xx.example.", "MX RRSIG NSEC"),
                ("xx.example.", "example.", "A AAAA RRSIG NSEC"),
            ]
        ))

    @Test(
        "each kind of answer has its proofs",
        arguments: [
            DenialCase(
                "x.w.example. MX", "NOERROR aa", answer: ["x.w.example. mx", "x.w.example. sig(mx)"], proofs: []),
            DenialCase("ml.example. A", "NXDOMAIN aa", proofs: ["t.*.e.example.", "example."], others: soa),
            DenialCase("ns1.example. MX", "NOERROR aa", proofs: ["ns1.example."], others: soa),
            DenialCase(
                "mc.a.example. MX", "NOERROR", proofs: [],
                others: ["a.example. ns", "a.example. ds", "a.example. sig(ds)"]),
            DenialCase("mc.b.example. MX", "NOERROR", proofs: ["b.example."], others: ["b.example. ns"]),
            DenialCase(
                "a.z.w.example. MX", "NOERROR aa", answer: ["a.z.w.example. mx", "a.z.w.example. sig(mx)"],
                proofs: ["x.y.w.example."]),
            DenialCase(
                "a.z.w.example. AAAA", "NOERROR aa", proofs: ["x.y.w.example.", "*.w.example."], others: soa),
            DenialCase("example. DS", "NOERROR aa", proofs: ["example."], others: soa),
            // An empty non-terminal: covered by the preceding NSEC.
            DenialCase("y.w.example. A", "NOERROR aa", proofs: ["x.w.example."], others: soa),
            // One NSEC covers both the wildcard and the name: sent once.
            DenialCase("b.w.example. A", "NOERROR aa", proofs: ["*.w.example."], others: soa),
            // A wildcard that is an empty non-terminal.
            DenialCase("u.e.example. A", "NOERROR aa", proofs: ["b.example.", "t.*.e.example."], others: soa),
            // A chain through a wildcard: its proof follows the answers of the chain.
            DenialCase(
                "d.c.w.example. A", "NOERROR aa",
                answer: [
                    "d.c.w.example. cname", "d.c.w.example. sig(cname)", "xx.example. a", "xx.example. sig(a)",
                ], proofs: ["*.c.w.example."]),
        ])
    func proofs(_ line: DenialCase) throws { try line.check(Self.zones) }

    @Test("a signature has the TTL of what it covers, even if requested by type (RFC 4034 3)")
    func signatureTTL() throws {
        let zones = ZoneAnswers(
            """
            example. 3600 SOA ns1.example. a.example. 1 2 3 4 60
            example. 3600 NS ns1.example.
            ns1.example. 300 A 192.0.2.1
            ns1.example. 300 RRSIG A 8 1 3600 20300101000000 20200101000000 1 example. AA==
            ns1.example. 60 NSEC example. A RRSIG NSEC
            ns1.example. 60 RRSIG NSEC 8 1 3600 20300101000000 20200101000000 1 example. AA==

            """)
        let ttls = try zones.ask("ns1.example. RRSIG").answer.map { $0.split(separator: " ")[1] }
        #expect(ttls.sorted() == ["300", "60"])
    }
}

@Suite("Denial by NSEC3 (RFC 5155 7.2, B)")
struct ZoneNSEC3Tests {
    /// RFC 5155 A, without its DNSKEY and HINFO and the names that would hash behind them.
    static let hashes = [
        ("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "MX NS SOA NSEC3PARAM RRSIG"),  // example.
        ("2t7b4g4vsa5smi47k61mv5bv1a22bojr", "A RRSIG"),  // ns1.example.
        ("2vptu5timamqttgl4luu9kg21e0aor3s", "MX RRSIG"),  // x.y.w.example.
        ("35mthgpgcu1qg68fab165klnsnk3dpvl", "NS DS RRSIG"),  // a.example.
        ("b4um86eghhds6nea196smvmlo4ors995", "MX RRSIG"),  // x.w.example.
        ("gjeqe526plbf1g8mklp59enfd789njgi", "A AAAA RRSIG"),  // ai.example.
        ("ji6neoaepv8b5o6k4ev33abha8ht9fgc", ""),  // y.w.example.
        ("k8udemvp1j2f7eg6jebps17vp3n8i58h", ""),  // w.example.
        ("q04jkcevqvmu85r014c7dkba38o0ji5r", "A RRSIG"),  // ns2.example.
        ("r53bq7cc2uvmubfu5ocmm6pers9tk9en", "MX RRSIG"),  // *.w.example.
        ("t644ebqk9bibcna874givr6joj62mlhv", "A AAAA RRSIG"),  // xx.example.
    ]
    static let zones = signed(
        common + ["example. NSEC3PARAM 1 0 12 aabbccdd"],
        denial: (
            "NSEC3",
            hashes.indices.map {
                ("\(hashes[$0].0).example.", hashes[($0 + 1) % hashes.count].0, hashes[$0].1)
            }
        ))
    static let apex = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example."

    @Test(
        "each kind of answer has its proofs",
        arguments: [
            // B.1: closest encloser x.w, next closer c.x.w, wildcard *.x.w.
            DenialCase(
                "a.c.x.w.example. A", "NXDOMAIN aa",
                proofs: [
                    apex, "b4um86eghhds6nea196smvmlo4ors995.example.", "35mthgpgcu1qg68fab165klnsnk3dpvl.example.",
                ],
                others: soa),
            // B.2 and B.2.1.
            DenialCase(
                "ns1.example. MX", "NOERROR aa", proofs: ["2t7b4g4vsa5smi47k61mv5bv1a22bojr.example."], others: soa),
            DenialCase(
                "y.w.example. A", "NOERROR aa", proofs: ["ji6neoaepv8b5o6k4ev33abha8ht9fgc.example."], others: soa),
            // B.3: opt-out, so b.example has no NSEC3.
            DenialCase(
                "mc.b.example. MX", "NOERROR",
                proofs: [apex, "gjeqe526plbf1g8mklp59enfd789njgi.example."], others: ["b.example. ns"]),
            DenialCase(
                "b.example. DS", "NOERROR aa", proofs: [apex, "gjeqe526plbf1g8mklp59enfd789njgi.example."], others: soa),
            // B.4.
            DenialCase(
                "a.z.w.example. MX", "NOERROR aa", answer: ["a.z.w.example. mx", "a.z.w.example. sig(mx)"],
                proofs: ["q04jkcevqvmu85r014c7dkba38o0ji5r.example."]),
            // B.5.
            DenialCase(
                "a.z.w.example. AAAA", "NOERROR aa",
                proofs: [
                    "k8udemvp1j2f7eg6jebps17vp3n8i58h.example.", "q04jkcevqvmu85r014c7dkba38o0ji5r.example.",
                    "r53bq7cc2uvmubfu5ocmm6pers9tk9en.example.",
                ], others: soa),
            // B.6.
            DenialCase("example. DS", "NOERROR aa", proofs: [apex], others: soa),
            // 7.2.8: the owner of an NSEC3 is not a name of the zone.
            DenialCase(
                "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. A", "NXDOMAIN aa",
                proofs: [
                    apex, "k8udemvp1j2f7eg6jebps17vp3n8i58h.example.", "gjeqe526plbf1g8mklp59enfd789njgi.example.",
                ],
                others: soa),
        ])
    func proofs(_ line: DenialCase) throws { try line.check(Self.zones) }
}
