/// A domain name in uncompressed wire form; case is preserved and ignored in comparisons.
///
/// The owned form, for configuration, compilation and printing. The fast lane uses `LookupName` instead.
/// - RFC: 1035 3.1; 4343 for case; 9499 2 for terms.
public struct Name: Sendable {
    /// Length-prefixed labels and the root's zero, 1 to 255 bytes.
    public let wire: [UInt8]

    /// The longest name, in bytes of wire form (RFC 1035 2.3.4).
    public static let maximumLength = 255
    /// The longest label, in bytes without its length byte (RFC 1035 2.3.4).
    public static let maximumLabelLength = 63

    public static let root = Name(uncheckedWire: [0])

    /// Takes over bytes known to be a valid uncompressed name.
    public init(uncheckedWire wire: [UInt8]) {
        self.wire = wire
    }

    /// Checks `wire`: labels of 1 to 63 bytes, a zero at the very end, at most 255 bytes.
    public init?(wire: some Collection<UInt8>) {
        guard wire.count <= Self.maximumLength else { return nil }
        var index = wire.startIndex
        while index != wire.endIndex {
            let length = Int(wire[index])
            guard length <= Self.maximumLabelLength else { return nil }
            guard let next = wire.index(index, offsetBy: length + 1, limitedBy: wire.endIndex) else { return nil }
            if length == 0 {
                guard next == wire.endIndex else { return nil }
                self.wire = Array(wire)
                return
            }
            index = next
        }
        return nil
    }

    /// Labels from left to right, without the root's empty one.
    public var labels: [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        var index = 0
        while wire[index] != 0 {
            let length = Int(wire[index])
            result.append(wire[(index + 1)...(index + length)])
            index += length + 1
        }
        return result
    }

    /// The number of labels without the root's.
    public var labelCount: Int {
        var count = 0
        var index = 0
        while wire[index] != 0 {
            index += Int(wire[index]) + 1
            count += 1
        }
        return count
    }

    public var isRoot: Bool { wire.count == 1 }

    /// The name without its leftmost label; nil for the root.
    public var parent: Name? {
        isRoot ? nil : Name(uncheckedWire: Array(wire[(Int(wire[0]) + 1)...]))
    }

    /// Whether the leftmost label is `*` (RFC 4592 2.1.1).
    public var isWildcard: Bool { wire.count > 2 && wire[0] == 1 && wire[1] == UInt8(ascii: "*") }

    /// The wire form in lower case, which equal names share.
    public var canonicalWire: [UInt8] { wire.map(ASCII.lowercased) }

    /// Whether `self` is `ancestor` or below it.
    public func isAtOrBelow(_ ancestor: Name) -> Bool {
        guard wire.count >= ancestor.wire.count else { return false }
        let start = wire.count - ancestor.wire.count
        var index = 0
        while index < start { index += Int(wire[index]) + 1 }
        guard index == start else { return false }
        return zip(wire[start...], ancestor.wire).allSatisfy { ASCII.lowercased($0) == ASCII.lowercased($1) }
    }

    /// Whether `self` is strictly below `ancestor`.
    public func isBelow(_ ancestor: Name) -> Bool {
        wire.count > ancestor.wire.count && isAtOrBelow(ancestor)
    }

    /// The name with `label` in front; nil if it would be too long.
    public func prepending(label: some Collection<UInt8>) -> Name? {
        guard (1...Self.maximumLabelLength).contains(label.count), wire.count + label.count + 1 <= Self.maximumLength
        else { return nil }
        return Name(uncheckedWire: [UInt8(label.count)] + label + wire)
    }
}

extension Name: Hashable {
    public static func == (left: Name, right: Name) -> Bool {
        left.wire.count == right.wire.count
            && zip(left.wire, right.wire).allSatisfy { ASCII.lowercased($0) == ASCII.lowercased($1) }
    }

    public func hash(into hasher: inout Hasher) {
        for byte in wire { hasher.combine(ASCII.lowercased(byte)) }
    }
}

extension Name: Comparable {
    /// Canonical DNS name order: label by label from the right, as lower-case bytes (RFC 4034 6.1).
    public static func < (left: Name, right: Name) -> Bool {
        for (a, b) in zip(left.labels.reversed(), right.labels.reversed()) {
            let folded = (a.map(ASCII.lowercased), b.map(ASCII.lowercased))
            if folded.0 != folded.1 { return folded.0.lexicographicallyPrecedes(folded.1) }
        }
        return left.labelCount < right.labelCount
    }
}

extension Name: CustomStringConvertible {
    /// Presentation form with a trailing dot; all but plain printable bytes are escaped (RFC 4343 2.1).
    public var description: String {
        if isRoot { return "." }
        var text: [UInt8] = []
        text.reserveCapacity(wire.count)
        for label in labels {
            for byte in label { ASCII.appendEscaped(byte, to: &text) }
            text.append(UInt8(ascii: "."))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Why a text is not a domain name.
    public enum ParseError: Error, Equatable, CustomStringConvertible {
        case empty, emptyLabel, labelTooLong, nameTooLong, badEscape

        public var description: String {
            switch self {
            case .empty: "the name is empty"
            case .emptyLabel: "the name has an empty label (two dots in a row, or one in front)"
            case .labelTooLong: "a label is longer than 63 bytes"
            case .nameTooLong: "the name is longer than 255 bytes"
            case .badEscape: "a backslash is followed by neither a character nor three digits up to 255"
            }
        }
    }

    /// Parses presentation form with `\.` and `\DDD` escapes; appends `origin` to a name without a trailing dot.
    ///
    /// - RFC: 1035 5.1.
    public init(parsing text: some Sequence<UInt8>, origin: Name = .root) throws(ParseError) {
        var wire: [UInt8] = [0]
        var labelStart = 0
        var absolute = false
        var any = false
        var iterator = text.makeIterator()
        while let byte = iterator.next() {
            any = true
            if absolute {  // a dot closed the last label; more text opens another
                absolute = false
                labelStart = wire.count
                wire.append(0)
            }
            switch byte {
            case UInt8(ascii: "."):
                let length = wire.count - labelStart - 1
                if length == 0 {
                    guard labelStart == 0, iterator.next() == nil else { throw .emptyLabel }
                    self = .root
                    return
                }
                wire[labelStart] = UInt8(length)
                absolute = true
            case UInt8(ascii: "\\"):
                guard let first = iterator.next() else { throw .badEscape }
                if ASCII.isDigit(first) {
                    guard let second = iterator.next(), let third = iterator.next(), ASCII.isDigit(second),
                        ASCII.isDigit(third)
                    else { throw .badEscape }
                    let value = Int(first - 48) * 100 + Int(second - 48) * 10 + Int(third - 48)
                    guard value <= 255 else { throw .badEscape }
                    wire.append(UInt8(value))
                } else {
                    wire.append(first)
                }
            default:
                wire.append(byte)
            }
            guard wire.count - labelStart - 1 <= Self.maximumLabelLength else { throw .labelTooLong }
            guard wire.count <= Self.maximumLength else { throw .nameTooLong }
        }
        guard any else { throw .empty }
        if absolute {
            wire.append(0)
        } else {
            wire[labelStart] = UInt8(wire.count - labelStart - 1)
            wire += origin.wire
        }
        guard wire.count <= Self.maximumLength else { throw .nameTooLong }
        self.wire = wire
    }

    /// Parses presentation form, relative to the root; nil if it is invalid.
    public init?(_ text: String) {
        guard let name = try? Name(parsing: text.utf8) else { return nil }
        self = name
    }
}

/// Facts about ASCII that the DNS depends on.
public enum ASCII {
    /// Folds `A` to `Z`, leaves other bytes unchanged (RFC 4343 3).
    @inlinable
    public static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    @inlinable
    public static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// Appends `byte` of a label as presentation text: plain, `\.`-escaped, or `\DDD`.
    public static func appendEscaped(_ byte: UInt8, to text: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: ";"), UInt8(ascii: "("),
            UInt8(ascii: ")"), UInt8(ascii: "@"), UInt8(ascii: "$"):
            text.append(UInt8(ascii: "\\"))
            text.append(byte)
        case 0x21...0x7E:
            text.append(byte)
        default:
            text.append(UInt8(ascii: "\\"))
            text.append(48 + byte / 100)
            text.append(48 + byte / 10 % 10)
            text.append(48 + byte % 10)
        }
    }
}
