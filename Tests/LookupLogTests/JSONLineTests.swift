import DNSWire
import Foundation
import Lookup
import LookupLog
import Platform
import TestSupport
import Testing

@Suite("A lookup as a line of JSON")
struct JSONLineTests {
    @Test("The line matches the documented format byte for byte")
    func contract() throws {
        let line = try #require(try logged([SampleLookup()], as: .json).first)
        #expect(
            line == #"{"time":"2026-11-23T17:00:00.123456Z","id":1,"client":"127.0.0.1:54321","transport":"udp","#
                + #""name":"acme.org.","type":"A","class":"IN","flags":["rd","ad"],"source":"hosts","#
                + #""rule":"/etc/hosts:12","rcode":"NOERROR","answers":["acme.org. 0 IN A 127.0.0.1"],"#
                + #""upstream":null,"duration_us":11,"ede":null}"#)
    }

    @Test("An answer from upstream names the server, its transport and its round trip")
    func upstream() throws {
        var lookup = SampleLookup()
        lookup.decision = SampleLookup.decision(.upstream) {
            $0.upstream = 1
            $0.upstreamMicroseconds = 11_200
        }
        var overTCP = lookup
        overTCP.decision.upstreamTransport = .tcp
        overTCP.decision.upstreamSetup = UpstreamSetup(microseconds: 14_320)
        var again = overTCP
        again.decision.upstreamSetup = .reused
        let lines = try logged([lookup, overTCP, again], as: .json, upstreams: ["192.0.2.1:53", "[2001:db8::53]:53"])
        #expect(lines[0].contains(#""source":"upstream","rule":null"#))
        #expect(lines[0].contains(#""upstream":"[2001:db8::53]:53/udp""#))
        #expect(lines[0].contains(#""upstream_us":11200"#))
        #expect(lines[1].contains(#""upstream":"[2001:db8::53]:53/tcp""#))
        #expect(!lines[0].contains("connection"))
        // What a machine that slept meanwhile measures.
        #expect(UpstreamSetup(microseconds: .max).handshakeMicroseconds == 6_553_300)
        #expect(lines[1].contains(#""upstream_connection":"new","handshake_us":14300"#))
        #expect(lines[2].contains(#""upstream_connection":"reused""#) && !lines[2].contains("handshake"))
    }

    @Test("A chain lists every hop with source and rule")
    func chain() throws {
        var lookup = SampleLookup()
        lookup.answers = [
            .init(type: .cname, rdata: Name("edge.example.")!.wire), .init(owner: Name("edge.example.")!),
        ]
        lookup.decision = SampleLookup.decision(.hosts, Place(path: "/etc/hosts", line: 3)) {
            _ = $0.appendHop(.init(nameOffset: 12, source: .zone, place: Place(path: "acme.zone", line: 9)))
            // The target follows the question, the owner's pointer and the fixed part.
            _ = $0.appendHop(.init(nameOffset: 38, source: .hosts, place: Place(path: "/etc/hosts", line: 3)))
        }
        let line = try logged([lookup], as: .json)[0]
        #expect(
            line.contains(
                #""chain":[{"name":"acme.org.","source":"zone","rule":"acme.zone:9"},"#
                    + #"{"name":"edge.example.","source":"hosts","rule":"/etc/hosts:3"}]"#))
        #expect(line.contains(#""answers":["acme.org. 0 IN CNAME edge.example.","edge.example. 0 IN A 127.0.0.1"]"#))
    }

    @Test("Optional members are present only if they apply")
    func marks() throws {
        var lookup = SampleLookup()
        lookup.answers = []
        lookup.type = .https
        lookup.truncated = true
        lookup.dnssecOK = true
        lookup.flags = [.recursionDesired, .checkingDisabled]
        lookup.decision.masked = true
        lookup.decision.explain(.prohibited, "not \"served\"")
        let line = try logged([lookup], as: .json)[0]
        #expect(line.contains(#""masked":true,"truncated":true}"#))
        lookup.decision.masked = false
        lookup.decision.refuse(SocketAddress(ip: "fe80::1", port: 0), .blocked, "private")
        let refused = try logged([lookup], as: .json)[0]
        #expect(refused.contains(#""private":"refused","truncated":true}"#))
        #expect(refused.contains(#""ede":{"code":15,"text":"private: fe80::1"}"#))
        #expect(line.contains(#""flags":["rd","cd","do"]"#))
        #expect(line.contains(#""ede":{"code":18,"text":"not \"served\""}"#))
        #expect(line.contains(#""answers":[]"#))
    }

    @Test("Unanswered messages, and those without a readable question, have lines too")
    func malformed() throws {
        let folder = try TemporaryFolder()
        let log = try LookupLog(sinks: [LookupSink(.json, to: .file(path: folder.file("log")))])
        let ring = log.makeRing()
        let client = try #require(SocketAddress(ip: "::1", port: 5353))
        ring.appendDropped(time: 0, client: client, transport: .tcp)
        var decision = Decision()
        decision.fail(.formatError)
        ring.append(
            time: 0, client: client, transport: .dot, query: Query(), decision: decision,
            response: UnsafeRawBufferPointer(start: nil, count: 0), answers: 0, durationMicroseconds: 1)
        log.start()
        log.stop()
        let lines = try lines(ofFile: folder.file("log"))
        #expect(
            lines[0] == #"{"time":"1970-01-01T00:00:00.000000Z","id":1,"client":"[::1]:5353","transport":"tcp","#
                + #""name":"","type":"","class":"","flags":[],"source":"none","rule":null,"rcode":null,"#
                + #""answers":[],"upstream":null,"duration_us":0,"ede":null}"#)
        #expect(lines[1].contains(#""transport":"dot","name":"","type":"","class":"","flags":[],"source":"none""#))
        #expect(lines[1].contains(#""rcode":"FORMERR""#))
    }

    static let addresses: [(String, String)] = [
        ("::1", "[::1]:53"), ("::", "[::]:53"), ("2001:db8::8:800:200c:417a", "[2001:db8::8:800:200c:417a]:53"),
        ("2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:53"), ("2001:0:0:1:0:0:0:1", "[2001:0:0:1::1]:53"),
        ("2001:db8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:53"), ("1::", "[1::]:53"), ("ff02::1:2", "[ff02::1:2]:53"),
        ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:53"), ("255.255.255.255", "255.255.255.255:53"),
        ("0.0.0.0", "0.0.0.0:53"), ("10.200.3.4", "10.200.3.4:53"), ("0:1:2:3:4:5:6:7", "[0:1:2:3:4:5:6:7]:53"),
        ("1:2:3:4:5:6::", "[1:2:3:4:5:6::]:53"), ("::2:3:4:5:6:7", "[::2:3:4:5:6:7]:53"),
        ("abcd:ef01:2345:6789:abcd:ef01:2345:6789", "[abcd:ef01:2345:6789:abcd:ef01:2345:6789]:53"),
    ]

    @Test("Addresses are written as RFC 5952 prescribes", arguments: addresses)
    func address(_ ip: String, _ expected: String) throws {
        var lookup = SampleLookup()
        lookup.client = try #require(SocketAddress(ip: ip, port: 53))
        if lookup.client.isIPv6 {
            lookup.type = .aaaa
            let bytes = [lookup.client.high, lookup.client.low].flatMap { word in
                (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
            }
            lookup.answers = [.init(type: .aaaa, rdata: bytes)]
        }
        let line = try logged([lookup], as: .json)[0]
        #expect(line.contains("\"client\":\"\(expected)\""))
        if lookup.client.isIPv6 { #expect(line.contains("IN AAAA \(lookup.client.ip)\"")) }
    }

    static let data: [(RecordType, [UInt8], String)] = [
        (.mx, [0, 10] + Name("mx.acme.org.")!.wire, "MX 10 mx.acme.org."),
        (.txt, [2, 0x68, 0x69, 3, 0x61, 0x22, 0x62], #"TXT "hi" "a\"b""#),
        (.https, [0, 1, 0, 0, 1, 0, 3, 2, 0x68, 0x32], "HTTPS 1 . alpn=h2"),
        (RecordType(rawValue: 65_534), [1, 2, 3], "TYPE65534 \\# 3 010203"),
        (.a, [1, 2, 3], "A \\# 3 010203"),
        (.ptr, Name("host.acme.org.")!.wire, "PTR host.acme.org."),
        (
            .soa, Name("ns.acme.org.")!.wire + Name("h.acme.org.")!.wire + [UInt8](repeating: 0, count: 20),
            "SOA ns.acme.org. h.acme.org. 0 0 0 0 0"
        ),
    ]

    @Test("Records of all types are written as in a zone file", arguments: data)
    func records(_ type: RecordType, _ rdata: [UInt8], _ expected: String) throws {
        var lookup = SampleLookup()
        lookup.answers = [.init(type: type, ttl: 300, rdata: rdata)]
        let answers = try #require(try parsed(logged([lookup], as: .json)[0])["answers"] as? [String])
        #expect(answers == ["acme.org. 300 IN \(expected)"])
    }

    @Test("Answers beyond what a record holds are counted")
    func manyAnswers() throws {
        var lookup = SampleLookup()
        lookup.answers = (0..<1000).map { .init(rdata: [10, 0, UInt8($0 >> 8), UInt8($0 & 0xFF)]) }
        let line = try parsed(logged([lookup], as: .json)[0])
        let shown = try #require(line["answers"] as? [String])
        #expect(shown.count > 200)
        #expect(shown.count + (line["answers_left"] as? Int ?? 0) == 1000)
        #expect(
            shown.enumerated().allSatisfy {
                $0.element == "acme.org. 0 IN A 10.0.\($0.offset >> 8).\($0.offset & 0xFF)"
            })
    }
}
