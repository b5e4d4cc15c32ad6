import DNSWire
import LDNS
import TestSupport
import Testing

/// One record as it is appended and should be parsed.
private struct Entry: Equatable {
    var owner: Name
    var type: RecordType
    var ttl: UInt32
    var rdata: [UInt8]

    /// Case is ignored: a compressed name has the spelling of its first occurrence.
    static func == (left: Entry, right: Entry) -> Bool {
        left.owner == right.owner && left.type == right.type && left.ttl == right.ttl
            && left.rdata.map(ASCII.lowercased) == right.rdata.map(ASCII.lowercased)
    }

    func append(to builder: inout ResponseBuilder) -> Bool {
        owner.wire.withUnsafeBytes { owner in
            rdata.withUnsafeBytes {
                builder.append(
                    owner: .name(owner.baseAddress.unsafelyUnwrapped, length: owner.count), type: type, ttl: ttl,
                    rdata: $0)
            }
        }
    }
}

/// Builds a response to a query for `name` with what `body` appends, with counts and QR=1.
private func build(
    _ name: String, limit: Int = 65_535, reserved: Int = 0, _ body: (inout ResponseBuilder) -> Void
) -> [UInt8] {
    let wire = Packet(name, .any).wire
    var query = Query()
    var lookup = LookupName()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: limit, alignment: 8)
    defer { buffer.deallocate() }
    return wire.withUnsafeBytes { message in
        _ = query.parse(message, name: &lookup)
        var builder = ResponseBuilder(buffer: buffer, query: query, message: message, reserved: reserved)
        body(&builder)
        builder.finish(flags: [.response], questions: 1)
        return Array(builder.message)
    }
}

private func read(_ message: [UInt8], _ section: LDNS.Message.Section) throws -> [Entry] {
    #expect(message.withUnsafeBytes { MessageReader.walk($0)?.isSound } == true, "\(message)")
    return try LDNS.Message(wire: message).records(section).map {
        Entry(owner: $0.owner, type: $0.type, ttl: $0.ttl, rdata: $0.rdata)
    }
}

private func address(_ owner: String, _ last: UInt8 = 1) -> Entry {
    Entry(owner: Name(owner) ?? .root, type: .a, ttl: 60, rdata: [192, 0, 2, last])
}

@Suite("Writing a response (RFC 1035 4.1, 2181 9)")
struct ResponseBuilderTests {
    /// Records whose names share suffixes occasionally.
    private func entries(_ random: inout SeededGenerator, count: Int) -> [Entry] {
        var names = ["www.Acme.org.", "acme.org.", "org.", "mail.acme.ORG.", "a.very.deep.name.of.acme.org."].compactMap
        { Name($0) }
        return (0..<count).map { _ in
            if Int.random(in: 0..<3, using: &random) == 0 {
                let parent = names.randomElement(using: &random) ?? .root
                let label = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                    UInt8.random(in: 65...122, using: &random)
                }
                if let child = parent.prepending(label: label) { names.append(child) }
            }
            let one = names.randomElement(using: &random)?.wire ?? [0]
            let two = names.randomElement(using: &random)?.wire ?? [0]
            let (type, rdata): (RecordType, [UInt8]) =
                switch Int.random(in: 0..<8, using: &random) {
                case 0: (.a, [1, 2, 3, 4])
                case 1: (.ns, one)
                case 2: (.cname, one)
                case 3: (.soa, one + two + [UInt8](0..<20))
                case 4: (.mx, [0, 10] + one)
                case 5: (.srv, [0, 1, 0, 2, 0, 80] + one)
                case 6: (.dname, one)
                default: (.txt, [5, 104, 101, 108, 108, 111])
                }
            return Entry(
                owner: names.randomElement(using: &random) ?? .root, type: type,
                ttl: UInt32.random(in: 0...0x7FFF_FFFF, using: &random), rdata: rdata)
        }
    }

    @Test(
        "libldns parses exactly what was written, compressed names included (seeds 0 to 39)",
        arguments: 0..<40 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let entries = entries(&random, count: 60)
        let plain = entries.reduce(0) { $0 + $1.owner.wire.count + 10 + $1.rdata.count }
        let message = build("www.acme.org.") { builder in
            for (index, entry) in entries.enumerated() {
                if index == 20 { builder.begin(.authority) }
                if index == 40 { builder.begin(.additional) }
                #expect(entry.append(to: &builder))
            }
            #expect(!builder.truncated)
        }
        #expect(try read(message, .answer) == Array(entries[..<20]))
        #expect(try read(message, .authority) == Array(entries[20..<40]))
        #expect(try read(message, .additional) == Array(entries[40...]))
        #expect(message.count < plain * 3 / 4, "names that repeat are compressed")
    }

    @Test(
        "at any size, records are complete, and those missing from answer and authority set TC (seeds 0 to 4)",
        arguments: 0..<5 as Range<UInt64>)
    func limits(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let entries = entries(&random, count: 40)
        for limit in stride(from: 512, to: 1400, by: 7) {
            var written: [Entry] = []
            var truncated = false
            let message = build("www.acme.org.", limit: limit, reserved: 11) { builder in
                for entry in entries { if entry.append(to: &builder) { written.append(entry) } }
                truncated = builder.truncated
                #expect(builder.length <= limit - 11)
            }
            #expect(try read(message, .answer) == written)
            #expect(truncated == (written.count < entries.count))
        }
    }

    @Test("additional records are omitted without TC; required glue is not (RFC 2181 9, 9471 3)")
    func courtesy() throws {
        let first = address("www.acme.org.")
        let large = Entry(
            owner: first.owner, type: .txt, ttl: 1,
            rdata: [UInt8](repeating: 200, count: 1) + [UInt8](repeating: 97, count: 200))
        var message = build("www.acme.org.", limit: 512) { builder in
            #expect(first.append(to: &builder))
            builder.begin(.additional)
            #expect(large.append(to: &builder))
            #expect(large.append(to: &builder))
            #expect(!large.append(to: &builder))
            #expect(!builder.truncated)
            // A smaller one still fits.
            #expect(first.append(to: &builder))
        }
        #expect(try read(message, .additional) == [large, large, first])
        message = build("www.acme.org.", limit: 512) { builder in
            builder.requireWhole()
            #expect(builder.truncated)
            builder.truncate()
            #expect(builder.truncated && builder.answers == 0)
        }
        #expect(try read(message, .answer).isEmpty)
    }

    @Test("a truncated response has only the question, and can be written again")
    func truncate() throws {
        let entry = address("www.acme.org.")
        let message = build("www.acme.org.") { builder in
            #expect(entry.append(to: &builder))
            builder.begin(.authority)
            #expect(entry.append(to: &builder))
            builder.truncate()
            #expect(builder.length == builder.questionEnd)
            builder.release(reserved: 0)
            _ = Packet.opt().withUnsafeBytes { builder.appendAdditional(raw: $0) }
        }
        #expect(message.count == Packet("www.acme.org.").wire.count + 11)
        #expect(message.withUnsafeBytes { MessageReader.walk($0)?.opt } != nil)
    }

    @Test("names in the RDATA of newer types are not compressed (RFC 3597 4, 2782)")
    func uncompressed() throws {
        let name = Packet.name("www.acme.org.")
        for (type, rdata) in [(RecordType.srv, [0, 1, 0, 2, 0, 80] + name), (.dname, name), (.https, [0, 1] + name)] {
            let message = build("www.acme.org.") { builder in
                #expect(Entry(owner: Name(uncheckedWire: name), type: type, ttl: 0, rdata: rdata).append(to: &builder))
            }
            #expect(Array(message.suffix(rdata.count)) == rdata)
            // The owner name is compressed nevertheless.
            #expect(message.count == 12 + name.count + 4 + 2 + 10 + rdata.count)
        }
    }

    @Test("compression ignores case and keeps the first spelling (RFC 1035 2.3.3)")
    func spelling() throws {
        let message = build("WwW.aCmE.OrG.") { builder in
            #expect(address("www.acme.org.").append(to: &builder))
        }
        #expect(message.count == 12 + 14 + 4 + 16)
        #expect(try LDNS.Message(wire: message).records(.answer).first?.owner.description == "WwW.aCmE.OrG.")
    }

    @Test("names beyond the 14 bits of a pointer are written in full")
    func farAway() throws {
        let owner = try #require(Name("www.acme.org."))
        let filler = Entry(
            owner: owner, type: .txt, ttl: 1,
            rdata: (0..<70).flatMap { _ in [250] + [UInt8](repeating: 97, count: 250) })
        let late = [address("late.example."), address("late.example.", 2), address("x.late.example.", 3)]
        let message = build("www.acme.org.") { builder in
            #expect(filler.append(to: &builder))
            #expect(builder.length > 0x4000)
            for entry in late { #expect(entry.append(to: &builder)) }
            // An owner name beyond the reach of pointers is copied.
            let offset = builder.length
            #expect(address("copied.example.").append(to: &builder))
            _ = ([192, 0, 2, 9] as [UInt8]).withUnsafeBytes {
                builder.append(owner: .at(offset), type: .a, ttl: 60, rdata: $0)
            }
        }
        #expect(
            try read(message, .answer) == [filler] + late + [address("copied.example."), address("copied.example.", 9)])
    }

    @Test("a rollback removes everything, including targets of pointers")
    func rollback() throws {
        let message = build("www.acme.org.") { builder in
            let mark = builder.mark
            for number in 0..<40 { #expect(address("gone\(number).example.").append(to: &builder)) }
            builder.rollback(to: mark)
            #expect(builder.length == builder.questionEnd && builder.answers == 0)
            #expect(address("x.gone5.example.").append(to: &builder))
            builder.begin(.additional)
            let start = builder.length
            // The removed bytes are still in the buffer when the next name is written, and must not be pointed to.
            for name in ["first.test.", "also.gone.test."] { #expect(address(name).append(to: &builder)) }
            builder.dropAdditional(from: start)
            #expect(address("b.also.gone.test.").append(to: &builder))
        }
        #expect(try read(message, .answer) == [address("x.gone5.example.")])
        #expect(try read(message, .additional) == [address("b.also.gone.test.")])
    }

    @Test("a CNAME returns the offset of its target, for the next record's owner name")
    func alias() throws {
        let message = build("www.acme.org.") { builder in
            let target = Packet.name("Acme.org.").withUnsafeBytes {
                builder.appendCNAME(owner: .at(Header.length), ttl: 5, target: $0)
            }
            guard let target else {
                Issue.record("did not fit")
                return
            }
            let place = builder.resolvePointer(at: target)
            #expect(place == 16)
            _ = ([192, 0, 2, 1] as [UInt8]).withUnsafeBytes {
                builder.append(owner: .at(place), type: .a, ttl: 60, rdata: $0)
            }
        }
        let records = try read(message, .answer)
        #expect(records.map(\.owner.description) == ["www.acme.org.", "acme.org."])
        #expect(records.first?.rdata == Packet.name("acme.org."))
    }

    @Test("finds a record in the authority section by owner name and type")
    func authority() throws {
        _ = build("www.acme.org.") { builder in
            #expect(address("a.acme.org.").append(to: &builder))
            builder.begin(.authority)
            #expect(address("b.acme.org.").append(to: &builder))
            let found = ["a.acme.org.", "b.acme.org.", "B.ACME.org.", "c.acme.org."].map { name in
                Packet.name(name).withUnsafeBytes { builder.hasAuthority(owner: $0, type: .a) }
            }
            #expect(found == [false, true, true, false])
            #expect(!Packet.name("b.acme.org.").withUnsafeBytes { builder.hasAuthority(owner: $0, type: .aaaa) })
        }
    }
}
