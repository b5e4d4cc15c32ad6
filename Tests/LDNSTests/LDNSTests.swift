import DNSWire
import LDNS
import Testing

@Suite("Records as text")
struct PresentationTests {
    @Test(
        "prints what dig prints",
        arguments: [
            (RecordType.a, [192, 0, 2, 1], "192.0.2.1"),
            (.aaaa, [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1"),
            (.mx, [0, 10, 4, 109, 97, 105, 108, 0], "10 mail."),
            (.txt, [3, 97, 34, 98, 0], #""a\"b" """#),
            (.txt, [2, 27, 10], #""\027\010""#),
            (.https, [0, 1, 0, 0, 1, 0, 3, 2, 104, 50], "1 . alpn=h2"),
            (.cname, [1, 97, 0], "a."),
            (RecordType(rawValue: 65_280), [1, 2, 3], ##"\# 3 010203"##),
            (RecordType(rawValue: 65_280), [], ##"\# 0"##),
        ] as [(RecordType, [UInt8], String)])
    func text(type: RecordType, rdata: [UInt8], expected: String) {
        #expect(Presentation.text(rdata: rdata, type: type) == expected)
    }

    @Test(
        "shows malformed RDATA as bytes",
        arguments: [
            (RecordType.a, [1, 2, 3]), (.a, []), (.mx, [0]), (.cname, [0xC0, 0]), (.cname, [5, 97]), (.txt, [9, 97]),
            (.soa, [0, 0, 1]), (.https, [0]), (.mx, [0, 10, 0xC0, 0x0C]),
            // Bitmaps that are too long, truncated, and empty.
            (.nsec, [0, 0, 1, 2, 3]), (.nsec, [0, 0, 9, 2]), (.nsec, [0, 0, 0]),
            (.nsec3, [1, 0, 0, 0, 0, 1, 7, 0, 1, 2, 3]),
        ] as [(RecordType, [UInt8])])
    func misfit(type: RecordType, rdata: [UInt8]) {
        #expect(Presentation.text(rdata: rdata, type: type).hasPrefix("\\# \(rdata.count)"))
    }

    @Test(
        "shows RDATA with a quote in a name as bytes, since libldns does not escape it",
        arguments: [
            (RecordType.mx, [0, 10]), (.nsec, []), (RecordType(rawValue: 17), [0]),
            (.rrsig, [0, 1, 8, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1]),
            (RecordType(rawValue: 24), [0, 1, 8, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1]),
            (RecordType(rawValue: 35), [0, 1, 0, 1, 0, 0, 0]),
        ] as [(RecordType, [UInt8])])
    func quotedName(type: RecordType, front: [UInt8]) {
        let back: [UInt8] = type == .nsec ? [0, 1, 0x40] : type == .rrsig || type.rawValue == 24 ? [1, 2, 3] : []
        let plain = Presentation.text(rdata: front + [1, UInt8(ascii: "a"), 0] + back, type: type)
        #expect(!plain.hasPrefix("\\#"))
        let quoted = Presentation.text(rdata: front + [1, UInt8(ascii: "\""), 0] + back, type: type)
        #expect(quoted.hasPrefix("\\# "))
    }

    @Test("shows an NSAP-PTR as bytes: libldns takes its name for a character string", arguments: [[0], [1, 97, 0]])
    func nsapPointer(rdata: [UInt8]) {
        let type = RecordType(rawValue: 23)
        #expect(Presentation.text(rdata: rdata, type: type).hasPrefix("\\# \(rdata.count) "))
    }

    @Test("prints any bytes of any type as printable ASCII, without trapping")
    func anyBytes() {
        var random = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &random)
        var state = seed
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        for _ in 0..<20_000 {
            let type = RecordType(rawValue: UInt16(next() % 4 == 0 ? next() % 65_536 : next() % 270))
            let rdata = (0..<(next() % 40)).map { _ in UInt8(next() % 3 == 0 ? next() % 256 : next() % 6) }
            let text = Presentation.text(rdata: rdata, type: type)
            guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                Issue.record("seed \(seed): \(type) \(rdata) gives \(text)")
                return
            }
        }
    }

    @Test("prints a whole record on one line")
    func record() {
        let owner = Name("acme.org.") ?? .root
        #expect(
            Presentation.text(owner: owner, ttl: 0, type: .a, rdata: [127, 0, 0, 1]) == "acme.org. 0 IN A 127.0.0.1")
    }
}

@Suite("Messages")
struct MessageTests {
    @Test("builds a query that parses to what was asked")
    func query() throws {
        var options = QueryTemplate.Options()
        options.wantsSignatures = true
        let wire = try QueryTemplate.wire(name: #require(Name("acme.org.")), type: .aaaa, id: 0xABCD, options)
        #expect(wire[..<4] == [0xAB, 0xCD, 0x01, 0x00])
        #expect(Array(wire[12...]).starts(with: [4, 97, 99, 109, 101, 3, 111, 114, 103, 0, 0, 28, 0, 1]))
        // OPT: the root, type 41, 1232 bytes, DO.
        #expect(wire.suffix(11) == [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0])
        let id = try Message(wire: wire).id
        #expect(id == 0xABCD)
    }

    @Test("builds a query without EDNS and recursion if requested")
    func plain() throws {
        var options = QueryTemplate.Options()
        options.isRecursionDesired = false
        options.payloadSize = nil
        let wire = try QueryTemplate.wire(name: .root, type: .ns, id: 1, options)
        #expect(wire == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1])
    }

    @Test("parses the records of an answer, with uncompressed names")
    func answer() throws {
        let wire: [UInt8] = [
            0, 7, 0x84, 0x03, 0, 1, 0, 1, 0, 0, 0, 0, 1, 97, 0, 0, 15, 0, 1,
            0xC0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 4, 0, 5, 0xC0, 12,
        ]
        let message = try Message(wire: wire)
        let (code, isAuthoritative) = (message.responseCode, message.isAuthoritative)
        #expect(code == .nxDomain)
        #expect(isAuthoritative)
        let records = message.records(.answer)
        #expect(records.map(\.rdata) == [[0, 5, 1, 97, 0]])
        #expect(records.map(\.ttl) == [60])
        let authority = message.records(.authority)
        #expect(authority.isEmpty)
    }

    @Test("refuses what is not a message", arguments: [[], [0, 1, 2], [UInt8](repeating: 255, count: 12)])
    func broken(wire: [UInt8]) {
        #expect(throws: LibraryError.self) { _ = try Message(wire: wire).id }
    }
}

@Suite("libldns's verdict on a message")
struct PacketCheckTests {
    /// A response about a. with one record of `type`, followed by another.
    private func accepts(_ type: UInt8, _ rdata: [UInt8]) -> Bool {
        let record = [0xC0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, UInt8(rdata.count)] + rdata
        let second: [UInt8] = [0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 6, 5, 98, 98, 98, 98, 0]
        let wire = [0, 7, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1, 1, 97, 0, 0, type, 0, 1] + record + second + [0, 0, 41]
        return (wire + [4, 208, 0, 0, 0, 0, 0, 0]).withUnsafeBytes { PacketCheck.accepts($0) }
    }

    @Test(
        "Names that some senders compress may be compressed, and unknown types are bytes",
        arguments: [
            (15, [0, 10, 0xC0, 12]), (33, [0, 0, 0, 0, 0, 53, 1, 98, 0xC0, 12]), (65, [0, 1, 1, 98, 0]),
            (65, [0, 1, 0, 0, 1, 0, 3, 2, 104, 50]), (16, [1, 97]), (47, [1, 98, 0, 0, 1, 64]), (200, [0xC0, 12]),
        ] as [(UInt8, [UInt8])])
    func accepted(type: UInt8, rdata: [UInt8]) {
        #expect(accepts(type, rdata))
    }

    @Test(
        "A name that must not be compressed, or that extends past its record, is refused",
        arguments: [
            (65, [0, 1, 0xC0, 12]), (64, [0, 1, 1, 98, 0xC0, 12]), (47, [0xC0, 12, 0, 1, 64]),
            (65, [0, 1, 2, 98]), (65, [0, 1, 5, 98, 98]), (16, [9, 97]),
        ] as [(UInt8, [UInt8])])
    func refused(type: UInt8, rdata: [UInt8]) {
        #expect(!accepts(type, rdata))
    }
}
