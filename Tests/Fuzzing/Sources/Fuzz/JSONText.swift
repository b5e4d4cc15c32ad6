/// Only checks whether text is valid JSON, without a library, whose allocations would slow down each input.
///
/// - RFC: 8259.
struct JSONText {
    private var rest: ArraySlice<UInt8>

    static func isObject(_ bytes: ArraySlice<UInt8>) -> Bool {
        var text = JSONText(rest: bytes)
        return bytes.first == UInt8(ascii: "{") && text.value(depth: 0) && text.rest.isEmpty
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard rest.first == byte else { return false }
        rest = rest.dropFirst()
        return true
    }

    private mutating func value(depth: Int) -> Bool {
        guard depth < 16, let first = rest.first else { return false }
        switch first {
        case UInt8(ascii: "{"):
            return list(from: UInt8(ascii: "{"), to: UInt8(ascii: "}")) {
                $0.string() && $0.take(UInt8(ascii: ":")) && $0.value(depth: depth + 1)
            }
        case UInt8(ascii: "["):
            return list(from: UInt8(ascii: "["), to: UInt8(ascii: "]")) { $0.value(depth: depth + 1) }
        case UInt8(ascii: "\""): return string()
        default:
            let word = rest.prefix { !",]}".utf8.contains($0) }
            rest = rest.dropFirst(word.count)
            let text = String(decoding: word, as: UTF8.self)
            return ["true", "false", "null"].contains(text) || Double(text) != nil
        }
    }

    private mutating func list(from open: UInt8, to close: UInt8, _ item: (inout JSONText) -> Bool) -> Bool {
        guard take(open) else { return false }
        if take(close) { return true }
        repeat { guard item(&self) else { return false } } while take(UInt8(ascii: ","))
        return take(close)
    }

    private mutating func string() -> Bool {
        guard take(UInt8(ascii: "\"")) else { return false }
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\"") { return true }
            guard byte >= 0x20 else { return false }
            guard byte == UInt8(ascii: "\\") else { continue }
            guard let escape = rest.popFirst(), "\"\\/bfnrtu".utf8.contains(escape) else { return false }
            guard escape == UInt8(ascii: "u") else { continue }
            let digits = rest.prefix(4)
            guard digits.count == 4, UInt16(String(decoding: digits, as: UTF8.self), radix: 16) != nil else {
                return false
            }
            rest = rest.dropFirst(4)
        }
        return false
    }
}
