/// The kind of query, bits 1 to 4 of the second header word's first byte.
///
/// - RFC: 1035 4.1.1; 1996 (NOTIFY); 2136 (UPDATE); 8490 (DSO).
package struct Opcode: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    package let rawValue: UInt8

    @inlinable
    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    package static let query = Opcode(rawValue: 0)
    package static let notify = Opcode(rawValue: 4)
    package static let update = Opcode(rawValue: 5)

    package var description: String {
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
package struct ResponseCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// 12 bits: the upper eight travel in the OPT record.
    package let rawValue: UInt16

    @inlinable
    package init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    package static let noError = ResponseCode(rawValue: 0)
    package static let formatError = ResponseCode(rawValue: 1)
    package static let serverFailure = ResponseCode(rawValue: 2)
    package static let nxDomain = ResponseCode(rawValue: 3)
    package static let notImplemented = ResponseCode(rawValue: 4)
    package static let refused = ResponseCode(rawValue: 5)
    package static let yxDomain = ResponseCode(rawValue: 6)
    package static let notAuth = ResponseCode(rawValue: 9)
    package static let badVersion = ResponseCode(rawValue: 16)
    package static let badCookie = ResponseCode(rawValue: 23)

    package var description: String {
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
package struct ExtendedError: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    package let rawValue: UInt16

    @inlinable
    package init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    package static let other = ExtendedError(rawValue: 0)
    package static let staleAnswer = ExtendedError(rawValue: 3)
    package static let forgedAnswer = ExtendedError(rawValue: 4)
    package static let cachedError = ExtendedError(rawValue: 13)
    package static let notReady = ExtendedError(rawValue: 14)
    package static let blocked = ExtendedError(rawValue: 15)
    package static let filtered = ExtendedError(rawValue: 17)
    package static let prohibited = ExtendedError(rawValue: 18)
    package static let staleNXDomainAnswer = ExtendedError(rawValue: 19)
    package static let notAuthoritative = ExtendedError(rawValue: 20)
    package static let notSupported = ExtendedError(rawValue: 21)
    package static let noReachableAuthority = ExtendedError(rawValue: 22)
    package static let networkError = ExtendedError(rawValue: 23)
    package static let invalidData = ExtendedError(rawValue: 24)
    package static let invalidQueryType = ExtendedError(rawValue: 30)

    /// The registry's name of the code.
    package var description: String {
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
