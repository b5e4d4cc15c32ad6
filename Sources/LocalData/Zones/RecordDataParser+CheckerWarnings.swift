internal import DNSWire

/// Warns of records that are read here but that a checker would refuse.
extension RecordDataParser {
    /// Checks the RDATA that was read; `token` holds its type.
    mutating func warnAboutRecord(_ token: ZoneToken, isNumbered: Bool, isGeneric: Bool) {
        let checkers: ZoneCheckers =
            if !isNumbered {
                .unfamiliar(with: recordType)
            } else if !isGeneric {
                .refusingText(afterNumberOf: recordType)
            } else {
                []
            }
        if !checkers.isEmpty {
            let why = isNumbered ? "RDATA as text follows a numbered type" : "the type has this name"
            warn(checkers, token, why, "write \(genericForm)")
        }
        warnAboutData(token, isNumbered: isNumbered, isGeneric: isGeneric)
    }

    /// The record in RFC 3597 form, which all checkers read.
    private var genericForm: String {
        let start = "TYPE\(recordType.rawValue) \\# \(length)"
        guard length > 0 else { return start }
        guard length <= 32 else { return "\(start) and the bytes in hexadecimal digits" }
        return "\(start) \(Base16.text(bytes))"
    }

    private mutating func warnAboutData(_ token: ZoneToken, isNumbered: Bool, isGeneric: Bool) {
        switch recordType.rawValue {
        case 3, 4: warn(.bind, token, "the type is obsolete", "leave the record out")
        case 23: warn(.nsd, token, "NSD can't read records of this type", "leave the record out")
        case 25 where length == 4 && !isGeneric: warn(.knot, token, "the record has no key", "write \(genericForm)")
        case 29 where output[0] != 0 && length != 16:
            warn(.nsd, token, "this is another version of LOC", "leave the record out")
        case 34 where isGeneric && length < 3: warn(.nsd, token, "the address has one byte", "leave the record out")
        case 35: warnAboutRule(token)
        case 43:
            if let checkers = Self.unfamiliar(withDigest: output[3]) {
                warn(checkers, token, "digest type \(output[3]) is new or unassigned", "write a digest of type 2")
            }
        case 59, 32768, 32769:
            if output[3] == 5 || output[3] == 6 {
                warn(.nsd, token, "digest type \(output[3]) is new", "write a digest of type 2")
            }
            if isNumbered, isGeneric, recordType.rawValue == 32769 {
                warn(.nsd, token, "NSD takes the number for that of DOA", "leave the record out")
            }
        case 45 where output[2] == 0: warn(.bind, token, "the record has no key", "give it one, or leave it out")
        case 61 where isGeneric && length < 4:
            warn(.nsd, token, "the key has less than four bytes", "write it in base64")
        case 40 where !isGeneric: warn(.nsd, token, "NSD can't read this type's text", "write \(genericForm)")
        case 64, 65:
            guard let key = lastParameter else { break }
            if recordType == .svcb, output[0] | output[1] == 0 {
                warn(.bind, token, "an alias (priority 0) has parameters", "leave them out")
            }
            if key == 65_535 { warn(token, RecordDataCheck.reservedKey) }
        case 66 where output[2] == 1 && (output[0] != 0 || output[1] != 59 && output[1] != 62):
            warn(.nsd, token, "scheme 1 is for CDS and CSYNC alone", "name one of them")
        case 260 where !isGeneric && output[1] & 0x7F == 0:
            warn(.nsd, token, "the record has no relay", "write \(genericForm)")
        default: break
        }
    }

    /// The checkers that refuse a DS digest of `type`.
    private static func unfamiliar(withDigest type: UInt8) -> ZoneCheckers? {
        switch type {
        case 1...4: nil
        case 5, 6: [.nsd, .knot]  // NSD wants 48 bytes where RFC 9558 and RFC 9563 have 32
        default: .knot
        }
    }

    /// The rule of a NAPTR record, which follows two numbers and two character-strings.
    private mutating func warnAboutRule(_ token: ZoneToken) {
        var start = 4
        for _ in 0..<2 { start += Int(output[start]) + 1 }
        let rule = UnsafeBufferPointer(rebasing: bytes[(start + 1)..<(start + 1 + Int(output[start]))])
        if !SubstitutionRule.isValid(rule) { warn(.bind, token, SubstitutionRule.form, "correct the rule") }
    }

    /// The key of the last, and so highest, parameter of SVCB or HTTPS.
    private var lastParameter: Int? {
        var position = 2
        while output[position] != 0 { position += Int(output[position]) + 1 }
        position += 1
        var key: Int?
        while position < length {
            key = Int(output[position]) << 8 | Int(output[position + 1])
            position += 4 + (Int(output[position + 2]) << 8 | Int(output[position + 3]))
        }
        return key
    }
}
