internal import DNSWire

/// A set of the zone checkers of Debian 13 whose verdicts are predicted here.
///
/// A zone loaded here may be copied or transferred to one of them, so what it would refuse gets a warning.
struct ZoneCheckers: OptionSet, Sendable, BitwiseCopyable {
    let rawValue: UInt8
    static let nsd = ZoneCheckers(rawValue: 1)
    static let knot = ZoneCheckers(rawValue: 2)
    static let bind = ZoneCheckers(rawValue: 4)
    static let all: ZoneCheckers = [.nsd, .knot, .bind]

    /// `NSD 4.12 and Knot 3.4 refuse`.
    var refuse: String {
        let names = [(ZoneCheckers.nsd, "NSD 4.12"), (.knot, "Knot 3.4"), (.bind, "BIND 9.20")]
            .filter { contains($0.0) }.map(\.1)
        guard let last = names.last, names.count > 1 else { return "\(names.first ?? "nobody") refuses" }
        return "\(names.dropLast().joined(separator: ", ")) and \(last) refuse"
    }

    // MARK: Types they know

    /// Those that don't know the mnemonic of `type`.
    static func unfamiliar(with type: RecordType) -> ZoneCheckers {
        switch type.rawValue {
        case 128: .all  // NXNAME
        case 263, 264: [.knot, .bind]  // CLA, IPN
        case 38, 41, 67, 68, 100...103, 249...255: [.nsd, .knot]  // A6, HHIT, BRID, UINFO and kin; OPT, TKEY to ANY
        case 3, 4, 7...11, 19, 20, 22...24, 26, 27, 30...32, 34, 40, 55...58, 66, 258...261, 32768, 32769: .knot
        default: []
        }
    }

    /// Those that don't accept a type's own text form after `TYPE123`.
    static func refusingText(afterNumberOf type: RecordType) -> ZoneCheckers {
        switch type.rawValue {
        case 262: .nsd
        case 259...261, 32768: unfamiliar(with: type).union(.nsd)
        case 263, 264: .all
        default: unfamiliar(with: type)
        }
    }

    /// Those that don't know the DNSSEC algorithm `name` (in capitals) in a record of `type`.
    static func unfamiliar(withAlgorithm name: String, in type: RecordType) -> ZoneCheckers {
        var result: ZoneCheckers = type.rawValue == 25 ? .nsd : []  // KEY
        switch name {
        case "ED25519", "ED448": result.insert(.nsd)
        case "DSA-NSEC3-SHA1": result.formUnion([.nsd, .bind])
        case "RSASHA1-NSEC3-SHA1", "ECC-GOST": result.insert(.bind)
        case "NSEC3DSA", "NSEC3RSASHA1", "ECCGOST", "ECDSA256", "ECDSA384": result.formUnion([.nsd, .knot])
        default: break
        }
        return result
    }
}

/// A construct that is accepted although a checker would refuse it: becomes a warning.
struct CheckerWarning {
    var token: ZoneToken
    /// The message about the token.
    var message: String
}
