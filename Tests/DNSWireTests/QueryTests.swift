import DNSWire
import TestSupport
import Testing

/// A message parsed as a query.
private struct Reading {
    var query = Query()
    var verdict = Query.Verdict.drop
    var name = ""

    init(_ message: [UInt8]) {
        var lookup = LookupName()
        verdict = message.withUnsafeBytes { query.parse($0, name: &lookup) }
        name = lookup.name.description
    }

    init(_ packet: Packet) { self.init(packet.wire) }
}

@Suite("Parsing a query (RFC 1035 4.1)")
struct QueryTests {
    @Test("finds ID, flags, name, type and class")
    func fields() {
        var packet = Packet("WWW.acme.org.", .aaaa, flags: 0x0130)
        packet.id = 0xBEEF
        let reading = Reading(packet)
        #expect(reading.verdict == .resolve)
        #expect(reading.name == "www.acme.org.")
        #expect(reading.query.id == 0xBEEF)
        #expect(reading.query.type == .aaaa && reading.query.recordClass == .in)
        #expect(reading.query.questionLength == 18)
        #expect(reading.query.recursionDesired && reading.query.checkingDisabled && reading.query.wantsAuthenticData)
        #expect(!reading.query.hasEDNS && reading.query.payloadSize == 512)
    }

    @Test("nothing of the previous query remains")
    func reuse() {
        var query = Query()
        var name = LookupName()
        let first = Packet(
            "a.b.c.", .mx, flags: 0x0110,
            additional: [Packet.opt(flags: 0x8000, [(10, [UInt8](repeating: 1, count: 8))])])
        #expect(first.wire.withUnsafeBytes { query.parse($0, name: &name) } == .resolve)
        #expect(query.cookieLength == 8 && query.dnssecOK)
        #expect(Packet("d.").wire.withUnsafeBytes { query.parse($0, name: &name) } == .resolve)
        #expect(query.cookieLength == 0 && !query.dnssecOK && !query.hasEDNS && !query.recursionDesired)
        let length = name.length
        #expect(length == 3)
    }

    @Test("only messages without a whole header are dropped", arguments: 0..<20)
    func dropped(length: Int) {
        #expect((Reading([UInt8](repeating: 0, count: length)).verdict == .drop) == (length < 12))
    }

    @Test(
        "QR=1 is dropped, whatever else is set",
        arguments: Array(stride(from: 0x8000 as UInt16, through: 0xFFFF, by: 0x0733)))
    func responses(flags: UInt16) {
        #expect(Reading(Packet("acme.org.", flags: flags)).verdict == .drop)
    }

    @Test("every opcode but QUERY is NOTIMP", arguments: 1..<16)
    func opcodes(opcode: Int) {
        let reading = Reading(Packet("acme.org.", flags: UInt16(opcode) << 11, additional: [Packet.opt()]))
        #expect(reading.verdict == .fail(.notImplemented))
        // Its question is not parsed, but its EDNS is noticed (RFC 6891 6.1.1).
        #expect(reading.query.questionLength == 0 && reading.query.hasEDNS)
    }

    @Test("counts that don't match the message are FORMERR")
    func counts() {
        let good: [UInt16] = [1, 0, 0, 1]
        for index in 0..<4 {
            for wrong in [0, 1, 2, 3, 255, 65535] as [UInt16] where wrong != good[index] {
                // A record too many is no part of the message.
                if index == 3, wrong == 0 { continue }
                var packet = Packet("acme.org.", additional: [Packet.opt()])
                packet.counts = good
                packet.counts?[index] = wrong
                #expect(Reading(packet).verdict == .fail(.formatError), "count \(index) is \(wrong)")
            }
        }
    }

    @Test("no message is cut short, and bytes behind it are ignored")
    func length() {
        for packet in [Packet("acme.org."), Packet("acme.org.", additional: [Packet.opt([(10, [UInt8](1...8))])])] {
            #expect(Reading(packet).verdict == .resolve)
            #expect(Reading(packet.wire + [UInt8](repeating: 0, count: 30)).verdict == .resolve)
            for length in 12..<packet.wire.count {
                #expect(Reading(Array(packet.wire[..<length])).verdict == .fail(.formatError))
            }
        }
    }

    @Test(
        "a compression pointer in QNAME is FORMERR, wherever it points", arguments: [0, 4, 11, 12, 13, 14, 100, 0x3FFF])
    func pointers(target: Int) {
        var packet = Packet()
        packet.questions = [Packet.bytes(UInt16(0xC000 | target)) + [0, 1, 0, 1]]
        #expect(Reading(packet).verdict == .fail(.formatError))
        packet.questions = [[1, 97] + Packet.bytes(UInt16(0xC000 | target)) + [0, 1, 0, 1]]
        #expect(Reading(packet).verdict == .fail(.formatError))
    }

    @Test("an additional record's owner name may point back, but not forwards or to itself")
    func additionalOwner() {
        let verdicts = [12, 17, 21, 26, 27, 28, 60].map { target in
            Reading(
                Packet(
                    "acme.org.", additional: [Packet.record(Packet.bytes(UInt16(0xC000 | target)), .a, [1, 2, 3, 4])])
            ).verdict == .resolve
        }
        #expect(verdicts == [true, true, true, false, false, false, false])
    }
}

@Suite("Parsing EDNS (RFC 6891)")
struct QueryOptionTests {
    private func reading(_ opt: [UInt8]) -> Reading { Reading(Packet("acme.org.", additional: [opt])) }

    @Test("payload sizes below 512 mean 512 (6.2.3)", arguments: [0, 1, 511, 512, 513, 1232, 4096, 65535] as [UInt16])
    func payload(size: UInt16) {
        #expect(reading(Packet.opt(payload: size)).query.payloadSize == max(512, size))
    }

    @Test("DO is bit 15 and no other (RFC 3225 3)", arguments: 0..<16)
    func dnssecOK(bit: UInt16) {
        let query = reading(Packet.opt(flags: 1 << bit)).query
        #expect(query.dnssecOK == (bit == 15))
        #expect(query.hasEDNS && query.ednsVersion == 0)
    }

    @Test("a version above 0 is BADVERS, and its options are not parsed (6.1.3)", arguments: [1, 2, 255] as [UInt8])
    func version(version: UInt8) {
        let reading = reading(Packet.opt(version: version, [(10, [1])]))
        #expect(reading.verdict == .fail(.badVersion))
        #expect(reading.query.ednsVersion == version && reading.query.cookieLength == 0)
        // A malformed message is FORMERR nevertheless.
        #expect(
            Reading(Packet("a.", additional: [Packet.opt(version: 1), Packet.opt()])).verdict == .fail(.formatError))
    }

    @Test("a cookie has 8 bytes, or 16 to 40 (RFC 7873 5.2.2)", arguments: 0...64)
    func cookies(length: Int) {
        let data = (0..<length).map { UInt8($0) }
        let packet = Packet("acme.org.", additional: [Packet.opt([(10, data)])])
        let reading = Reading(packet)
        guard length == 8 || (16...40).contains(length) else {
            #expect(reading.verdict == .fail(.formatError))
            return
        }
        #expect(reading.verdict == .resolve)
        let place = reading.query.cookieOffset..<(reading.query.cookieOffset + reading.query.cookieLength)
        #expect(Array(packet.wire[place]) == data)
    }

    @Test("of two cookies the first counts, whatever the second is (RFC 7873 5.2)", arguments: [0, 3, 8, 41])
    func secondCookie(length: Int) {
        let first = [UInt8](repeating: 7, count: 8)
        let reading = reading(Packet.opt([(10, first), (10, [UInt8](repeating: 9, count: length))]))
        #expect(reading.verdict == .resolve && reading.query.cookieLength == 8)
    }

    @Test("options are found in any order, among unknown ones")
    func order() {
        let options: [(code: UInt16, data: [UInt8])] = [
            (3, []), (11, []), (12, [0, 0]), (10, [UInt8](1...8)), (65001, [1]),
        ]
        for shift in options.indices {
            let query = reading(Packet.opt(Array(options[shift...] + options[..<shift]))).query
            #expect(query.wantsNSID && query.wantsKeepalive && query.wantsPadding && query.cookieLength == 8)
        }
        let none = reading(Packet.opt([(65001, [1, 2, 3])])).query
        #expect(!none.wantsNSID && !none.wantsKeepalive && !none.wantsPadding && none.cookieLength == 0)
    }

    @Test("a keepalive with a timeout, which only servers send, requests nothing (RFC 7828 3.2.1)")
    func keepalive() {
        let reading = reading(Packet.opt([(11, [0, 100])]))
        #expect(reading.verdict == .resolve && !reading.query.wantsKeepalive)
    }

    @Test("an option cut anywhere is FORMERR")
    func cutOptions() {
        let whole = Packet.opt([(10, [UInt8](1...8)), (3, [])]).dropFirst(11)
        var verdicts: [Int] = []
        for length in 0...whole.count {
            let opt = Packet.record([0], .opt, in: RecordClass(rawValue: 1232), ttl: 0, Array(whole.prefix(length)))
            if reading(opt).verdict == .resolve { verdicts.append(length) }
        }
        #expect(verdicts == [0, 12, 16])
    }

    @Test("only a cookie makes a query without a question valid (RFC 7873 5.4)")
    func withoutQuestion() {
        #expect(Reading(Packet(additional: [Packet.opt([(10, [UInt8](1...8))])])).verdict == .cookieOnly)
        #expect(Reading(Packet(additional: [Packet.opt([(3, [])])])).verdict == .fail(.formatError))
        #expect(Reading(Packet()).verdict == .fail(.formatError))
        #expect(Reading(Packet(additional: [Packet.opt(version: 1)])).verdict == .fail(.badVersion))
    }

    @Test("OPT is owned by the root, in the additional section, once (6.1.1)")
    func place() {
        #expect(reading(Packet.opt(owner: Packet.name("acme.org."))).verdict == .fail(.formatError))
        #expect(reading(Packet.opt(owner: [0xC0, 21])).verdict == .fail(.formatError))
        for section in [\Packet.answers, \Packet.authority] as [WritableKeyPath<Packet, [[UInt8]]>] {
            var packet = Packet("acme.org.")
            packet[keyPath: section] = [Packet.opt()]
            #expect(Reading(packet).verdict == .fail(.formatError))
        }
        let address = Packet.record([0], .a, [1, 2, 3, 4])
        #expect(Reading(Packet("a.", additional: [address, Packet.opt(), address])).query.hasEDNS)
        #expect(
            Reading(Packet("a.", additional: [Packet.opt(), address, Packet.opt()])).verdict == .fail(.formatError))
    }

    @Test("TSIG must be last, and no key is known (RFC 8945 5.1, 5.2.1)")
    func signatures() {
        let signature = Packet.record(Packet.name("key."), .tsig, in: .any, ttl: 0, [UInt8](repeating: 0, count: 30))
        #expect(Reading(Packet("a.", additional: [Packet.opt(), signature])).verdict == .fail(.notAuth))
        #expect(Reading(Packet("a.", additional: [signature, Packet.opt()])).verdict == .fail(.formatError))
        #expect(Reading(Packet("a.", additional: [signature, signature])).verdict == .fail(.formatError))
    }

    @Test("IXFR has the client's SOA, of which the serial is used (RFC 1995 3)")
    func incremental() {
        let numbers: [UInt8] = [0xDE, 0xAD, 0xBE, 0xEF] + [UInt8](repeating: 0, count: 16)
        var packet = Packet("acme.org.", .ixfr)
        #expect(Reading(packet).verdict == .fail(.formatError))
        packet.authority = [Packet.record([0xC0, 12], .soa, [0xC0, 12, 1, 97, 0xC0, 12] + numbers)]
        #expect(Reading(packet).verdict == .resolve)
        #expect(Reading(packet).query.heldSerial == 0xDEAD_BEEF)
        packet.authority = [Packet.record([0xC0, 12], .soa, [0, 0] + numbers.dropLast())]
        #expect(Reading(packet).verdict == .fail(.formatError))
        packet.authority = [Packet.record([0xC0, 12], .a, [1, 2, 3, 4])]
        #expect(Reading(packet).verdict == .fail(.formatError))
        var other = Packet("acme.org.", .a)
        other.authority = [Packet.record([0xC0, 12], .soa, [0, 0] + numbers)]
        #expect(Reading(other).verdict == .fail(.formatError))
    }
}
