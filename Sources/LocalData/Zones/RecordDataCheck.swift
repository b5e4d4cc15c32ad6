internal import DNSWire

/// Checks that RDATA in wire form has the form that its type prescribes: secondaries refuse a whole zone for one
/// malformed record.
///
/// - RFC: 3597 5 allows known types to be written as `\# LENGTH HEX`, and 4 keeps names in them uncompressed.
struct RecordDataCheck {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    /// Set if there is more to say than that the bytes don't fit.
    private var reason: String?

    private init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// What is wrong with `bytes`; nil if they match `shape`.
    static func problem(_ bytes: UnsafeBufferPointer<UInt8>, _ shape: RecordDataShape) -> String? {
        var check = RecordDataCheck(bytes)
        let isWellFormed = shape.fields.allSatisfy { check.take($0) } && check.position == bytes.count
        return isWellFormed ? nil : check.reason ?? "these bytes are not what a record of this type holds"
    }

    private var left: Int { bytes.count - position }
    private var rest: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(rebasing: bytes[position...]) }

    private mutating func skip(_ count: Int) -> Bool {
        guard count <= left else { return false }
        position += count
        return true
    }

    private mutating func skipRest(atLeast count: Int) -> Bool {
        guard left >= count else { return false }
        position = bytes.count
        return true
    }

    private mutating func fail(_ reason: String) -> Bool {
        self.reason = reason
        return false
    }

    private mutating func name() -> Bool {
        let start = position
        while position < bytes.count {
            let length = Int(bytes[position])
            guard length <= Name.maximumLabelLength, skip(length + 1), position - start <= Name.maximumLength else {
                return false
            }
            if length == 0 { return true }
        }
        return false
    }

    private mutating func string(atLeast minimum: Int = 0) -> Bool {
        guard left > 0, bytes[position] >= minimum else { return false }
        return skip(Int(bytes[position]) + 1)
    }

    /// A character-string whose text `isValid`.
    private mutating func string(
        atLeast minimum: Int = 0, _ isValid: (UnsafeBufferPointer<UInt8>) -> Bool
    ) -> Bool {
        let start = position + 1
        return string(atLeast: minimum) && isValid(UnsafeBufferPointer(rebasing: bytes[start..<position]))
    }

    private mutating func take(_ field: RecordDataField) -> Bool {
        switch field {
        case .name: return name()
        case .u8, .algorithm, .scheme: return skip(1)
        case .u16, .type, .certificateType: return skip(2)
        case .u32, .period, .originalTTL, .ipv4, .time: return skip(4)
        case .eui48: return skip(6)
        case .node, .eui64, .locator64: return skip(8)
        case .ipv6: return skip(16)
        case .string, .salt: return string()
        case .x25: return string(atLeast: 4) { $0.allSatisfy(ASCII.isDigit) }
        case .latitude: return degrees(90)
        case .longitude: return degrees(180)
        case .altitude: return degrees(nil)
        case .optionalString: return left == 0 || string()
        case .strings:
            repeat { guard string() else { return false } } while left > 0
            return true
        case .text, .base64OrDash, .optionalBase64: return skipRest(atLeast: 0)
        case .target: return skipRest(atLeast: 1) || fail("the target is empty")
        case .tag: return string(atLeast: 1) { $0.allSatisfy(RecordDataParser.isLetterOrDigit) }
        case .hex, .base64, .nsap: return skipRest(atLeast: 1)
        case .identifier: return skipRest(atLeast: 4) || fail("a DHCID has at least 4 bytes, this one \(left)")
        case .zeroFlags:
            return skip(2) && (bytes[position - 2] | bytes[position - 1] == 0 || fail("the flags must be 0"))
        case .dsDigest: return digest([1: 20, 2: 32, 3: 32, 4: 48, 5: 32, 6: 32], atLeast: 1)
        case .fingerprint: return digest([1: 20, 2: 32], atLeast: 1)
        case .zonemdDigest: return digest([1: 48, 2: 64], atLeast: 12)
        case .key: return key(algorithm: 3)
        case .keyOrNone: return left == 0 ? bytes[0] & 0xC0 == 0xC0 : key(algorithm: 3)  // RFC 2535 3.1.2
        case .signature: return key(algorithm: 2)
        case .signer: return signer()
        case .nextHash: return nextHash()
        case .types: return left > 0 ? types() : fail("at least one type must follow")
        case .typesOrNone: return types()
        case .location: return location()
        case .addressPrefixes: return addressPrefixes()
        case .serviceParameters: return serviceParameters()
        case .atma:
            return left >= 2 && (bytes[position] != 1 || rest.dropFirst().allSatisfy(ASCII.isDigit))
                && skipRest(atLeast: 2)
        case .services:
            return left >= 1 && left <= 8193 && (left == 1 || bytes[bytes.count - 1] != 0)
                && skipRest(atLeast: 1)
        case .ipsecKey:
            guard left >= 3 else { return false }
            let (type, algorithm) = (bytes[position + 1], bytes[position + 2])
            guard skip(3), gateway(type) else { return false }
            guard algorithm == 0 else { return skipRest(atLeast: 1) }
            return left == 0 || fail("algorithm 0 means that there is no key")
        case .relay:
            guard left >= 2 else { return false }
            let type = bytes[position + 1] & 0x7F
            return skip(2) && gateway(type)
        case .hostIdentity:
            guard left >= 4, bytes[position] > 0 else { return false }
            let key = Int(bytes[position + 2]) << 8 | Int(bytes[position + 3])
            guard key > 0, skip(4 + Int(bytes[position]) + key) else { return false }
            while left > 0 { guard name() else { return false } }
            return true
        }
    }

    // MARK: Digests and keys

    /// A digest whose length depends on the digest type in the byte before it.
    private mutating func digest(_ lengths: [Int: Int], atLeast minimum: Int) -> Bool {
        let type = Int(bytes[position - 1])
        if let wanted = lengths[type] {
            return left == wanted
                ? skip(wanted) : fail("a digest of type \(type) has \(wanted) bytes, this one \(left)")
        }
        return skipRest(atLeast: minimum) || fail("a digest has at least \(minimum) bytes, this one \(left)")
    }

    /// A key or signature; that of a private algorithm starts with a name or an object identifier.
    ///
    /// - RFC: 4034 A.1.1.
    private mutating func key(algorithm index: Int) -> Bool {
        switch bytes[index] {
        case 253:
            return name() && skipRest(atLeast: 0) || fail("a key of PRIVATEDNS starts with the algorithm's name")
        case 254:
            guard left > 1, case let length = Int(bytes[position]), length > 0, length < left,
                Self.isObjectIdentifier(bytes[(position + 1)...(position + length)])
            else { return fail("a key of PRIVATEOID starts with the algorithm's object identifier") }
        default: break
        }
        return skipRest(atLeast: 1)
    }

    /// Tag 6, a length below 128 that fits, and base-128 integers.
    private static func isObjectIdentifier(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard bytes.count > 2, bytes[bytes.startIndex] == 6, Int(bytes[bytes.startIndex + 1]) == bytes.count - 2 else {
            return false
        }
        let numbers = bytes.dropFirst(2)
        var isFirst = true
        for byte in numbers {
            if isFirst, byte == 0x80 { return false }
            isFirst = byte & 0x80 == 0
        }
        return isFirst
    }

    /// - RFC: 4035 5.3.1: the signer is the zone, whose name is a suffix of the owner name.
    private mutating func signer() -> Bool {
        let start = position
        guard name() else { return false }
        var labels = 0
        var at = start
        while bytes[at] != 0 {
            labels += 1
            at += Int(bytes[at]) + 1
        }
        return labels <= Int(bytes[3]) || fail("the signer's name has \(labels) labels, the signed one \(bytes[3])")
    }

    private mutating func nextHash() -> Bool {
        let start = position
        guard string(atLeast: 1) else { return false }
        // SHA-1 is the only algorithm (RFC 5155 11).
        return bytes[0] != 1 || bytes[start] == 20 || fail("a hash of SHA-1 has 20 bytes, this one \(bytes[start])")
    }

    // MARK: Other fields

    private mutating func gateway(_ type: UInt8) -> Bool {
        switch type {
        case 0: true
        case 1: skip(4)
        case 2: skip(16)
        case 3: name()
        default: false
        }
    }

    /// Window numbers ascend, and no window ends with a zero byte (RFC 4034 4.1.2).
    private mutating func types() -> Bool {
        var last = -1
        while left > 0 {
            guard left >= 2 else { return false }
            let (window, length) = (Int(bytes[position]), Int(bytes[position + 1]))
            guard window > last, (1...32).contains(length), skip(2 + length), bytes[position - 1] != 0 else {
                return false
            }
            last = window
        }
        return true
    }

    /// A decimal number in a character-string, its integer part at most `limit`.
    ///
    /// - RFC: 1712 3.
    private mutating func degrees(_ limit: Int?) -> Bool {
        let isNumber = string(atLeast: 1) { text in
            let digits = text.first == UInt8(ascii: "-") ? text.dropFirst() : text[...]
            let parts = digits.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(ASCII.isDigit) }) else { return false }
            guard let limit else { return true }
            let whole = parts[0].reduce(0) { min($0 * 10 + Int($1 - 48), 1000) }
            let isMore = parts.count > 1 && parts[1].contains { $0 != UInt8(ascii: "0") }
            return whole < limit || whole == limit && !isMore
        }
        guard !isNumber else { return true }
        return fail(limit.map { "a number from -\($0) to \($0) is expected" } ?? "a number of metres is expected")
    }

    private mutating func location() -> Bool {
        guard left > 0 else { return false }
        if bytes[position] != 0 { return skipRest(atLeast: 1) }  // a version that is yet to be written
        guard left == 16 else { return false }
        for size in bytes[(position + 1)...(position + 3)] where size >> 4 > 9 || size & 15 > 9 { return false }
        func angle(_ at: Int) -> Int { (0..<4).reduce(0) { $0 << 8 | Int(bytes[position + at + $1]) } - (1 << 31) }
        return abs(angle(4)) <= 90 * 3_600_000 && abs(angle(8)) <= 180 * 3_600_000 && skip(16)
    }

    private mutating func addressPrefixes() -> Bool {
        while left > 0 {
            guard left >= 4 else { return false }
            let family = Int(bytes[position]) << 8 | Int(bytes[position + 1])
            let (prefix, length) = (bytes[position + 2], Int(bytes[position + 3] & 0x7F))
            guard skip(4), skip(length), length == 0 || bytes[position - 1] != 0 else { return false }
            switch family {
            case 1: guard prefix <= 32, length <= 4 else { return false }
            case 2: guard prefix <= 128, length <= 16 else { return false }
            default: break
            }
        }
        return true
    }
}

/// The parameters of SVCB and HTTPS.
extension RecordDataCheck {
    /// Keys ascend, each value has the form of its key, and keys required by others are present.
    ///
    /// - RFC: 9460 2.2, 7, 8 and 14.3.2.
    private mutating func serviceParameters() -> Bool {
        let start = position
        var last = -1
        var mandatory: UnsafeBufferPointer<UInt8>?
        var hasProtocols = false
        while left > 0 {
            guard left >= 4 else { return false }
            let key = Int(bytes[position]) << 8 | Int(bytes[position + 1])
            let length = Int(bytes[position + 2]) << 8 | Int(bytes[position + 3])
            guard key > last, skip(4), length <= left else { return false }
            let value = UnsafeBufferPointer(rebasing: bytes[position..<(position + length)])
            if let problem = Self.problem(of: value, key: key) { return fail(problem) }
            switch key {
            case 0: mandatory = value
            case 1: hasProtocols = true
            case 2: guard hasProtocols else { return fail("no-default-alpn needs alpn") }
            default: break
            }
            position += length
            last = key
        }
        guard let mandatory else { return true }
        for index in stride(from: 0, to: mandatory.count, by: 2) {
            let key = Int(mandatory[index]) << 8 | Int(mandatory[index + 1])
            guard has(key, from: start) else { return fail("\(Self.name(of: key)) is mandatory but not given") }
        }
        return true
    }

    /// Whether the parameters from `start` on, which are well formed, include `key`.
    private func has(_ key: Int, from start: Int) -> Bool {
        var at = start
        while at < bytes.count {
            if Int(bytes[at]) << 8 | Int(bytes[at + 1]) == key { return true }
            at += 4 + (Int(bytes[at + 2]) << 8 | Int(bytes[at + 3]))
        }
        return false
    }

    static let keys = [
        "mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp",
        "tls-supported-groups",
    ]

    static let reservedKey = "key65535 is reserved and must not be used"

    static func name(of key: Int) -> String { keys.indices.contains(key) ? keys[key] : "key\(key)" }

    /// What is wrong with `value` as the value of `key`.
    private static func problem(of value: UnsafeBufferPointer<UInt8>, key: Int) -> String? {
        let isValid =
            switch key {
            case 0: isMandatory(value)
            case 1: isProtocols(value)
            case 2, 8: value.isEmpty
            case 3: value.count == 2
            case 4: !value.isEmpty && value.count.isMultiple(of: 4)
            case 6: !value.isEmpty && value.count.isMultiple(of: 16)
            case 7: isTemplate(value)
            case 9: !value.isEmpty && value.count.isMultiple(of: 2)
            default: true
            }
        if isValid { return nil }
        switch key {
        case 0: return "mandatory lists other keys, each once and in order"
        case 2, 8: return "\(name(of: key)) takes no value"
        case 7: return "dohpath is a UTF-8 template such as /dns-query{?dns}"
        default: return "these bytes are not a value of \(name(of: key))"
        }
    }

    /// Ascending keys, none of them 0.
    private static func isMandatory(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard !value.isEmpty, value.count.isMultiple(of: 2) else { return false }
        var last = 0
        for index in stride(from: 0, to: value.count, by: 2) {
            let key = Int(value[index]) << 8 | Int(value[index + 1])
            guard key > last else { return false }
            last = key
        }
        return true
    }

    private static func isProtocols(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        var check = RecordDataCheck(value)
        while check.left > 0 { guard check.string(atLeast: 1) else { return false } }
        return !value.isEmpty
    }

    /// A relative URI template with the variable `dns`.
    ///
    /// - RFC: 9461 5; 6570 2.
    private static func isTemplate(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard value.first == UInt8(ascii: "/"), String(validating: value, as: UTF8.self) != nil else { return false }
        var rest = value[...]
        var hasVariable = false
        while let start = rest.firstIndex(where: { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") }) {
            guard rest[start] == UInt8(ascii: "{"), let end = rest[start...].firstIndex(of: UInt8(ascii: "}")) else {
                return false
            }
            var expression = rest[(start + 1)..<end]
            if let first = expression.first, "+#./;?&".utf8.contains(first) { expression = expression.dropFirst() }
            for variable in expression.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                let name = variable.prefix { RecordDataParser.isLetterOrDigit($0) || $0 == UInt8(ascii: "_") }
                guard !name.isEmpty, isModifier(variable[name.endIndex...]) else { return false }
                hasVariable = hasVariable || name.elementsEqual("dns".utf8)
            }
            rest = rest[(end + 1)...]
        }
        return hasVariable
    }

    /// `*`, `:1` to `:9999`, or nothing.
    private static func isModifier(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard let first = text.first else { return true }
        if first == UInt8(ascii: "*") { return text.count == 1 }
        let digits = text.dropFirst()
        return first == UInt8(ascii: ":") && (1...4).contains(digits.count) && digits.allSatisfy(ASCII.isDigit)
            && digits.first != UInt8(ascii: "0")
    }
}
