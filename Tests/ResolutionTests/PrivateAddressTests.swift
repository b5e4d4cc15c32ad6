import DNSWire
import Platform
import Testing

@testable import Lookup
@testable import Upstream

@Suite("Private addresses in upstream's answers")
struct PrivateAddressTests {
    @Test(
        "Addresses of this machine, its link and its site are private",
        arguments: [
            "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1",
            "127.255.255.255", "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.0",
            "192.0.0.7", "192.168.0.0", "192.168.255.255", "::", "::1", "::10.0.0.1", "::ffff:127.0.0.1",
            "::ffff:192.168.1.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "64:ff9b:1:7::192.168.1.1",
            "::ffff:0:10.0.0.1", "64:ff9b::7f00:1", "fc00::", "fd12:3456::1", "fdff:ffff::1",
            "fe80::1", "febf::1", "fec0::1", "feff::1",
        ])
    func isPrivate(_ text: String) throws {
        #expect(PrivateAddress.contains(try #require(SocketAddress(ip: text, port: 0))))
    }

    @Test(
        "Their neighbours, and addresses that nothing near listens on, are not",
        arguments: [
            "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
            "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.0.8", "192.0.0.170",
            "192.167.255.255", "192.169.0.0", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.251",
            "255.255.255.255", "::8.8.8.8", "::ffff:8.8.8.8", "::fffe:7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:0:1::a00:1",
            "64:ff9b:1::8.8.8.8", "::ffff:0:8.8.8.8", "fbff::1", "fe00::1", "fe7f::1", "ff02::1", "2001:db8::1",
            "2002:a00:1::1",
            "1::7f00:1",
        ])
    func isNotPrivate(_ text: String) throws {
        #expect(!PrivateAddress.contains(try #require(SocketAddress(ip: text, port: 0))))
    }

    private static func record(_ owner: String, _ type: RecordType, _ rdata: [UInt8]) -> AnswerMessage.Record {
        AnswerMessage.Record(owner: owner, ttl: 60, type: type, rdata: rdata)
    }

    private static let inside: [UInt8] = [10, 0, 0, 1]

    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var type: RecordType
        var records: [AnswerMessage.Record]
        var expected: Bool
        var additional: [AnswerMessage.Record] = []

        init(
            _ description: String, _ type: RecordType, _ records: [AnswerMessage.Record], _ expected: Bool,
            additional: [AnswerMessage.Record] = []
        ) {
            testDescription = description
            self.type = type
            self.records = records
            self.expected = expected
            self.additional = additional
        }

        static let all: [Case] = [
            .init("A", .a, [record("n.test.", .a, inside)], true),
            .init("the second of two", .a, [.a("n.test.", 60, 1), record("n.test.", .a, inside)], true),
            .init("a public A", .a, [.a("n.test.", 60, 1)], false),
            .init("AAAA", .aaaa, [record("n.test.", .aaaa, [UInt8](repeating: 0, count: 15) + [1])], true),
            .init(
                "behind an alias", .a, [.cname("n.test.", 60, "m.test."), record("m.test.", .a, inside)], true),
            .init(
                "behind a DNAME", .a,
                [
                    .dname("test.", 60, "example."), .cname("n.test.", 60, "n.example."),
                    record("n.example.", .a, inside),
                ], true),
            .init(
                "of another name, which is dropped", .a, [.a("n.test.", 60, 1), record("m.test.", .a, inside)], false),
            .init(
                "in the additional section, which is dropped", .mx,
                [record("n.test.", .mx, [0, 10] + wireName("m.test."))], false,
                additional: [record("m.test.", .a, inside)]),
            .init(
                "in an answer to ANY", .any,
                [.ns("n.test.", 60, "m.test."), record("n.test.", .a, inside)], true),
            .init("the bytes of one in TXT", .txt, [record("n.test.", .txt, [4] + inside)], false),
            .init("ipv4hint", .https, [record("n.test.", .https, [0, 1, 0, 0, 4, 0, 4] + inside)], true),
            .init(
                "ipv4hint after other parameters and a target", .https,
                [
                    record(
                        "n.test.", .https,
                        [0, 1] + wireName("m.test.") + [0, 1, 0, 3, 2, 104, 50, 0, 4, 0, 8, 192, 0, 2, 1] + inside)
                ], true),
            .init(
                "ipv6hint", .svcb,
                [record("n.test.", .svcb, [0, 1, 0, 0, 6, 0, 16, 0xFD] + [UInt8](repeating: 0, count: 15))], true),
            .init("no hint", .https, [record("n.test.", .https, [0, 1, 0, 0, 1, 0, 3, 2, 104, 50])], false),
            .init("an alias form", .https, [record("n.test.", .https, [0, 0] + wireName("m.test."))], false),
        ]
    }

    @Test("are noticed when the answer is checked, and the cache remembers them", arguments: Case.all)
    func noticed(_ test: Case) throws {
        let client = AnswerClient()
        let answer = try client.check(
            AnswerMessage("n.test.", test.type, test.records, additional: test.additional))
        #expect(answer.hasPrivateAddress == test.expected)
        let expected: Decision.PrivateAnswer = test.expected ? .passed : .none
        #expect(client.read(answer, "n.test.", test.type).decision.privateAnswer == expected)
        let cache = AnswerCache()
        cache.insert(answer, now: microseconds(1))
        #expect(client.read(cache, "n.test.", test.type, at: 2).decision.privateAnswer == expected)
        #expect(cache.peek(answer.key, now: microseconds(2))?.answer.hasPrivateAddress == test.expected)
    }

    @Test("RDATA that ends in the middle has no address", arguments: 0..<22)
    func cut(_ count: Int) {
        let whole: [UInt8] = [0, 1] + wireName("m.test.") + [0, 4, 0, 4, 10, 0, 0, 1]
        let found = whole.prefix(count).withUnsafeBytes { PrivateAddress.first(in: $0, .https) }
        #expect((found != nil) == (count >= whole.count))
    }

    @Test(
        "Which names are public",
        arguments: [
            ("www.example.net.", true), ("example.net.", true), ("fritz.box.", true), ("router.", false), (".", false),
            ("a.home.arpa.", false), ("nas.lan.", false), ("a.b.internal.", false), ("x.localhost.", false),
            ("lan.example.net.", true), ("xlan.", false), ("a.xlan.", true), ("exempt.example.", false),
            ("a.exempt.example.", false), ("notexempt.example.", true),
        ])
    func names(_ text: String, _ expected: Bool) throws {
        let policy = PrivateAddressPolicy(.warn, exempt: [try #require(Name("Exempt.example."))])
        var name = LookupName()
        name.assign(try #require(Name(text)))
        #expect(policy.isPublic(name) == expected)
    }
}
