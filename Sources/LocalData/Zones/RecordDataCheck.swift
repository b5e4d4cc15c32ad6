internal import DNSWire

/// Whether RDATA that was written as `\# LENGTH HEX` has the form that its type prescribes.
///
/// - RFC: 3597 5 lets known types be written so, and 4 keeps names in them uncompressed.
struct RecordDataCheck {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    private init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    static func isWellFormed(_ bytes: UnsafeBufferPointer<UInt8>, _ shape: RecordDataShape) -> Bool {
        var check = RecordDataCheck(bytes)
        return shape.fields.allSatisfy { check.take($0) } && check.position == bytes.count
    }

    private var left: Int { bytes.count - position }

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

    private mutating func take(_ field: RecordDataField) -> Bool {
        switch field {
        case .name: return name()
        case .u8, .algorithm, .scheme: return skip(1)
        case .u16, .type, .certificateType: return skip(2)
        case .u32, .period, .ipv4, .time: return skip(4)
        case .eui48: return skip(6)
        case .u64, .eui64, .locator64: return skip(8)
        case .ipv6: return skip(16)
        case .string: return string()
        case .x25: return string(atLeast: 4)
        case .optionalString: return left == 0 || string()
        case .strings:
            repeat { guard string() else { return false } } while left > 0
            return true
        case .text, .base64OrDash: return skipRest(atLeast: 0)
        case .keyOrNone: return skipRest(atLeast: bytes[0] & 0xC0 == 0xC0 ? 0 : 1)
        case .tag: return string(atLeast: 1)
        case .hex, .base64, .nsap: return skipRest(atLeast: 1)
        case .dsDigest: return digest([1: 20, 2: 32, 4: 48])
        case .zonemdDigest: return digest([1: 48, 2: 64])
        case .salt: return string()
        case .nextHash: return string(atLeast: 1)
        case .typeBitmap: return typeBitmap()
        case .location: return location()
        case .addressPrefixes: return addressPrefixes()
        case .serviceParameters: return serviceParameters()
        case .ipsecKey:
            guard left >= 3 else { return false }
            let (type, algorithm) = (bytes[position + 1], bytes[position + 2])
            return skip(3) && gateway(type) && skipRest(atLeast: algorithm == 0 ? 0 : 1)
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

    private mutating func digest(_ lengths: [Int: Int]) -> Bool {
        guard let wanted = lengths[Int(bytes[position - 1])] else { return skipRest(atLeast: 1) }
        return left == wanted && skip(wanted)
    }

    private mutating func gateway(_ type: UInt8) -> Bool {
        switch type {
        case 0: true
        case 1: skip(4)
        case 2: skip(16)
        case 3: name()
        default: false
        }
    }

    /// Windows ascend, and none ends with an empty byte (RFC 4034 4.1.2).
    private mutating func typeBitmap() -> Bool {
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

    /// Whether a parameter of SVCB may have these bytes as its value; keys from 8 on are newer than the checkers.
    static func isParameter(_ key: Int, _ value: UnsafeBufferPointer<UInt8>) -> Bool {
        switch key {
        case 0: return !value.isEmpty && value.count.isMultiple(of: 2)
        case 1:
            var check = RecordDataCheck(value)
            while check.left > 0 { guard check.string(atLeast: 1) else { return false } }
            return !value.isEmpty
        case 2: return value.isEmpty
        case 3: return value.count == 2
        case 4: return !value.isEmpty && value.count.isMultiple(of: 4)
        case 5: return !value.isEmpty
        case 7: return value.first == UInt8(ascii: "/")
        case 6: return !value.isEmpty && value.count.isMultiple(of: 16)
        default: return true
        }
    }

    private mutating func serviceParameters() -> Bool {
        var last = -1
        while left > 0 {
            guard left >= 4 else { return false }
            let key = Int(bytes[position]) << 8 | Int(bytes[position + 1])
            let length = Int(bytes[position + 2]) << 8 | Int(bytes[position + 3])
            guard key > last, skip(4), length <= left else { return false }
            let value = UnsafeBufferPointer(rebasing: bytes[position..<(position + length)])
            guard Self.isParameter(key, value), skip(length) else { return false }
            last = key
        }
        return true
    }
}
