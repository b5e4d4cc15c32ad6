internal import DNSWire

/// One field of RDATA, in master file and wire form.
enum RecordDataField: UInt8, BitwiseCopyable {
    case name
    case u8, u16, u32
    /// 32 bits of seconds, `1h30m` or digits.
    case period
    /// The TTL in a signature: 32 bits of seconds as digits.
    case originalTTL
    /// 64 bits as digits, or two halves with a dot between.
    case node
    case ipv4, ipv6
    /// A character-string: one length byte, at most 255 bytes.
    case string
    /// The same, or nothing.
    case optionalString
    /// One character-string or more, to the end.
    case strings
    /// Degrees up to 90 or 180, or metres: a number in a character-string (GPOS).
    case latitude, longitude, altitude
    /// Text without a length byte, to the end (CAA value); at least one byte in quotes (URI target).
    case text, target
    /// The tag of CAA: a character-string of letters and digits.
    case tag
    /// Hexadecimal digits to the end, at least one byte.
    case hex
    /// The same, with the length that the preceding digest type prescribes (DS, SSHFP, ZONEMD).
    case dsDigest, fingerprint, zonemdDigest
    /// Base64 to the end: at least one byte; or none.
    case base64, optionalBase64
    /// Base64 to the end: a key or a signature of the preceding algorithm.
    case key, signature
    /// A key, or none if the flags of KEY say so.
    case keyOrNone
    /// Base64 or `-` for none.
    case base64OrDash
    /// Base64 to the end: at least four bytes (DHCID).
    case identifier
    /// 16 bits that are zero.
    case zeroFlags
    /// A length byte, then hexadecimal digits; `-` is none.
    case salt
    /// A length byte, then base32hex.
    case nextHash
    /// Types to the end, at least one; or none.
    case types, typesOrNone
    case type
    /// A DNSSEC algorithm, as a number or mnemonic.
    case algorithm
    case certificateType
    /// What DSYNC does: `NOTIFY` or a number.
    case scheme
    /// 32 bits: YYYYMMDDHHMMSS or seconds.
    case time
    /// The signer's name: the owner name has at least as many labels as the signature counts.
    case signer
    case eui48, eui64
    /// Four groups of four hexadecimal digits, as the lower half of an IPv6 address.
    case locator64
    /// `0x` and hexadecimal digits with dots anywhere.
    case nsap
    /// An ATM address: `+` and digits, or hexadecimal digits with dots anywhere.
    case atma
    /// A protocol and its ports (WKS).
    case services
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

    /// Readable text may still make malformed RDATA: `RecordDataCheck` then checks the bytes.
    var needsCheck: Bool {
        switch self {
        case .dsDigest, .fingerprint, .zonemdDigest, .identifier, .key, .keyOrNone, .signature, .signer, .nextHash,
            .zeroFlags, .types, .target, .latitude, .longitude, .altitude, .serviceParameters, .ipsecKey:
            true
        default: false
        }
    }
}

/// The fields that make up a type's RDATA.
struct RecordDataShape: Sendable {
    let fields: [RecordDataField]
    /// Whether RDATA read from text still needs `RecordDataCheck`.
    let needsCheck: Bool

    private init(fields: [RecordDataField]) {
        self.fields = fields
        needsCheck = fields.contains { $0.needsCheck }
    }

    /// The shape of `type`; nil if only libldns or RFC 3597's `\#` can read it.
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
        ([11], [.ipv4, .services]),
        ([13], [.string, .string]),
        ([14, 17, 58], [.name, .name]),
        ([15, 18, 21, 36, 107], [.u16, .name]),
        ([16, 56, 99, 258, 261, 262, 263], [.strings]),
        ([19], [.x25]),
        ([20], [.string, .optionalString]),
        ([22], [.nsap]),
        ([24], [.type, .algorithm, .u8, .originalTTL, .time, .time, .u16, .name, .signature]),
        ([25], [.u16, .u8, .algorithm, .keyOrNone]),
        ([26], [.u16, .name, .name]),
        ([27], [.latitude, .longitude, .altitude]),
        ([28], [.ipv6]),
        ([29], [.location]),
        ([31, 32], [.hex]),
        ([33], [.u16, .u16, .u16, .name]),
        ([34], [.atma]),
        ([35], [.u16, .u16, .string, .string, .string, .name]),
        ([37], [.certificateType, .u16, .algorithm, .base64]),
        ([40], [.u8, .u8, .u8, .optionalBase64]),
        ([42], [.addressPrefixes]),
        ([43, 59], [.u16, .algorithm, .u8, .dsDigest]),
        ([44], [.u8, .u8, .fingerprint]),
        ([45], [.ipsecKey]),
        ([46], [.type, .algorithm, .u8, .originalTTL, .time, .time, .u16, .signer, .signature]),
        ([47], [.name, .types]),
        ([48, 60], [.u16, .u8, .algorithm, .key]),
        ([49], [.identifier]),
        ([50], [.u8, .u8, .u16, .salt, .nextHash, .typesOrNone]),
        ([51], [.u8, .u8, .u16, .salt]),
        ([52, 53], [.u8, .u8, .u8, .hex]),
        ([55], [.hostIdentity]),
        ([57], [.zeroFlags, .u8, .algorithm, .key]),
        ([61, 67, 68], [.base64]),
        ([62], [.u32, .u16, .typesOrNone]),
        ([63], [.u32, .u8, .u8, .zonemdDigest]),
        ([64, 65], [.u16, .name, .serviceParameters]),
        ([66], [.type, .scheme, .u16, .name]),
        ([104, 106], [.u16, .locator64]),
        ([105], [.u16, .ipv4]),
        ([108], [.eui48]),
        ([109], [.eui64]),
        ([256], [.u16, .u16, .target]),
        ([257], [.u8, .tag, .text]),
        ([259], [.u32, .u32, .u8, .string, .base64OrDash]),
        ([260], [.relay]),
        ([264], [.node]),
    ]
}

/// Looks up type mnemonics by their bytes, without making a string.
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

    /// Whether `bytes`, a valid type name, has the form `TYPE123`.
    static func isNumbered(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        bytes.count > 4 && ASCII.isDigit(bytes[4])
            && bytes[..<4].elementsEqual("type".utf8) { ASCII.lowercased($0) == $1 }
    }

    private static let numbers = Dictionary(
        uniqueKeysWithValues: RecordType.mnemonics.map { text, number in
            (text.utf8.reduce(0 as UInt128) { $0 << 8 | UInt128(ASCII.lowercased($1)) }, number)
        })
}
