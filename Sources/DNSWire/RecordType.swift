/// A record type (TYPE, QTYPE). An open set, hence a struct and not an enum.
///
/// - RFC: 1035 3.2.2 and 3.2.3; IANA "DNS Parameters"; RFC 3597 5 for `TYPE123`.
public struct RecordType: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    public static let a = RecordType(rawValue: 1)
    public static let ns = RecordType(rawValue: 2)
    public static let cname = RecordType(rawValue: 5)
    public static let soa = RecordType(rawValue: 6)
    public static let ptr = RecordType(rawValue: 12)
    public static let mx = RecordType(rawValue: 15)
    public static let txt = RecordType(rawValue: 16)
    public static let aaaa = RecordType(rawValue: 28)
    public static let srv = RecordType(rawValue: 33)
    public static let dname = RecordType(rawValue: 39)
    public static let opt = RecordType(rawValue: 41)
    public static let ds = RecordType(rawValue: 43)
    public static let rrsig = RecordType(rawValue: 46)
    public static let nsec = RecordType(rawValue: 47)
    public static let dnskey = RecordType(rawValue: 48)
    public static let nsec3 = RecordType(rawValue: 50)
    public static let nsec3param = RecordType(rawValue: 51)
    public static let svcb = RecordType(rawValue: 64)
    public static let https = RecordType(rawValue: 65)
    public static let nxname = RecordType(rawValue: 128)
    public static let tkey = RecordType(rawValue: 249)
    public static let tsig = RecordType(rawValue: 250)
    public static let ixfr = RecordType(rawValue: 251)
    public static let axfr = RecordType(rawValue: 252)
    public static let mailb = RecordType(rawValue: 253)
    public static let maila = RecordType(rawValue: 254)
    public static let any = RecordType(rawValue: 255)
    public static let hinfo = RecordType(rawValue: 13)
    public static let caa = RecordType(rawValue: 257)

    /// A type for queries or messages only, which no zone may have: OPT, TKEY to ANY, and type 0.
    ///
    /// - RFC: 6895 3.1 (128 to 255 are meta-types and QTYPEs).
    @inlinable
    public var isMeta: Bool { rawValue == 0 || rawValue == 41 || (128...255).contains(rawValue) }
}

extension RecordType: CustomStringConvertible {
    /// The IANA mnemonic, or else `TYPE123`.
    public var description: String { Self.mnemonicOfNumber[rawValue] ?? "TYPE\(rawValue)" }

    /// Parses a mnemonic or `TYPE123`, in any case; nil for anything else.
    public init?(mnemonic text: some StringProtocol) {
        let upper = text.uppercased()
        if let number = Self.numberOfMnemonic[upper] {
            self.init(rawValue: number)
        } else if upper.hasPrefix("TYPE"), let number = UInt16(asciiDigits: upper.dropFirst(4)) {
            self.init(rawValue: number)
        } else {
            return nil
        }
    }

    /// All mnemonics of the registry with their numbers.
    public static let mnemonics: [(String, UInt16)] = [
        ("A", 1), ("NS", 2), ("MD", 3), ("MF", 4), ("CNAME", 5), ("SOA", 6), ("MB", 7), ("MG", 8), ("MR", 9),
        ("NULL", 10), ("WKS", 11), ("PTR", 12), ("HINFO", 13), ("MINFO", 14), ("MX", 15), ("TXT", 16), ("RP", 17),
        ("AFSDB", 18), ("X25", 19), ("ISDN", 20), ("RT", 21), ("NSAP", 22), ("NSAP-PTR", 23), ("SIG", 24),
        ("KEY", 25), ("PX", 26), ("GPOS", 27), ("AAAA", 28), ("LOC", 29), ("NXT", 30), ("EID", 31), ("NIMLOC", 32),
        ("SRV", 33), ("ATMA", 34), ("NAPTR", 35), ("KX", 36), ("CERT", 37), ("A6", 38), ("DNAME", 39), ("SINK", 40),
        ("OPT", 41), ("APL", 42), ("DS", 43), ("SSHFP", 44), ("IPSECKEY", 45), ("RRSIG", 46), ("NSEC", 47),
        ("DNSKEY", 48), ("DHCID", 49), ("NSEC3", 50), ("NSEC3PARAM", 51), ("TLSA", 52), ("SMIMEA", 53), ("HIP", 55),
        ("NINFO", 56), ("RKEY", 57), ("TALINK", 58), ("CDS", 59), ("CDNSKEY", 60), ("OPENPGPKEY", 61), ("CSYNC", 62),
        ("ZONEMD", 63), ("SVCB", 64), ("HTTPS", 65), ("DSYNC", 66), ("HHIT", 67), ("BRID", 68), ("SPF", 99),
        ("UINFO", 100), ("UID", 101), ("GID", 102), ("UNSPEC", 103), ("NID", 104), ("L32", 105), ("L64", 106),
        ("LP", 107), ("EUI48", 108), ("EUI64", 109), ("NXNAME", 128), ("TKEY", 249), ("TSIG", 250), ("IXFR", 251),
        ("AXFR", 252), ("MAILB", 253), ("MAILA", 254), ("ANY", 255), ("URI", 256), ("CAA", 257), ("AVC", 258),
        ("DOA", 259), ("AMTRELAY", 260), ("RESINFO", 261), ("WALLET", 262), ("CLA", 263), ("IPN", 264),
        ("TA", 32768), ("DLV", 32769),
    ]
    private static let mnemonicOfNumber = Dictionary(uniqueKeysWithValues: mnemonics.map { ($0.1, $0.0) })
    private static let numberOfMnemonic = Dictionary(uniqueKeysWithValues: mnemonics)
}

/// The class of a resource record (CLASS, QCLASS).
///
/// - RFC: 1035 3.2.4 and 3.2.5.
public struct RecordClass: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    public static let `in` = RecordClass(rawValue: 1)
    public static let ch = RecordClass(rawValue: 3)
    public static let hs = RecordClass(rawValue: 4)
    public static let none = RecordClass(rawValue: 254)
    public static let any = RecordClass(rawValue: 255)

    /// The mnemonic, or `CLASS123` (RFC 3597 5).
    public var description: String {
        switch rawValue {
        case 1: "IN"
        case 3: "CH"
        case 4: "HS"
        case 254: "NONE"
        case 255: "ANY"
        default: "CLASS\(rawValue)"
        }
    }

    /// Parses a mnemonic or `CLASS123`, in any case; nil for anything else.
    public init?(mnemonic text: some StringProtocol) {
        switch text.uppercased() {
        case "IN": self = .in
        case "CH", "CHAOS": self = .ch
        case "HS", "HESIOD": self = .hs
        case let upper where upper.hasPrefix("CLASS"):
            guard let number = UInt16(asciiDigits: upper.dropFirst(5)) else { return nil }
            self.init(rawValue: number)
        default: return nil
        }
    }
}

extension UInt16 {
    /// Digits only: `UInt16("+5")` is 5, but no DNS text format allows the sign.
    init?(asciiDigits text: some StringProtocol) {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        self.init(text)
    }
}
