internal import DNSWire

/// One field of RDATA, as it is written in a master file and as it travels.
enum RecordDataField: UInt8, BitwiseCopyable {
    case name
    case u8, u16, u32
    /// 32 bits of seconds, `1h30m` or digits.
    case period
    /// 64 bits as digits.
    case u64
    case ipv4, ipv6
    /// A character-string: one length byte, at most 255 bytes.
    case string
    /// The same, or nothing.
    case optionalString
    /// One character-string or more, to the end.
    case strings
    /// Text without a length byte, to the end (CAA value, URI target).
    case text
    /// The tag of CAA: a character-string of letters and digits.
    case tag
    /// Hexadecimal digits to the end, at least one byte.
    case hex
    /// The same, as long as the digest type in the byte before says (DS, ZONEMD).
    case dsDigest, zonemdDigest
    /// Base64 to the end: at least one byte; or none where the flags of KEY say so; or `-` for none.
    case base64, keyOrNone, base64OrDash
    /// A length byte, then hexadecimal digits; `-` is none.
    case salt
    /// A length byte, then base32hex.
    case nextHash
    /// Types to the end, or none.
    case typeBitmap
    case type
    /// A DNSSEC algorithm, as a number or mnemonic.
    case algorithm
    case certificateType
    /// What DSYNC does: `NOTIFY` or a number.
    case scheme
    /// 32 bits: YYYYMMDDHHMMSS or seconds.
    case time
    case eui48, eui64
    /// Four groups of four hexadecimal digits, as the lower half of an IPv6 address.
    case locator64
    /// `0x` and hexadecimal digits with dots anywhere.
    case nsap
    case location
    case addressPrefixes
    case serviceParameters
    /// The gateway and key of IPSECKEY: precedence, gateway type, algorithm, gateway, key.
    case ipsecKey
    /// The relay of AMTRELAY: precedence, discovery, type, relay.
    case relay
    /// HIP: algorithm, HIT, key, rendezvous servers.
    case hostIdentity
    /// PSDN address of X25: at least four digits.
    case x25
}

/// What the RDATA of a type is made of.
struct RecordDataShape: Sendable {
    let fields: [RecordDataField]

    /// The shape of `type`; nil where only libldns or RFC 3597's `\#` can read it.
    static func of(_ type: RecordType) -> RecordDataShape? {
        let number = Int(type.rawValue)
        if number < table.count { return table[number] }
        return number == 32768 || number == 32769 ? table[43] : nil  // TA and DLV are DS by other names
    }

    private static let table: [RecordDataShape?] = {
        var table = [RecordDataShape?](repeating: nil, count: 265)
        for (numbers, fields) in shapes {
            for number in numbers { table[number] = RecordDataShape(fields: fields) }
        }
        return table
    }()

    private static let shapes: [([Int], [RecordDataField])] = [
        ([1], [.ipv4]),
        ([2, 3, 4, 5, 7, 8, 9, 12, 23, 39], [.name]),
        ([6], [.name, .name, .u32, .period, .period, .period, .period]),
        ([13], [.string, .string]),
        ([14, 17, 58], [.name, .name]),
        ([15, 18, 21, 36, 107], [.u16, .name]),
        ([16, 56, 99, 258, 261, 262, 263], [.strings]),
        ([19], [.x25]),
        ([20], [.string, .optionalString]),
        ([22], [.nsap]),
        ([24, 46], [.type, .algorithm, .u8, .period, .time, .time, .u16, .name, .base64]),
        ([25], [.u16, .u8, .algorithm, .keyOrNone]),
        ([26], [.u16, .name, .name]),
        ([27], [.string, .string, .string]),
        ([28], [.ipv6]),
        ([29], [.location]),
        ([31, 32], [.hex]),
        ([33], [.u16, .u16, .u16, .name]),
        ([35], [.u16, .u16, .string, .string, .string, .name]),
        ([37], [.certificateType, .u16, .algorithm, .base64]),
        ([42], [.addressPrefixes]),
        ([43, 59], [.u16, .algorithm, .u8, .dsDigest]),
        ([44], [.u8, .u8, .hex]),
        ([45], [.ipsecKey]),
        ([47], [.name, .typeBitmap]),
        ([48, 57, 60], [.u16, .u8, .algorithm, .base64]),
        ([49, 61, 67, 68], [.base64]),
        ([50], [.u8, .u8, .u16, .salt, .nextHash, .typeBitmap]),
        ([51], [.u8, .u8, .u16, .salt]),
        ([52, 53], [.u8, .u8, .u8, .hex]),
        ([55], [.hostIdentity]),
        ([62], [.u32, .u16, .typeBitmap]),
        ([63], [.u32, .u8, .u8, .zonemdDigest]),
        ([64, 65], [.u16, .name, .serviceParameters]),
        ([66], [.type, .scheme, .u16, .name]),
        ([104], [.u16, .locator64]),
        ([105], [.u16, .ipv4]),
        ([106], [.u16, .locator64]),
        ([108], [.eui48]),
        ([109], [.eui64]),
        ([256], [.u16, .u16, .text]),
        ([257], [.u8, .tag, .text]),
        ([259], [.u32, .u32, .u8, .string, .base64OrDash]),
        ([260], [.relay]),
        ([264], [.u64]),
    ]
}

/// Type mnemonics looked up by their bytes, without a string.
enum TypeMnemonic {
    /// The type that `bytes` names, in any case, as mnemonic or `TYPE123`.
    static func type(of bytes: UnsafeBufferPointer<UInt8>) -> RecordType? {
        guard (1...16).contains(bytes.count) else { return nil }
        var packed: UInt128 = 0
        for byte in bytes { packed = packed << 8 | UInt128(ASCII.lowercased(byte)) }
        if packed == 0x61 { return .a }
        if let number = numbers[packed] { return RecordType(rawValue: number) }
        guard bytes.count > 4, packed >> (8 * UInt128(bytes.count - 4)) == 0x7479_7065 else { return nil }
        guard bytes.count <= 9 else { return nil }
        var value = 0
        for byte in bytes[4...] {
            guard ASCII.isDigit(byte) else { return nil }
            value = value * 10 + Int(byte - 48)
        }
        return UInt16(exactly: value).map(RecordType.init(rawValue:))
    }

    private static let numbers = Dictionary(
        uniqueKeysWithValues: RecordType.mnemonics.map { text, number in
            (text.utf8.reduce(0 as UInt128) { $0 << 8 | UInt128(ASCII.lowercased($1)) }, number)
        })
}
