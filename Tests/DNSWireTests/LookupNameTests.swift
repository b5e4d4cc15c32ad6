import DNSWire
import LDNS
import TestSupport
import Testing

/// Random names of all shapes: few and many labels, short and long, any bytes.
func randomName(_ random: inout SeededGenerator) -> Name {
    var wire: [UInt8] = []
    let most = Int.random(in: 0...254, using: &random)
    let longest = [1, 3, 10, 63].randomElement(using: &random) ?? 1
    while true {
        let length = Int.random(in: 1...longest, using: &random)
        guard wire.count + length + 1 <= most else { break }
        wire.append(UInt8(length))
        for _ in 0..<length {
            let any = UInt8.random(in: 0...255, using: &random)
            wire.append(Bool.random(using: &random) ? 65 + any % 26 : any)
        }
    }
    return Name(uncheckedWire: wire + [0])
}

@Suite("Names as text (RFC 1035 5.1, 4343 2.1)")
struct NameTextTests {
    @Test("any name survives conversion to text and back, and libldns parses the same bytes from it (seed 1)")
    func roundTrip() throws {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<2000 {
            let name = randomName(&random)
            let text = name.description
            let isPrintable = text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            #expect(isPrintable)
            guard let back = Name(text), back.wire == name.wire else {
                Issue.record("\(text) reads back as \(String(describing: Name(text)))")
                return
            }
            // libldns 1.8.3 reads a leading `\\@` as the origin.
            if text.hasPrefix("\\@") { continue }
            // Parsed as the RDATA of a CNAME, in which libldns keeps the case.
            let read = try ZoneEntry.rdata(type: .cname, text: Array(text.utf8), origin: [])
            if read != name.wire { Issue.record("libldns reads \(text) as \(read)") }
        }
    }

    @Test("each byte is printed as RFC 4343 2.1 requires, and parsed back", arguments: [UInt8](0...255))
    func bytes(byte: UInt8) {
        let name = Name(uncheckedWire: [1, byte, 0])
        #expect(Name(name.description)?.wire == [1, byte, 0])
        #expect(Name("\\\(byte < 100 ? "0" : "")\(byte < 10 ? "0" : "")\(byte).")?.wire == [1, byte, 0])
        // Only letters, digits and a few other characters are not escaped.
        let isPlain = (0x21...0x7E).contains(byte) && !".\\\"();@$".utf8.contains(byte)
        #expect(name.description.utf8.count == (isPlain ? 2 : byte > 0x7E || byte < 0x21 ? 5 : 3))
    }

    @Test("comparison ignores case; the order is that of RFC 4034 6.1")
    func order() throws {
        // The list from that section.
        let sorted = [
            "example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
            "\\001.z.example.", "*.z.example.", "\\200.z.example.",
        ]
        let names = try sorted.map { try #require(Name($0)) }
        for seed in 0..<20 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            #expect(names.shuffled(using: &random).sorted().map(\.description) == sorted)
        }
        #expect(Name("ACME.org.") == Name("acme.ORG."))
        #expect(Set([Name("ACME.org."), Name("acme.ORG.")]).count == 1)
        #expect(Name("\\195\\132.") != Name("\\195\\164."), "only ASCII letters have a case (RFC 4343 3)")
    }
}

@Suite("The name of a lookup")
struct LookupNameTests {
    @Test("is folded in ASCII only, whatever its length and alignment (seed 2)")
    func folding() {
        var random = SeededGenerator(seed: 2)
        var lookup = LookupName()
        for _ in 0..<2000 {
            let name = randomName(&random)
            // Vary alignment and distance from the end of the bytes.
            let lead = Int.random(in: 0...9, using: &random)
            let bytes = [UInt8](repeating: 0x5A, count: lead) + name.wire + [0x5A, 0x5A]
            let consumed = bytes.withUnsafeBytes {
                lookup.assign(uncompressed: UnsafeRawBufferPointer(rebasing: $0[lead...]))
            }
            #expect(consumed == name.wire.count)
            let folded = lookup.name.wire
            // Length bytes are below 0x40, so they are no letters.
            #expect(folded == name.wire.map { (65...90).contains($0) ? $0 + 32 : $0 })
            let labels = lookup.labelCount
            #expect(labels == name.labelCount)
        }
    }

    @Test("has the hash and the bytes of each suffix (seed 3)")
    func suffixes() {
        var random = SeededGenerator(seed: 3)
        var lookup = LookupName()
        var other = LookupName()
        var wildcard = LookupName()
        for _ in 0..<300 {
            var name: Name? = randomName(&random)
            lookup.assign(name ?? .root)
            for index in 0...lookup.labelCount {
                guard let suffix = name else {
                    Issue.record("too few labels")
                    return
                }
                other.assign(suffix)
                let isSame = lookup.hash(at: index) == other.hash
                #expect(isSame)
                let matches = suffix.canonicalWire.withUnsafeBytes {
                    lookup.suffixEquals(index, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
                }
                #expect(matches)
                let bytes = Array(lookup.suffix(at: index))
                #expect(bytes == suffix.canonicalWire)
                if let star = suffix.prepending(label: [UInt8(ascii: "*")]) {
                    wildcard.assign(star)
                    let isWildcard = lookup.wildcardHash(at: index) == wildcard.hash
                    #expect(isWildcard)
                }
                name = suffix.parent
            }
            #expect(name == nil)
        }
    }

    @Test("a suffix equals no name that differs in one byte or in length (seed 4)")
    func differences() {
        var random = SeededGenerator(seed: 4)
        var lookup = LookupName()
        var other = LookupName()
        for _ in 0..<1000 {
            let name = randomName(&random)
            guard !name.isRoot else { continue }
            lookup.assign(name)
            var changed = name.canonicalWire
            let labelStart = 1 + Int.random(in: 0..<Int(changed[0]), using: &random)
            changed[labelStart] = changed[labelStart] == 0x31 ? 0x32 : 0x31
            let equals = changed.withUnsafeBytes {
                lookup.suffixEquals(0, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
            }
            #expect(equals == (changed == name.canonicalWire))
            other.assign(Name(uncheckedWire: changed))
            let sameHash = other.hash == lookup.hash
            #expect(sameHash == (changed == name.canonicalWire))
            let shorter = changed.withUnsafeBytes {
                lookup.suffixEquals(0, $0.baseAddress.unsafelyUnwrapped, length: $0.count - 1)
            }
            #expect(!shorter)
        }
    }

    @Test("hashes of two processes differ: the key is random")
    func keys() {
        var first = LookupName(key: NameHash(first: 1, second: 3))
        var second = LookupName(key: NameHash(first: 1, second: 5))
        first.assign(Name(uncheckedWire: [1, 97, 0]))
        second.assign(Name(uncheckedWire: [1, 97, 0]))
        let isSame = first.hash == second.hash
        #expect(!isSame)
    }

    @Test(
        "incomplete or compressed names are rejected",
        arguments: [
            [], [1], [1, 97], [64] + [UInt8](repeating: 97, count: 64) + [0], [0x80, 0], [0xC0, 0], [1, 97, 0xC0, 0],
            [1, 97, 0x41, 8], [63] + [UInt8](repeating: 97, count: 62),
        ] as [[UInt8]])
    func refused(bytes: [UInt8]) {
        var lookup = LookupName()
        #expect(bytes.withUnsafeBytes { lookup.assign(uncompressed: $0) } == 0)
        #expect(Name(wire: bytes) == nil)
    }

    @Test("255 bytes and 127 labels are accepted, 256 and 128 are not (RFC 1035 2.3.4)")
    func longest() {
        var lookup = LookupName()
        let most = [UInt8]((0..<254).map { $0 % 2 == 0 ? 1 : 97 }) + [0]
        #expect(most.withUnsafeBytes { lookup.assign(uncompressed: $0) } == 255)
        #expect(most.withUnsafeBytes { lookup.assign(message: $0, at: 0) } == 255)
        let more = [1, 97] + most
        #expect(more.withUnsafeBytes { lookup.assign(uncompressed: $0) } == 0)
        #expect(more.withUnsafeBytes { lookup.assign(message: $0, at: 0) } == 0)
        let odd = [2, 97, 97] + most.dropFirst(2)
        #expect(odd.withUnsafeBytes { lookup.assign(uncompressed: $0) } == 0)
    }
}
