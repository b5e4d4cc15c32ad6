import DNSWire
import LDNS
import TestSupport
import Testing

/// A response with records of all kinds, with names in full or compressed by hand.
private func response(answers: [[UInt8]], authority: [[UInt8]] = [], additional: [[UInt8]] = []) -> [UInt8] {
    var packet = Packet("www.acme.org.", .any, flags: 0x8400)
    packet.answers = answers
    packet.authority = authority
    packet.additional = additional
    return packet.wire
}

private func endOfName(_ message: [UInt8], at offset: Int) -> Int? {
    message.withUnsafeBytes { MessageReader.endOfName($0, at: offset) }
}

private func isWhole(_ message: [UInt8]) -> Bool {
    message.withUnsafeBytes { MessageReader.walk($0).map { $0.isSound && $0.length == message.count } ?? false }
}

@Suite("Names in a message (RFC 1035 4.1.4)")
struct MessageNameTests {
    // At 12: acme.org.; at 17: org.; at 22: www and a pointer to 12; at 28: a pointer to 22.
    private let message = Packet().wire + Packet.name("acme.org.") + [3, 119, 119, 119, 0xC0, 12, 0xC0, 22]

    @Test("end after the root or the first pointer, and expand to the full name")
    func expanded() {
        for (offset, end, text) in [
            (12, 22, "acme.org."), (17, 22, "org."), (22, 28, "www.acme.org."), (28, 30, "www.acme.org."),
        ] {
            #expect(endOfName(message, at: offset) == end)
            var bytes: [UInt8] = [7]
            #expect(message.withUnsafeBytes { MessageReader.expandName($0, at: offset, into: &bytes) })
            #expect(bytes == [7] + Packet.name(text))
            var lookup = LookupName()
            #expect(message.withUnsafeBytes { lookup.assign(message: $0, at: offset) } == end - offset)
            #expect(lookup.name.description == text)
        }
    }

    @Test("compare with a name or its suffix, ignoring case")
    func equality() throws {
        var lookup = LookupName()
        lookup.assign(try #require(Name("WWW.Acme.org.")))
        for (offset, label) in [(28, 0), (22, 0), (12, 1), (17, 2), (21, 3)] {
            for other in 0...3 {
                let isEqual = message.withUnsafeBytes {
                    MessageReader.name($0, at: offset, equals: lookup, from: other)
                }
                #expect(isEqual == (other == label))
            }
        }
    }

    @Test("pointers forwards, to themselves, into the header or out of the message are invalid")
    func badPointers() {
        for target in [0, 4, 11, 30, 31, 32, 33, 1000, 0x3FFF] {
            #expect(endOfName(message + Packet.bytes(UInt16(0xC000 | target)) + [0, 0], at: 30) == nil, "to \(target)")
        }
        // To a label of the same name: a loop.
        let start = message.count
        for target in start..<(start + 4) {
            let bytes = message + [1, 97, 1, 98] + Packet.bytes(UInt16(0xC000 | target))
            #expect(endOfName(bytes, at: start) == nil)
            var expanded: [UInt8] = []
            #expect(!bytes.withUnsafeBytes { MessageReader.expandName($0, at: start, into: &expanded) })
            var lookup = LookupName()
            #expect(bytes.withUnsafeBytes { lookup.assign(message: $0, at: start) } == 0)
        }
    }

    @Test("a ladder of backward pointers ends; too many are rejected")
    func ladder() {
        // A root at 12, then pointers, each to the previous one.
        var bytes = Packet().wire + [0]
        var offsets = [12]
        for _ in 0..<200 {
            offsets.append(bytes.count)
            bytes += Packet.bytes(UInt16(0xC000 | offsets[offsets.count - 2]))
        }
        for (jumps, offset) in offsets.enumerated() {
            #expect((endOfName(bytes, at: offset) != nil) == (jumps <= 127))
        }
    }

    @Test("255 bytes are a valid name however they are assembled, 256 are not")
    func longest() {
        let tail = Packet.name(String(repeating: "a", count: 63) + "." + String(repeating: "b", count: 63) + ".")
        for (length, isName) in [(61, true), (62, false)] {
            let head = [UInt8](repeating: 99, count: length)
            let bytes =
                Packet().wire + tail + [63] + [UInt8](repeating: 100, count: 63) + [UInt8(length)] + head + [0xC0, 12]
            #expect((endOfName(bytes, at: 12 + tail.count) != nil) == isName)
            var lookup = LookupName()
            #expect((bytes.withUnsafeBytes { lookup.assign(message: $0, at: 12 + tail.count) } != 0) == isName)
        }
    }

    @Test("label types 01 and 10 are invalid (RFC 6891 9.1)", arguments: [0x40, 0x41, 0x7F, 0x80, 0xBF] as [UInt8])
    func labelTypes(first: UInt8) {
        let bytes = Packet().wire + [first] + [UInt8](repeating: 0, count: 300)
        #expect(endOfName(bytes, at: 12) == nil)
    }

    @Test("the three parsers of names agree on any bytes, and don't read past the end (seed 5)")
    func agreement() {
        var random = SeededGenerator(seed: 5)
        let telling: [UInt8] = [0, 0, 1, 2, 3, 63, 64, 0xC0, 0xC0]
        var legal = 0
        for _ in 0..<20_000 {
            let bytes = (0..<40).map { _ in
                telling.randomElement(using: &random) ?? UInt8.random(in: 0...40, using: &random)
            }
            .map { $0 == 3 ? UInt8.random(in: 0...39, using: &random) : $0 }
            let offset = Int.random(in: 12..<40, using: &random)
            bytes.withUnsafeBytes { bytes in
                let end = MessageReader.endOfName(bytes, at: offset)
                var expanded: [UInt8] = []
                let isExpanded = MessageReader.expandName(bytes, at: offset, into: &expanded)
                var lookup = LookupName()
                let consumed = lookup.assign(message: bytes, at: offset)
                #expect((end != nil) == isExpanded)
                guard let end else { return }
                legal += 1
                #expect(offset + consumed == end)
                #expect(Name(wire: expanded) == lookup.name)
                let isEqual = MessageReader.name(bytes, at: offset, equals: lookup)
                #expect(isEqual)
            }
        }
        #expect(legal > 1000)
    }
}

@Suite("The strict walk (RFC 1035 4.1, 6891 6.1.1)")
struct MessageWalkTests {
    private let owner: [UInt8] = [0xC0, 12]
    private let pointer: [UInt8] = [0xC0, 16]

    /// All types whose names may be compressed, newer ones whose names sometimes are although forbidden, and opaque
    /// ones.
    private var samples: [[UInt8]] {
        let soa: [UInt8] = pointer + [1, 104, 0xC0, 16] + [UInt8](0..<20)
        return [
            Packet.record(owner, .a, [192, 0, 2, 1]), Packet.record(owner, .aaaa, [UInt8](0..<16)),
            Packet.record(owner, .ns, pointer), Packet.record(owner, .cname, [3, 102, 116, 112] + pointer),
            Packet.record(owner, .soa, soa), Packet.record(owner, .ptr, pointer),
            Packet.record(owner, .mx, [0, 10, 4, 109, 97, 105, 108] + pointer),
            Packet.record(owner, RecordType(rawValue: 14), pointer + owner), Packet.record(owner, .txt, [2, 104, 105]),
            Packet.record(owner, .srv, [0, 0, 0, 1, 1, 187] + Packet.name("t.acme.org.")),
            Packet.record(owner, RecordType(rawValue: 17), Packet.name("a.b.") + Packet.name("c.")),
            Packet.record(owner, RecordType(rawValue: 18), [0, 1] + Packet.name("afs.acme.org.")),
            Packet.record(owner, .https, [0, 1, 0, 0, 1, 0, 3, 2, 104, 50]),
            Packet.record(owner, RecordType(rawValue: 65280), [0xC0, 0, 0xFF]),
        ]
    }

    @Test("finds the records of every section where libldns does")
    func againstLibrary() throws {
        let samples = samples
        for split in [(14, 0), (0, 14), (5, 4), (1, 12)] {
            let message = response(
                answers: Array(samples[..<split.0]), authority: Array(samples[split.0..<(split.0 + split.1)]),
                additional: Array(samples[(split.0 + split.1)...]) + [Packet.opt([(3, [1])])])
            let library = try LDNS.Message(wire: message)
            let expected = LDNS.Message.Section.allCases.flatMap { library.records($0) }
            try message.withUnsafeBytes { bytes in
                let summary = try #require(MessageReader.walk(bytes))
                #expect(summary.answers == split.0 && summary.authority == split.1)
                #expect(summary.additional == samples.count - split.0 - split.1 + 1)
                #expect(summary.opt?.rdataLength == 5)
                var cursor = summary.records
                for record in expected {
                    let mine = try #require(MessageReader.record(bytes, at: cursor))
                    cursor = mine.end
                    var name: [UInt8] = []
                    var rdata: [UInt8] = []
                    #expect(MessageReader.expandName(bytes, at: mine.start, into: &name))
                    #expect(MessageReader.expandRDATA(bytes, mine, into: &rdata))
                    #expect(name == record.owner.wire && mine.type == record.type && mine.ttl == record.ttl)
                    #expect(mine.recordClass == record.recordClass)
                    #expect(rdata == record.rdata, "\(mine.type)")
                }
            }
        }
    }

    @Test("bytes behind the last record are not part of the message")
    func extraBytes() throws {
        let message = response(answers: samples, additional: [Packet.opt()])
        try (message + [0, 0, 0, 0]).withUnsafeBytes { bytes in
            let summary = try #require(MessageReader.walk(bytes))
            #expect(summary.isSound && summary.length == message.count && summary.opt != nil)
        }
    }

    @Test("faults behind the answer section are noted, and leave the answers readable")
    func laterFaults() throws {
        let answer = Packet.record(owner, .a, [192, 0, 2, 1])
        let odd = Packet.record(owner, .a, [1, 2, 3])
        func summary(_ message: [UInt8]) throws -> MessageReader.Summary {
            try message.withUnsafeBytes { try #require(MessageReader.walk($0)) }
        }
        let behind = try summary(response(answers: [answer], additional: [odd, Packet.opt()]))
        #expect(behind.hasAuthority && !behind.isSound && behind.opt != nil)
        let between = try summary(response(answers: [answer], authority: [odd], additional: [Packet.opt()]))
        #expect(!between.hasAuthority && between.authority == 0 && !between.isSound && between.opt != nil)
        let whole = response(answers: [answer], authority: [answer], additional: [answer])
        for cut in 1..<32 {
            let rest = try summary(Array(whole.dropLast(cut)))
            #expect(
                !rest.isSound && rest.hasAuthority == (cut <= 16) && rest.end == whole.count - (cut <= 16 ? 16 : 32))
        }
    }

    @Test("a message with its last byte missing is not whole")
    func prefixes() {
        let message = response(answers: samples, additional: [Packet.opt()])
        #expect(isWhole(message))
        #expect(!isWhole(message + [0]))
        for length in 0..<message.count { #expect(!isWhole(Array(message[..<length]))) }
    }

    @Test("names and numbers must fill the RDATA exactly")
    func exactRDATA() {
        let wrong: [(RecordType, [UInt8])] = [
            (.a, [1, 2, 3]), (.a, [1, 2, 3, 4, 5]), (.a, []), (.aaaa, [UInt8](0..<15)), (.ns, []), (.ns, [0, 0]),
            (.cname, [1, 97]), (.cname, pointer + [0]), (.mx, [0]), (.mx, [0, 10]), (.mx, [0, 10, 0, 0]),
            (.soa, [0, 0] + [UInt8](0..<19)), (.soa, [0, 0] + [UInt8](0..<21)),
            (.soa, [0] + [UInt8](repeating: 9, count: 20)),
            (.ptr, [0xC0]), (.ptr, [0xC0, 60]),
        ]
        for (type, rdata) in wrong {
            #expect(!isWhole(response(answers: [Packet.record(owner, type, rdata)])), "\(type) \(rdata)")
        }
        for type in [RecordType.ns, .mx, .soa, .cname] {
            let good: [UInt8] = type == .mx ? [0, 1, 0] : type == .soa ? [0, 0] + [UInt8](0..<20) : [0]
            #expect(isWhole(response(answers: [Packet.record(owner, type, good)])))
        }
        // A name must not extend past its RDATA into the next record.
        let over = Packet.record(owner, .ns, [3, 97]) + [98, 99, 0]
        #expect(!isWhole(response(answers: [over])))
    }

    @Test("addresses have a fixed length in class IN only")
    func otherClass() {
        #expect(isWhole(response(answers: [Packet.record(owner, .a, in: .ch, [1, 2, 3])])))
    }

    @Test("OPT is in the additional section, owned by the root, once; TSIG is last; at most one question")
    func places() {
        let opt = Packet.opt()
        let signature = Packet.record([0], .tsig, in: .any, [0])
        #expect(!isWhole(response(answers: [opt])))
        #expect(!isWhole(response(answers: [], authority: [opt])))
        #expect(!isWhole(response(answers: [], additional: [opt, opt])))
        #expect(!isWhole(response(answers: [], additional: [Packet.opt(owner: owner)])))
        #expect(isWhole(response(answers: [], additional: [opt, signature])))
        #expect(!isWhole(response(answers: [], additional: [signature, opt])))
        var two = Packet("a.")
        two.questions.append(Packet.question("b."))
        #expect(!isWhole(two.wire))
        #expect(isWhole(Packet().wire))
    }

    @Test("libldns accepts whatever the walk accepts, and both expand it alike (seed 6)")
    func mutations() throws {
        var random = SeededGenerator(seed: 6)
        let whole = response(answers: Array(samples[..<8]), authority: Array(samples[8...]), additional: [Packet.opt()])
        var passed = 0
        for _ in 0..<6000 {
            var message = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<message.count, using: &random)
                message[place] =
                    [0, 1, 0xC0, UInt8.random(in: 0...255, using: &random)].randomElement(using: &random) ?? 0
            }
            try message.withUnsafeBytes { bytes in
                guard let summary = MessageReader.walk(bytes), PacketCheck.accepts(bytes) else { return }
                passed += 1
                let library = try LDNS.Message(wire: message)
                var cursor = summary.records
                for record in library.records(.answer) {
                    guard let mine = MessageReader.record(bytes, at: cursor) else { break }
                    cursor = mine.end
                    var name: [UInt8] = []
                    #expect(MessageReader.expandName(bytes, at: mine.start, into: &name))
                    #expect(name == record.owner.wire && mine.ttl == record.ttl)
                }
            }
        }
        #expect(passed > 500)
    }
}
