/// The rule of a NAPTR record: `!pattern!replacement!flags`, with an extended regular expression as its pattern.
///
/// - RFC: 3402 3.2.
enum SubstitutionRule {
    static let form = "this is not a rule of the form !pattern!replacement! or !pattern!replacement!i"

    /// Whether `text` is a valid rule, or empty.
    static func isValid(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let delimiter = text.first else { return true }
        guard !isDigit(delimiter), delimiter != UInt8(ascii: "i"), delimiter != UInt8(ascii: "\\") else { return false }
        guard let patternEnd = end(of: text, from: 1, delimiter), patternEnd > 1,
            let groups = groups(in: text[1..<patternEnd], delimiter),
            let replacementEnd = end(of: text, from: patternEnd + 1, delimiter)
        else { return false }
        return refersToGroups(text[(patternEnd + 1)..<replacementEnd], groups)
            && text[(replacementEnd + 1)...].allSatisfy { $0 == UInt8(ascii: "i") }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// The position of the next unescaped delimiter.
    private static func end(of text: UnsafeBufferPointer<UInt8>, from start: Int, _ delimiter: UInt8) -> Int? {
        var position = start
        while position < text.count {
            if text[position] == delimiter { return position }
            position += text[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        return nil
    }

    /// Whether every `\N` refers to one of `groups`.
    private static func refersToGroups(_ text: Slice<UnsafeBufferPointer<UInt8>>, _ groups: Int) -> Bool {
        var rest = text
        while let slash = rest.firstIndex(of: UInt8(ascii: "\\")) {
            rest = rest[(slash + 1)...]
            guard let next = rest.popFirst() else { return false }
            guard !isDigit(next) || next > UInt8(ascii: "0") && Int(next - 48) <= groups else { return false }
        }
        return true
    }

    /// The number of groups in a pattern; nil if it is no valid regular expression.
    private static func groups(in pattern: Slice<UnsafeBufferPointer<UInt8>>, _ delimiter: UInt8) -> Int? {
        var rest = pattern
        var groups = 0
        var depth = 0
        // Whether `*` may follow.
        var hasAtom = false
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "("):
                groups += 1
                depth += 1
                hasAtom = false
            case UInt8(ascii: ")"):
                depth = max(0, depth - 1)
                hasAtom = true
            case UInt8(ascii: "["):
                guard skipBracket(&rest) else { return nil }
                hasAtom = true
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst(), !isDigit(escaped) else { return nil }
                hasAtom = true
            case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"):
                guard hasAtom else { return nil }
                hasAtom = false
            case UInt8(ascii: "{"):
                guard hasAtom, skipBounds(&rest) else { return nil }
                hasAtom = false
            case UInt8(ascii: "|"), UInt8(ascii: "^"): hasAtom = false
            default: hasAtom = true
            }
        }
        return depth == 0 ? groups : nil
    }

    /// Skips what follows `[`, up to its `]`. A `]` that comes first, or is inside `[:` `:]` and the like, is literal.
    private static func skipBracket(_ rest: inout Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        if rest.first == UInt8(ascii: "^") { rest = rest.dropFirst() }
        if rest.first == UInt8(ascii: "]") { rest = rest.dropFirst() }
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "]") { return true }
            guard byte == UInt8(ascii: "["), let kind = rest.first, ".:=".utf8.contains(kind) else { continue }
            rest = rest.dropFirst()
            while let inner = rest.popFirst(), inner != kind || rest.first != UInt8(ascii: "]") {}
            guard rest.popFirst() != nil else { return false }
        }
        return false
    }

    /// Skips what follows `{`: `1}`, `1,}` or `1,2}`.
    private static func skipBounds(_ rest: inout Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else { return false }
        let bounds = rest[..<end].split(separator: UInt8(ascii: ","), maxSplits: 1, omittingEmptySubsequences: false)
        rest = rest[(end + 1)...]
        return !bounds[0].isEmpty && bounds.allSatisfy { $0.allSatisfy(isDigit) }
    }
}
