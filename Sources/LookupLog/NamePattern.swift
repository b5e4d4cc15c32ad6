public import DNSWire
private import Glibc

/// A set of names: a single one, all below another, or those that match a text with `*`.
///
/// Case and a trailing dot are ignored.
public enum NamePattern: Sendable, Hashable, CustomStringConvertible {
    /// Exactly this name, in lower-case wire form.
    case exact(wire: [UInt8])
    /// Names at any depth below this one, but not the name itself; `*.NAME`.
    case below(wire: [UInt8])
    /// Lower-case presentation form without the trailing dot; `*` matches any bytes, or none.
    case glob([UInt8])

    /// - Throws: what makes `text` an invalid name.
    public init(_ text: some StringProtocol) throws(Name.ParseError) {
        let bytes = Array(text.utf8.map(ASCII.lowercased))
        let star = UInt8(ascii: "*")
        let dot = UInt8(ascii: ".")
        if bytes.starts(with: [star, dot]), bytes.count > 2, !bytes.dropFirst(2).contains(star) {
            self = .below(wire: try Name(parsing: bytes.dropFirst(2)).canonicalWire)
        } else if bytes.contains(star) {
            let isAbsolute = bytes.count > 1 && bytes.last == dot && bytes[bytes.count - 2] != UInt8(ascii: "\\")
            self = .glob(isAbsolute ? Array(bytes.dropLast()) : bytes)
        } else {
            self = .exact(wire: try Name(parsing: bytes).canonicalWire)
        }
    }

    /// Names that contain `text`.
    public static func containing(_ text: some StringProtocol) -> NamePattern {
        .glob([UInt8(ascii: "*")] + text.utf8.map(ASCII.lowercased) + [UInt8(ascii: "*")])
    }

    /// Whether the uncompressed, valid name at `offset` of `message` matches.
    public func matches(nameIn message: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        switch self {
        case .exact(let wire): Self.equals(message, offset, wire)
        case .below(let wire): Self.isBelow(message, offset, wire)
        case .glob(let pattern):
            withUnsafeTemporaryAllocation(byteCount: Self.longestText, alignment: 1) { text in
                let count = Self.write(nameIn: message, at: offset, to: text)
                return Self.glob(pattern, UnsafeRawBufferPointer(rebasing: text[..<count]))
            }
        }
    }

    /// Whether a name matches, given in lower-case presentation form without the trailing dot.
    public func matches(text: UnsafeRawBufferPointer) -> Bool {
        switch self {
        case .glob(let pattern): Self.glob(pattern, text)
        case .exact, .below:
            (try? Name(parsing: text)).map { name in
                name.wire.withUnsafeBytes { matches(nameIn: $0, at: 0) }
            } ?? false
        }
    }

    public var description: String {
        switch self {
        case .exact(let wire): Name(uncheckedWire: wire).description
        case .below(let wire): "*.\(Name(uncheckedWire: wire))"
        case .glob(let pattern): String(decoding: pattern, as: UTF8.self)
        }
    }

    // MARK: Comparing

    private static func equals(_ message: UnsafeRawBufferPointer, _ offset: Int, _ wire: [UInt8]) -> Bool {
        guard offset + wire.count <= message.count else { return false }
        // Lowercasing leaves length bytes unchanged: they are below 64.
        for index in wire.indices where ASCII.lowercased(message[offset + index]) != wire[index] { return false }
        return true
    }

    private static func isBelow(_ message: UnsafeRawBufferPointer, _ offset: Int, _ wire: [UInt8]) -> Bool {
        var end = offset
        while end < message.count, message[end] != 0 {
            guard message[end] <= Name.maximumLabelLength else { return false }
            end += Int(message[end]) + 1
        }
        let start = end + 1 - wire.count
        var cursor = offset
        while cursor < start { cursor += Int(message[cursor]) + 1 }
        return cursor == start && start > offset && equals(message, start, wire)
    }

    /// The longest presentation form: four bytes for each byte of a name.
    static let longestText = 4 * Name.maximumLength

    /// Writes the lower-case presentation form of a valid uncompressed name, without the trailing dot (the root: `.`);
    /// returns its length.
    static func write(
        nameIn message: UnsafeRawBufferPointer, at offset: Int, to text: UnsafeMutableRawBufferPointer
    ) -> Int {
        var count = 0
        func append(_ byte: UInt8) {
            guard count < text.count else { return }
            text[count] = byte
            count += 1
        }
        var cursor = offset
        while cursor < message.count, message[cursor] != 0 {
            let length = Int(message[cursor])
            guard length <= Name.maximumLabelLength, cursor + length < message.count else { return count }
            if cursor > offset { append(UInt8(ascii: ".")) }
            for index in (cursor + 1)...(cursor + length) {
                let byte = ASCII.lowercased(message[index])
                switch byte {
                case UInt8(ascii: "."), UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: ";"),
                    UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "@"), UInt8(ascii: "$"):
                    append(UInt8(ascii: "\\"))
                    append(byte)
                case 0x21...0x7E: append(byte)
                default:
                    append(UInt8(ascii: "\\"))
                    append(48 + byte / 100)
                    append(48 + byte / 10 % 10)
                    append(48 + byte % 10)
                }
            }
            cursor += length + 1
        }
        if count == 0 { append(UInt8(ascii: ".")) }
        return count
    }

    /// Whether `text` matches `pattern`. After a mismatch the last `*` takes one byte more, so the time is bounded by
    /// the product of their lengths.
    static func glob(_ pattern: [UInt8], _ text: UnsafeRawBufferPointer) -> Bool {
        pattern.withUnsafeBufferPointer { pattern in
            let star = UInt8(ascii: "*")
            var at = 0
            var cursor = 0
            var lastStar = -1
            var resume = 0
            while cursor < text.count {
                if at < pattern.count, pattern[at] == star {
                    lastStar = at
                    at += 1
                    resume = cursor
                } else if at < pattern.count, pattern[at] == text[cursor] {
                    at += 1
                    cursor += 1
                } else if lastStar >= 0 {
                    at = lastStar + 1
                    resume += 1
                    guard at < pattern.count, let base = text.baseAddress else { return at == pattern.count }
                    // Where the rest of the pattern can begin at all.
                    let rest = text.count - resume
                    guard let next = memchr(base + resume, Int32(pattern[at]), rest) else { return false }
                    resume = UnsafeRawPointer(next) - base
                    cursor = resume
                } else {
                    return false
                }
            }
            while at < pattern.count, pattern[at] == star { at += 1 }
            return at == pattern.count
        }
    }
}
