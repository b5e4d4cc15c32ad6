import DNSWire
import Testing
import Upstream

@testable import Lookup

@Suite("Checking upstream's answers")
struct AnswerCheckTests {
    let client = AnswerClient()
    let secure = AnswerClient(dnssecOK: true)

    @Test("Records that were not requested are dropped")
    func poison() throws {
        let answer = try client.check(
            AnswerMessage(
                "www.example.test.", .a,
                [
                    .a("bank.test.", 300, 66), .a("www.example.test.", 300, 1), .ns("test.", 300, "ns.evil.test."),
                    .cname("other.test.", 300, "evil.test."),
                ],
                authority: [.ns("example.test.", 300, "ns.evil.test."), .a("bank.test.", 1, 66)],
                additional: [.a("ns.evil.test.", 300, 66)]))
        let read = client.read(answer, "www.example.test.", .a)
        #expect(read.answers == ["www.example.test. 300 A 192.0.2.1"])
        #expect(read.authority == [])
        #expect(read.decision.source == .upstream)
    }

    @Test("A chain in any order is put in order")
    func order() throws {
        let answer = try client.check(
            AnswerMessage(
                "a.test.", .a,
                [
                    .a("c.test.", 30, 1), .cname("b.test.", 60, "c.test."), .a("c.test.", 30, 2),
                    .cname("a.test.", 90, "b.test."),
                ]))
        #expect(
            client.read(answer, "a.test.", .a).answers == [
                "a.test. 90 CNAME b.test.", "b.test. 60 CNAME c.test.", "c.test. 30 A 192.0.2.1",
                "c.test. 30 A 192.0.2.2",
            ])
        #expect(answer.ttl == 30)
    }

    @Test("A loop of aliases is a failure, briefly cached, without records")
    func loop() throws {
        let answer = try client.check(
            AnswerMessage("a.test.", .a, [.cname("a.test.", 90, "b.test."), .cname("b.test.", 60, "a.test.")]))
        let read = client.read(answer, "a.test.", .a)
        #expect(read.data.isEmpty && read.decision.responseCode == .serverFailure)
        #expect(read.decision.text == "the CNAMEs form a loop")
        #expect(answer.ttl == 5)
    }

    @Test("A DNAME is kept only with the alias that it implies")
    func dname() throws {
        let good = try client.check(
            AnswerMessage(
                "www.old.test.", .a,
                [
                    .dname("old.test.", 60, "new.test."), .cname("www.old.test.", 60, "www.new.test."),
                    .a("www.new.test.", 60, 1),
                ]))
        #expect(
            client.read(good, "www.old.test.", .a).data == [
                "old.test. DNAME new.test.", "www.old.test. CNAME www.new.test.", "www.new.test. A 192.0.2.1",
            ])
        let bad = try client.check(
            AnswerMessage(
                "www.old.test.", .a,
                [
                    .dname("test.", 60, "evil.test."), .cname("www.old.test.", 60, "www.new.test."),
                    .a("www.new.test.", 60, 1),
                ]))
        #expect(
            client.read(bad, "www.old.test.", .a).data == [
                "www.old.test. CNAME www.new.test.", "www.new.test. A 192.0.2.1",
            ])
    }

    @Test("DNSSEC records are passed on only if the query had DO (RFC 4035 3.2.1)")
    func dnssec() throws {
        let message = AnswerMessage(
            "www.example.test.", .a, [.a("www.example.test.", 300, 1), .rrsig("www.example.test.", 300, covers: .a)],
            authority: [.nsec("v.example.test.", 300), .rrsig("v.example.test.", 300, covers: .nsec)])
        let plain = client.read(try client.check(message), "www.example.test.", .a)
        #expect(plain.data == ["www.example.test. A 192.0.2.1"])
        #expect(plain.authority == [])
        // The proof for the wildcard is included (RFC 4035 3.1.3.3).
        let signed = secure.read(try secure.check(message), "www.example.test.", .a)
        #expect(signed.data == ["www.example.test. A 192.0.2.1", "www.example.test. RRSIG A"])
        #expect(signed.authority == ["v.example.test. 300 NSEC ...", "v.example.test. 300 RRSIG NSEC"])
    }

    @Test("Signatures requested by type are an answer even without DO")
    func signaturesAsked() throws {
        let message = AnswerMessage("x.example.test.", .rrsig, [.rrsig("x.example.test.", 300, covers: .a)])
        #expect(client.read(try client.check(message), "x.example.test.", .rrsig).data == ["x.example.test. RRSIG A"])
    }

    @Test(
        "How long an answer is cached",
        arguments: [
            // RFC 2181 8: the highest bit means 0.
            ([.a("n.test.", 0x8000_0001, 1)], [], ResponseCode.noError, 0),
            ([.a("n.test.", 0, 1)], [], .noError, 0),
            ([.a("n.test.", 600, 1), .a("n.test.", 300, 2)], [], .noError, 300),
            ([.a("n.test.", 0x7FFF_FFFF, 1)], [], .noError, 86_400),
            // RFC 2308 5: the lesser of the SOA's TTL and its MINIMUM, capped.
            ([], [.soa("test.", 900, minimum: 60)], .noError, 60),
            ([], [.soa("test.", 60, minimum: 900)], .nxDomain, 60),
            ([], [.soa("test.", 500_000, minimum: 500_000)], .nxDomain, 10_800),
            ([.cname("n.test.", 20, "m.test.")], [.soa("test.", 60, minimum: 900)], .nxDomain, 20),
            // The alias, whose target is asked for by itself.
            ([.cname("n.test.", 20, "m.test.")], [], .noError, 20),
            // The time is unknown: no SOA, the SOA of another zone, or a referral.
            ([], [], .nxDomain, 0),
            ([], [], .noError, 0),
            ([.cname("n.test.", 20, "m.test.")], [], .nxDomain, 0),
            ([], [.soa("evil.example.", 900, minimum: 900)], .nxDomain, 0),
            ([], [.ns("test.", 900, "a.test.")], .noError, 0),
            // RFC 9520 3.2.
            ([], [], .serverFailure, 5),
            ([], [], .refused, 0),
            ([], [], .notImplemented, 0),
            ([], [], .formatError, 0),
        ] as [([AnswerMessage.Record], [AnswerMessage.Record], ResponseCode, UInt32)])
    func lifetime(
        answers: [AnswerMessage.Record], authority: [AnswerMessage.Record], code: ResponseCode, kept: UInt32
    ) throws {
        let answer = try client.check(AnswerMessage("n.test.", .a, code: code, answers, authority: authority))
        #expect(answer.ttl == kept)
    }

    @Test("A minimum TTL lengthens only what may be cached")
    func leastTTL() throws {
        var ttls = UpstreamAnswer.TTLs()
        ttls.least = 60
        #expect(try client.check(AnswerMessage("n.test.", .a, [.a("n.test.", 5, 1)]), ttls: ttls).ttl == 60)
        #expect(try client.check(AnswerMessage("n.test.", .a, code: .nxDomain), ttls: ttls).ttl == 0)
    }

    @Test("An RRset with different TTLs gets the lowest (RFC 2181 5.2)")
    func unequalTTLs() throws {
        let answer = try secure.check(
            AnswerMessage(
                "a.test.", .a,
                [
                    .cname("a.test.", 900, "n.test."), .a("n.test.", 600, 1), .a("n.test.", 300, 2),
                    .rrsig("n.test.", 500, covers: .a),
                ]))
        #expect(
            secure.read(answer, "a.test.", .a).answers == [
                "a.test. 900 CNAME n.test.", "n.test. 300 A 192.0.2.1", "n.test. 300 A 192.0.2.2",
                "n.test. 300 RRSIG A",
            ])
    }

    @Test("Duplicate records are merged (RFC 2181 5)")
    func duplicates() throws {
        let answer = try client.check(
            AnswerMessage("n.test.", .a, [.a("n.test.", 60, 1), .a("N.TEST.", 60, 1), .a("n.test.", 60, 2)]))
        #expect(client.read(answer, "n.test.", .a).answers == ["n.test. 60 A 192.0.2.1", "n.test. 60 A 192.0.2.2"])
    }

    @Test(
        "A response that does not answer the question is rejected",
        arguments: [
            (AnswerMessage("n.test.", .a, flags: 0x0180), UpstreamAnswer.Rejection.notAResponse),
            (AnswerMessage("n.test.", .a, flags: 0xA180), .notAResponse),
            (AnswerMessage("m.test.", .a), .otherQuestion),
            (AnswerMessage("n.test.", .aaaa), .otherQuestion),
            (AnswerMessage("n.test.", .a, [.init(owner: "n.test.", ttl: 1, type: .a, rdata: [1, 2, 3])]), .malformed),
            (AnswerMessage("n.test.", .a, [.init(owner: "n.test.", ttl: 1, type: .opt, rdata: [])]), .malformed),
        ])
    func rejected(message: AnswerMessage, reason: UpstreamAnswer.Rejection) {
        #expect(throws: reason) { try client.check(message.wire, name: "n.test.", type: .a) }
    }

    @Test("A truncated response is never cached (RFC 2181 9)")
    func truncated() throws {
        let answer = try client.check(AnswerMessage("n.test.", .a, flags: 0x8380, [.a("n.test.", 300, 1)]))
        #expect(answer.ttl == 0)
    }

    @Test(
        "Upstream's errors become SERVFAIL with a reason",
        arguments: [
            ResponseCode.refused, .formatError, .notImplemented, .notAuth, .serverFailure,
            ResponseCode(rawValue: 15),
        ])
    func troubles(code: ResponseCode) throws {
        let read = client.read(try client.check(AnswerMessage("n.test.", .a, code: code)), "n.test.", .a)
        #expect(read.decision.responseCode == .serverFailure)
        #expect(read.outcome == .answered)
        #expect(code == .serverFailure || read.decision.extendedError != nil)
    }

    @Test("An extended error of upstream is passed on")
    func extendedError() throws {
        let read = client.read(
            try client.check(AnswerMessage("n.test.", .a, code: .serverFailure, extendedError: 9)), "n.test.", .a)
        #expect(read.decision.extendedError == ExtendedError(rawValue: 9))
    }

    @Test(
        "Its text is made printable, since it goes into logs and onto terminals",
        arguments: [
            ("", "as upstream said"), ("blocked by rule 7", "blocked by rule 7"), ("ended\0\0", "ended"),
            ("\0", "as upstream said"), ("f\u{FC}r \u{1B}[31m\u{202E}\n", "f?r ?[31m??"),
            (String(repeating: "\u{1F600}", count: 400), String(repeating: "?", count: 120)),
            (String(repeating: "x", count: 400), String(repeating: "x", count: 120)),
        ])
    func extendedText(_ text: String, _ expected: String) throws {
        var message = AnswerMessage("n.test.", .a, code: .serverFailure, extendedError: 15)
        message.extendedText = Array(text.utf8)
        let answer = try client.check(message)
        #expect(client.read(answer, "n.test.", .a).decision.text == expected)
        let cache = AnswerCache()
        cache.insert(answer, now: 0)
        #expect(client.read(cache, "n.test.", .a, at: 1).decision.text == expected)
        message.extendedText = [0xFF, 0xC3]
        #expect(client.read(try client.check(message), "n.test.", .a).decision.text == "??")
    }

    @Test("AD is passed on only from a trusted upstream, and only if the whole answer is upstream's")
    func authenticData() throws {
        let message = AnswerMessage(
            "n.test.", .a, flags: 0x81A0, [.cname("n.test.", 60, "here.test."), .a("here.test.", 60, 1)])
        #expect(!client.read(try client.check(message), "n.test.", .a).decision.authenticData)
        var trusting = AnswerClient()
        trusting.trustAuthenticData = true
        #expect(trusting.read(try trusting.check(message), "n.test.", .a).decision.authenticData)
        trusting.local = ["here.test."]
        #expect(!trusting.read(try trusting.check(message), "n.test.", .a).decision.authenticData)
        trusting.local = []
        trusting.alias = "ours.test."
        #expect(!trusting.read(try trusting.check(message), "n.test.", .a).decision.authenticData)
    }

    @Test("A chain stops at a name of local data")
    func chase() throws {
        var client = AnswerClient()
        client.local = ["b.test."]
        let answer = try client.check(
            AnswerMessage(
                "a.test.", .a, code: .nxDomain, [.cname("a.test.", 90, "b.test."), .cname("b.test.", 60, "c.test.")],
                authority: [.soa("test.", 60, minimum: 60)]))
        let read = client.read(answer, "a.test.", .a)
        #expect(read.data == ["a.test. CNAME b.test."])
        #expect(read.authority == [])
        #expect(read.decision.responseCode == .noError)
        guard case .chase = read.outcome else {
            Issue.record("the target is ours, so it is to be looked up")
            return
        }
    }

    @Test("After a local alias the answer is written record by record")
    func behindAlias() throws {
        var client = AnswerClient()
        client.alias = "ours.test."
        let answer = try client.check(
            AnswerMessage("n.test.", .a, code: .nxDomain, [], authority: [.soa("test.", 60, minimum: 60)]))
        let read = client.read(answer, "n.test.", .a)
        #expect(read.data == ["ours.test. CNAME n.test."])
        #expect(read.authority == ["test. 60 SOA ..."])
        #expect(read.decision.responseCode == .nxDomain)
    }

    @Test("An answer that does not fit is truncated")
    func doesNotFit() throws {
        var client = AnswerClient()
        client.limit = 512
        let many = (0..<100).map { AnswerMessage.Record.a("n.test.", 60, UInt8($0)) }
        let answer = try client.check(AnswerMessage("n.test.", .a, many))
        #expect(client.read(answer, "n.test.", .a).truncated)
        client.alias = "ours.test."
        #expect(client.read(answer, "n.test.", .a).truncated)
    }
}
