import DNSWire

/// Matches names by substring; `*.acme.org` matches names below acme.org; empty text matches all.
public struct NameSearch: Sendable, Hashable {
    private let part: [UInt8]
    private let isSuffix: Bool

    /// ASCII case is ignored; non-ASCII text is searched for as A-labels.
    public init(_ text: String) {
        var bytes = Array((InternationalName.toASCII(text) ?? text).utf8.map(ASCII.lowercased))
        isSuffix = bytes.starts(with: "*.".utf8)
        if isSuffix {
            bytes.removeFirst()
            if bytes.last != UInt8(ascii: ".") { bytes.append(UInt8(ascii: ".")) }
        }
        part = bytes
    }

    /// `wire`: a folded, uncompressed name. Allocates nothing.
    public func matches(_ wire: UnsafeRawBufferPointer) -> Bool {
        guard !part.isEmpty, wire.count <= Name.maximumLength else { return part.isEmpty }
        // The text without escapes is as long as the wire form without its first length byte.
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Name.maximumLength) { text in
            var count = 0
            var cursor = 0
            while cursor < wire.count, wire[cursor] > 0 {
                let end = min(cursor + 1 + Int(wire[cursor]), wire.count)
                for index in (cursor + 1)..<end {
                    text[count] = wire[index]
                    count += 1
                }
                text[count] = UInt8(ascii: ".")
                count += 1
                cursor = end
            }
            guard count >= part.count else { return false }
            let starts = isSuffix ? (count - part.count)...(count - part.count) : 0...(count - part.count)
            return starts.contains { start in
                for index in part.indices where text[start + index] != part[index] { return false }
                return true
            }
        }
    }
}
