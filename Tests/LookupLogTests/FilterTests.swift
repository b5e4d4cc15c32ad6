import DNSWire
import Foundation
import Lookup
import LookupLog
import Platform
import TestSupport
import Testing

@Suite("Which lookups a filter selects")
struct FilterTests {
    private func fields(_ change: (inout LookupFields) -> Void = { _ in }) -> LookupFields {
        var fields = LookupFields(client: SocketAddress(ip: "127.0.0.1", port: 54_321)!)
        fields.time = 1_795_453_200_000_000
        fields.type = .a
        fields.recordClass = .in
        fields.source = .upstream
        fields.answerKind = .noData
        fields.process = ClientProcess(pid: 4711, command: "Firefox")
        set("www.acme.org.", &fields)
        change(&fields)
        return fields
    }

    private func set(_ name: String, _ fields: inout LookupFields) {
        let wire = Name(name)!.wire
        fields.questionLength = wire.count + 4
        fields.message = [UInt8](repeating: 0, count: Header.length) + wire + [0, 1, 0, 1]
        fields.answers = 0
    }

    private func matches(_ words: String, _ fields: LookupFields, now: UInt64 = 1_795_453_260_000_000) throws -> Bool {
        let filter = try LookupFilter(words: words, now: now)
        return StoredLookup(id: 1, number: 1, fields).withRecord(filter.matches)
    }

    static let names: [(String, String, Bool)] = [
        ("name:www.acme.org", "www.acme.org.", true), ("name:WWW.Acme.ORG.", "www.aCMe.org.", true),
        ("name:acme.org", "www.acme.org.", false), ("name:*.acme.org", "www.acme.org.", true),
        ("name:*.acme.org", "a.b.acme.org.", true), ("name:*.acme.org", "acme.org.", false),
        ("name:*.acme.org", "xacme.org.", false), ("name:*.org.", "www.acme.org.", true),
        ("name:*", "www.acme.org.", true), ("name:*", ".", true), ("name:.", ".", true), ("name:.", "org.", false),
        ("name:www.*", "www.acme.org.", true), ("name:w*.org", "www.acme.org.", true),
        ("name:*.acme.*", "www.acme.org.", true), ("name:www*www", "www.acme.org.", false),
        ("acme", "www.acme.org.", true), ("ACME", "www.acme.org.", true), ("acne", "www.acme.org.", false),
        ("ww*.org", "www.acme.org.", true), ("w.ac", "www.acme.org.", true),
        ("name:Bücher.example", "xn--bcher-kva.example.", true), ("name:*.bücher.de", "a.xn--bcher-kva.de.", true),
        (#"name:a\.b.org"#, #"a\.b.org."#, true), (#"name:a.b.org"#, #"a\.b.org."#, false),
        (#"name:*\000*"#, #"a\000b.org."#, true), ("name:acme.org,www.acme.org", "www.acme.org.", true),
        ("name:acme.org name:*.acme.org", "www.acme.org.", true),
    ]

    @Test("Names: exact, below another, or with * anywhere", arguments: names)
    func name(_ words: String, _ name: String, _ expected: Bool) throws {
        #expect(try matches(words, fields { set(name, &$0) }) == expected)
    }

    @Test(
        "A pattern's text parses to the same pattern",
        arguments: ["www.acme.org.", "*.acme.org.", "*..", ".", "*", "*a*", #"a\.b\000."#, #"*.a\.b."#])
    func text(_ text: String) throws {
        let pattern = try NamePattern(text)
        #expect(try NamePattern(pattern.description) == pattern, "\(pattern)")
    }

    @Test("A pattern with many stars does not block the log", .timeLimit(.minutes(1)))
    func stars() throws {
        let name = String(repeating: "aaaaaaaaaa.", count: 20)
        let lookup = fields { set(name, &$0) }
        // Trying all positions of the stars would take longer than a lifetime.
        #expect(try !matches("name:" + String(repeating: "*a", count: 100) + "*b", lookup))
    }

    static let others: [(String, Bool)] = [
        ("type:A", true), ("type:aaaa", false), ("type:AAAA,A", true), ("type:TYPE1", true), ("source:upstream", true),
        ("source:cache", false), ("rcode:NOERROR", true), ("rcode:NODATA", true), ("rcode:nxdomain", false),
        ("rcode:dropped", false), ("client:127.0.0.1", true), ("client:127.0.0.2", false),
        ("client:::ffff:127.0.0.1", true), ("client:4711", true), ("client:471", false), ("client:firefox", true),
        ("client:fire", false), ("client:fire*", true), ("transport:udp", true), ("transport:doh", false),
        ("since:1m", true), ("since:59s", false), ("since:999999999s", true), ("since:99999w", true),
        ("until:1m", false), ("until:30s", true), ("since:1h30m", true),
        ("since:2026-11-23T17:00:00Z", true), ("since:2026-11-23T17:00:00.000001Z", false),
        ("until:2026-11-23T17:00:01Z", true), ("type:A source:cache", false),
        ("acme type:A source:upstream rcode:NODATA client:firefox transport:udp since:1m until:1s", true), ("", true),
    ]

    @Test("All other conditions", arguments: others)
    func condition(_ words: String, _ expected: Bool) throws { #expect(try matches(words, fields()) == expected) }

    @Test("Words for kinds of results select exactly those", arguments: AnswerKind.allCases)
    func kind(_ kind: AnswerKind) throws {
        let lookup = fields { $0.answerKind = kind }
        for other in AnswerKind.allCases {
            guard let word = other.word else { continue }
            for text in ["\(word)", "\(word)".uppercased(), "\(word)".lowercased()] {
                #expect(try matches("rcode:\(text)", lookup) == (kind == other), "\(text)")
            }
        }
        #expect(try matches("rcode:NOERROR", lookup) == (kind != .dropped))
        let refused = fields {
            $0.answerKind = .answer
            $0.responseCode = .refused
        }
        #expect(try !matches("rcode:NODATA", refused) && matches("rcode:REFUSED,NODATA", refused))
    }

    @Test("rcode:private selects private addresses of public names, passed on or refused")
    func privateAddresses() throws {
        #expect(try !matches("rcode:private", fields()))
        for answer in [Decision.PrivateAnswer.passed, .refused] {
            #expect(try matches("rcode:PRIVATE", fields { $0.privateAnswer = answer }))
        }
    }

    private static func noTime(_ text: String) -> String {
        "'\(text)' is no time; give how long ago (30s, 10m, 2h, 1d) or when (2026-11-23T17:00, with Z for UTC)"
    }

    static let problems: [(String, String)] = [
        ("type:HTTPSS", "'HTTPSS' is no record type; did you mean HTTPS?"),
        ("type:QQQQQQ", "'QQQQQQ' is no record type; there are A, AAAA, HTTPS, TYPE65 and so on"),
        ("tpye:A", "'tpye' is no kind of filter; did you mean type:?"),
        (
            "colour:A",
            "'colour' is no kind of filter; there are name: type: source: rcode: client: transport: view: since: until:"
        ),
        ("source:chache", "'chache' is no source; did you mean cache?"),
        (
            "source:dunno",
            "'dunno' is no source; there are rule, hosts, zone, special, cache, stale, upstream, none"
        ),
        ("rcode:NXDOMIAN", "'NXDOMIAN' is no response code; did you mean NXDOMAIN?"),
        ("transport:quic", "'quic' is no transport; there are udp, tcp, dot, doh"),
        ("type:", "type: has nothing behind it; give a value, as in type:HTTPS"),
        (
            "since:yesterday",
            "'yesterday' is no time; give how long ago (30s, 10m, 2h, 1d) or when (2026-11-23T17:00, with Z for UTC)"
        ),
        (
            "since:2026-02-31",
            "'2026-02-31' is no time; give how long ago (30s, 10m, 2h, 1d) or when (2026-11-23T17:00, with Z for UTC)"
        ),
        ("name:a..b", "'a..b' is no name: the name has an empty label (two dots in a row, or one in front)"),
        ("since:1000000000w", noTime("1000000000w")), ("until:999999999d", noTime("999999999d")),
        ("type:A" + String(repeating: ",A", count: 64), "the filter has more than 64 conditions; leave some out"),
        (String(repeating: "x ", count: 65), "the filter has more than 64 conditions; leave some out"),
        (
            String(repeating: "x", count: 2000),
            "'\(String(repeating: "x", count: 32))' and so on is longer than any name; give a shorter one"
        ),
        ("type:A\u{1B}[31m", #"'A\027[31m' is no record type; there are A, AAAA, HTTPS, TYPE65 and so on"#),
    ]

    @Test("An invalid filter is explained in a sentence, with a fix", arguments: problems)
    func problem(_ words: String, _ expected: String) {
        #expect {
            _ = try LookupFilter(words: words)
        } throws: { error in
            "\(error)" == expected
        }
    }
}
