import DNSWire
import LocalData
import LookupLog
import Platform

/// Names in presentation and wire form.
enum NameTarget {
    static let target = FuzzTarget(
        name: "name", longest: 1200,
        seeds: {
            [
                "acme.org.", "B\u{FC}cher.example", "a\\.b.\\000\\255.", "*.x", "\u{65E5}\u{672C}\u{3002}jp", "@",
                "xn--mnchen-3ya.de",
            ]
            .map { Array($0.utf8) } + [[3, 0x61, 0x62, 0x63, 0], [0]]
        },
        words: { ["\\", "\\065", "xn--", "\u{3002}", "\u{FC}", "\u{300}", "\u{E0100}", "."].map { Array($0.utf8) } },
        prepare: {
            var lookup = LookupName()
            return { input in
                wire(input, &lookup)
                text(input)
            }
        })

    private static func wire(_ bytes: UnsafeRawBufferPointer, _ lookup: inout LookupName) {
        let length = lookup.assign(uncompressed: bytes)
        guard length > 0 else { return }
        let wire = Array(bytes[..<length])
        guard let name = Name(wire: wire) else { broken("no name: \(hex(wire))") }
        expect(lookup.name.wire == name.canonicalWire && lookup.labelCount == name.labelCount, "folded: \(hex(wire))")
        expect(lookup.suffixEquals(lookup.labelCount, [0], length: 1), "the last suffix is the root")
        round(name)
        var parent = name
        while let next = parent.parent {
            expect(name.isBelow(next) && !next.isAtOrBelow(parent), "\(next) is the parent of \(parent)")
            expect(next < parent, "\(next) comes before \(parent)")
            parent = next
        }
        expect(parent.isRoot && name.isAtOrBelow(.root), "all ends at the root")
    }

    /// A name survives writing and reading.
    private static func round(_ name: Name) {
        let text = name.description
        expect(text.utf8.allSatisfy { (0x21...0x7E).contains($0) }, "not printable: \(text)")
        expect((try? Name(parsing: text.utf8))?.wire == name.wire, "\(text) is read as another name")
        if let pattern = try? NamePattern(text) {
            var isMatch = false
            name.wire.withUnsafeBytes { isMatch = pattern.matches(nameIn: $0, at: 0) }
            let isStar = text.contains("*")
            expect(isMatch || isStar, "\(text) does not match itself")
        } else {
            broken("\(text) is no pattern")
        }
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) {
        if let name = try? Name(parsing: bytes) {
            expect(Name(wire: name.wire) != nil, "\(hex(name.wire)) is no name")
            round(name)
        }
        let text = String(decoding: bytes, as: UTF8.self)
        _ = NameSearch(text)
        guard let ascii = InternationalName.toASCII(text) else { return }
        expect(ascii.utf8.allSatisfy { $0 < 0x80 }, "not ASCII: \(ascii)")
        expect(InternationalName.toASCII(ascii) == ascii, "\(ascii) becomes another name")
        if let address = SocketAddress(ip: text, port: 53) {
            expect(SocketAddress(ip: address.ip, port: 53) == address, "\(text) is read as \(address)")
        }
    }
}
