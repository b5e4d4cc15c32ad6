/// The kind of query, bits 1 to 4 of the second header word's first byte.
///
/// - RFC: 1035 4.1.1; 1996 (NOTIFY); 2136 (UPDATE); 8490 (DSO).
public struct Opcode: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    public static let query = Opcode(rawValue: 0)
    public static let notify = Opcode(rawValue: 4)
    public static let update = Opcode(rawValue: 5)

    public var description: String {
        switch rawValue {
        case 0: "QUERY"
        case 1: "IQUERY"
        case 2: "STATUS"
        case 4: "NOTIFY"
        case 5: "UPDATE"
        case 6: "DSO"
        default: "OPCODE\(rawValue)"
        }
    }
}

/// The result of a query (RCODE), with the eight upper bits that EDNS adds.
///
/// - RFC: 1035 4.1.1; 6891 6.1.3; IANA "DNS RCODEs".
public struct ResponseCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// 12 bits: the upper eight travel in the OPT record.
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    public static let noError = ResponseCode(rawValue: 0)
    public static let formatError = ResponseCode(rawValue: 1)
    public static let serverFailure = ResponseCode(rawValue: 2)
    public static let nxDomain = ResponseCode(rawValue: 3)
    public static let notImplemented = ResponseCode(rawValue: 4)
    public static let refused = ResponseCode(rawValue: 5)
    public static let yxDomain = ResponseCode(rawValue: 6)
    public static let notAuth = ResponseCode(rawValue: 9)
    public static let badVersion = ResponseCode(rawValue: 16)
    public static let badCookie = ResponseCode(rawValue: 23)

    /// Parses a mnemonic or `RCODE24`; nil for anything else.
    public init?(mnemonic text: some StringProtocol) {
        let digits = text.dropFirst(5)
        let number =
            text.hasPrefix("RCODE") && digits.utf8.allSatisfy(ASCII.isDigit) ? UInt16(digits) : nil
        guard let known = number ?? (0...23).first(where: { ResponseCode(rawValue: $0).description == text }),
            known < 4096
        else { return nil }
        self.init(rawValue: known)
    }

    public var description: String {
        switch rawValue {
        case 0: "NOERROR"
        case 1: "FORMERR"
        case 2: "SERVFAIL"
        case 3: "NXDOMAIN"
        case 4: "NOTIMP"
        case 5: "REFUSED"
        case 6: "YXDOMAIN"
        case 7: "YXRRSET"
        case 8: "NXRRSET"
        case 9: "NOTAUTH"
        case 10: "NOTZONE"
        case 11: "DSOTYPENI"
        case 16: "BADVERS"
        case 17: "BADKEY"
        case 18: "BADTIME"
        case 19: "BADMODE"
        case 20: "BADNAME"
        case 21: "BADALG"
        case 22: "BADTRUNC"
        case 23: "BADCOOKIE"
        default: "RCODE\(rawValue)"
        }
    }
}

/// Why an answer is as it is (EDE INFO-CODE).
///
/// - RFC: 8914 4; IANA "Extended DNS Error Codes".
public struct ExtendedError: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    public static let other = ExtendedError(rawValue: 0)
    public static let staleAnswer = ExtendedError(rawValue: 3)
    public static let forgedAnswer = ExtendedError(rawValue: 4)
    public static let cachedError = ExtendedError(rawValue: 13)
    public static let notReady = ExtendedError(rawValue: 14)
    public static let blocked = ExtendedError(rawValue: 15)
    public static let filtered = ExtendedError(rawValue: 17)
    public static let prohibited = ExtendedError(rawValue: 18)
    public static let staleNXDomainAnswer = ExtendedError(rawValue: 19)
    public static let notAuthoritative = ExtendedError(rawValue: 20)
    public static let notSupported = ExtendedError(rawValue: 21)
    public static let noReachableAuthority = ExtendedError(rawValue: 22)
    public static let networkError = ExtendedError(rawValue: 23)
    public static let invalidData = ExtendedError(rawValue: 24)
    public static let invalidQueryType = ExtendedError(rawValue: 30)

    /// The code's name in the registry.
    public var description: String {
        switch rawValue {
        case 0: "Other"
        case 3: "Stale Answer"
        case 4: "Forged Answer"
        case 13: "Cached Error"
        case 14: "Not Ready"
        case 15: "Blocked"
        case 17: "Filtered"
        case 18: "Prohibited"
        case 19: "Stale NXDOMAIN Answer"
        case 20: "Not Authoritative"
        case 21: "Not Supported"
        case 22: "No Reachable Authority"
        case 23: "Network Error"
        case 24: "Invalid Data"
        case 30: "Invalid Query Type"
        default: "EDE\(rawValue)"
        }
    }
}
