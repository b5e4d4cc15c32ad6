internal import DNSWire
internal import Glibc

/// Converts the tokens of one record's RDATA to wire form, strictly.
///
/// A cursor over tokens and an output buffer; `ZoneReading` lends both, and they outlive it.
struct RecordDataParser {
    let text: UnsafeBufferPointer<UInt8>
    let tokens: UnsafeBufferPointer<ZoneToken>
    /// The next token to read.
    var index: Int
    /// The wire form that completes relative names; empty if there is no origin yet.
    let origin: [UInt8]
    /// Room for `maximumLength` bytes.
    let output: UnsafeMutablePointer<UInt8>
    private(set) var length = 0
    /// Constructs that are accepted here but that a checker would refuse.
    private(set) var checkerWarnings: [CheckerWarning] = []
    /// The type whose RDATA is being read.
    var recordType = RecordType(rawValue: 0)

    static let maximumLength = 65_535

    init(
        text: UnsafeBufferPointer<UInt8>, tokens: UnsafeBufferPointer<ZoneToken>, index: Int,
        origin: [UInt8], output: UnsafeMutablePointer<UInt8>
    ) {
        self.text = text
        self.tokens = tokens
        self.index = index
        self.origin = origin
        self.output = output
    }

    var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: output, count: length) }
    var isAtEnd: Bool { index == tokens.count }
    /// Whether `\#` is next, which introduces RDATA in hexadecimal.
    var isAtGeneric: Bool {
        guard !isAtEnd, !tokens[index].isQuoted, tokens[index].count == 2 else { return false }
        return bytes(of: tokens[index]).elementsEqual([UInt8(ascii: "\\"), UInt8(ascii: "#")])
    }

    /// Reads the rest of the entry as RDATA of `shape`.
    mutating func parse(_ shape: RecordDataShape) throws(ZoneProblem) {
        for field in shape.fields { try parse(field) }
        try expectEnd()
    }

    private mutating func parse(_ field: RecordDataField) throws(ZoneProblem) {
        switch field {
        case .name, .signer: try name()
        case .u8: try put8(number("a number", max: 0xFF))
        case .u16, .zeroFlags: try put16(number("a number", max: 0xFFFF))
        case .u32: try put32(number("a number", max: 0xFFFF_FFFF))
        case .node: try node()
        case .period: try period()
        case .originalTTL: try originalTTL()
        case .ipv4: try ipv4()
        case .ipv6: try ipv6()
        case .string: try characterString(next("a text"))
        case .optionalString: if !isAtEnd { try characterString(next("a text")) }
        case .strings:
            repeat { try characterString(next("a text")) } while !isAtEnd
        case .latitude, .longitude: try coordinate()
        case .altitude: try altitude()
        case .text: try unescaped(next("a text"))
        case .target: try target()
        case .tag: try tag()
        case .hex, .dsDigest, .fingerprint, .zonemdDigest: try hexToEnd()
        case .base64, .key, .signature, .identifier: try base64ToEnd(isOptional: false)
        case .optionalBase64: try base64ToEnd(isOptional: true)
        case .keyOrNone: try base64ToEnd(isOptional: output[0] & 0xC0 == 0xC0)  // RFC 2535 3.1.2
        case .base64OrDash: try base64OrDash()
        case .salt: try salt()
        case .nextHash: try nextHash()
        case .types, .typesOrNone: try types()
        case .type: try put16(Int(listedType(word("a type")).rawValue))
        case .algorithm: try algorithm()
        case .certificateType: try put16(mnemonic(Self.certificateTypes, "a certificate type", max: 0xFFFF))
        case .scheme: try scheme()
        case .time: try time()
        case .eui48: try hardwareAddress(count: 6)
        case .eui64: try hardwareAddress(count: 8)
        case .locator64: try locator()
        case .nsap: try nsap()
        case .atma: try atma()
        case .services: try services()
        case .location: try location()
        case .addressPrefixes: try addressPrefixes()
        case .serviceParameters: try serviceParameters()
        case .ipsecKey: try ipsecKey()
        case .relay: try relay()
        case .hostIdentity: try hostIdentity()
        case .x25: try x25()
        }
    }

    // MARK: Tokens

    /// The next token, quoted or not.
    mutating func next(_ what: String) throws(ZoneProblem) -> ZoneToken {
        guard index < tokens.count else {
            throw ZoneProblem("the record ends where \(what) should follow", line: tokens.last?.line ?? 0)
        }
        index += 1
        let token = tokens[index - 1]
        if token.followsDirectly { warn(.knot, token, "no blank separates this from the text before", "add one") }
        return token
    }

    /// The next token, which must not be quoted.
    mutating func word(_ what: String) throws(ZoneProblem) -> ZoneToken {
        let token = try next(what)
        guard !token.isQuoted else { throw bad(token, "\(what) is not written in quotes") }
        return token
    }

    func bytes(of token: ZoneToken) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(rebasing: text[Int(token.start)..<Int(token.end)])
    }

    /// Warns that `checkers` would refuse `token`: why, and how to write it so that they accept it.
    mutating func warn(_ checkers: ZoneCheckers, _ token: ZoneToken, _ why: String, _ mend: String) {
        if !checkers.isEmpty { warn(token, "\(why), which \(checkers.refuse); \(mend)") }
    }

    mutating func warn(_ token: ZoneToken, _ message: String) {
        checkerWarnings.append(CheckerWarning(token: token, message: message))
    }

    /// A problem at `token`; the message quotes it, shortened and escaped.
    func bad(_ token: ZoneToken, _ message: String) -> ZoneProblem {
        var shown: [UInt8] = []
        for byte in bytes(of: token).prefix(60) {
            if (0x20...0x7E).contains(byte) {
                shown.append(byte)
            } else {
                shown += [UInt8(ascii: "\\"), 48 + byte / 100, 48 + byte / 10 % 10, 48 + byte % 10]
            }
        }
        let dots = token.count > 60 ? "..." : ""
        return ZoneProblem("'\(String(decoding: shown, as: UTF8.self))\(dots)': \(message)", line: token.line)
    }

    func expectEnd() throws(ZoneProblem) {
        guard isAtEnd else { throw bad(tokens[index], "more than the record can hold") }
    }

    /// The remaining tokens, separated by blanks, with quotes restored.
    mutating func restAsText() -> [UInt8] {
        var result: [UInt8] = []
        for token in tokens[index...] {
            if !result.isEmpty { result.append(UInt8(ascii: " ")) }
            if token.isQuoted { result.append(UInt8(ascii: "\"")) }
            result += bytes(of: token)
            if token.isQuoted { result.append(UInt8(ascii: "\"")) }
        }
        index = tokens.count
        return result
    }

    // MARK: Output

    mutating func put8(_ value: Int) throws(ZoneProblem) {
        guard length < Self.maximumLength else { throw ZoneProblem("RDATA is longer than 65535 bytes") }
        output[length] = UInt8(truncatingIfNeeded: value)
        length += 1
    }

    mutating func put16(_ value: Int) throws(ZoneProblem) {
        try put8(value >> 8)
        try put8(value)
    }

    mutating func put32(_ value: Int) throws(ZoneProblem) {
        try put16(value >> 16)
        try put16(value)
    }

    mutating func put(_ bytes: some Sequence<UInt8>) throws(ZoneProblem) {
        for byte in bytes { try put8(Int(byte)) }
    }

    /// Overwrites a length byte that was reserved earlier.
    mutating func patch8(at position: Int, _ value: Int) { output[position] = UInt8(truncatingIfNeeded: value) }
    mutating func patch16(at position: Int, _ value: Int) {
        output[position] = UInt8(truncatingIfNeeded: value >> 8)
        output[position + 1] = UInt8(truncatingIfNeeded: value)
    }
    mutating func truncate(to length: Int) { self.length = length }

    // MARK: Names

    /// The name after `$ORIGIN` or an `$INCLUDE`, which ends the entry.
    mutating func newOrigin() throws(ZoneProblem) {
        try name()
        try expectEnd()
        let token = tokens[index - 1]
        guard text[Int(token.end) - 1] != UInt8(ascii: ".") else { return }
        warn([.nsd, .knot], token, "the origin is relative", "write \(Name(uncheckedWire: Array(bytes)))")
    }

    mutating func name() throws(ZoneProblem) { try name(word("a name")) }

    mutating func name(_ token: ZoneToken) throws(ZoneProblem) {
        guard length <= Self.maximumLength - Name.maximumLength else {
            throw ZoneProblem("RDATA is longer than 65535 bytes", line: token.line)
        }
        var isPlain = true
        let count = try writeName(token, to: output + length, isPlain: &isPlain)
        if !isPlain, isInternational(token) { return try putInternational(token) }
        length += count
        if !isPlain, !token.isQuoted {
            warn(.knot, token, "the name has a character that is not escaped", "write it as \\DDD")
        }
    }

    /// Whether the name is in its own script. A backslash says that the very bytes are meant.
    private func isInternational(_ token: ZoneToken) -> Bool {
        let written = text[Int(token.start)..<Int(token.end)]
        return written.contains { $0 >= 0x80 } && !written.contains(UInt8(ascii: "\\"))
    }

    /// Puts the A-labels of the name that has just been written in its own script: no client asks for that.
    private mutating func putInternational(_ token: ZoneToken) throws(ZoneProblem) {
        let written = text[Int(token.start)..<Int(token.end)]
        guard let name = String(validating: written, as: UTF8.self), let ascii = InternationalName.toASCII(name) else {
            throw bad(token, "the name can't be written as a domain name (RFC 5891); if its bytes are meant, use \\DDD")
        }
        let origin = origin.isEmpty ? Name.root : Name(uncheckedWire: origin)
        let encoded: Name
        do { encoded = try Name(parsing: ascii.utf8, origin: origin) } catch { throw bad(token, "\(error)") }
        try put(encoded.wire)
        warn(.knot, token, "the name is not in ASCII", "write \(ascii)")
    }

    /// Writes the wire form of the name in `token` and returns its length; `target` has 255 bytes.
    private func writeName(
        _ token: ZoneToken, to target: UnsafeMutablePointer<UInt8>, isPlain: inout Bool
    ) throws(ZoneProblem) -> Int {
        let end = Int(token.end)
        var position = Int(token.start)
        guard position < end else { throw bad(token, "the name is empty") }
        if token.count == 1, !token.isQuoted, text[position] == UInt8(ascii: "@") {
            guard !origin.isEmpty else { throw bad(token, Self.noOrigin) }
            target.update(from: origin, count: origin.count)
            return origin.count
        }
        if token.count == 1, text[position] == UInt8(ascii: ".") {
            target[0] = 0
            return 1
        }
        var labelStart = 0
        var used = 1
        while position < end {
            var byte = text[position]
            position += 1
            if byte == UInt8(ascii: ".") {
                guard used - labelStart > 1 else {
                    throw bad(token, "the name has an empty label (two dots in a row, or one in front)")
                }
                target[labelStart] = UInt8(used - labelStart - 1)
                labelStart = used
                used += 1
                guard used <= Name.maximumLength else { throw bad(token, "the name is longer than 255 bytes") }
                continue
            }
            if byte == UInt8(ascii: "\\") {
                byte = try escape(token, at: &position, isPlain: &isPlain)
            } else if !Self.isPlain(byte) {
                isPlain = false
            }
            guard used - labelStart <= Name.maximumLabelLength else {
                throw bad(token, "a label is longer than 63 bytes")
            }
            guard used < Name.maximumLength else { throw bad(token, "the name is longer than 255 bytes") }
            target[used] = byte
            used += 1
        }
        if used - labelStart == 1 {  // a dot was last
            target[labelStart] = 0
            return used
        }
        guard !origin.isEmpty else { throw bad(token, Self.noOrigin) }
        target[labelStart] = UInt8(used - labelStart - 1)
        guard used + origin.count <= Name.maximumLength else {
            throw bad(token, "the name is longer than 255 bytes with the origin appended")
        }
        (target + used).update(from: origin, count: origin.count)
        return used + origin.count
    }

    private static let noOrigin =
        "the name is relative and no origin is known; end it with a dot, add $ORIGIN, or give the zone as NAME=FILE"

    /// Characters that Knot accepts in a name without a backslash.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "*"), UInt8(ascii: "/"): true
        default: isLetterOrDigit(byte)
        }
    }

    /// Reads what follows a backslash: a literal character, or three digits up to 255.
    func escape(_ token: ZoneToken, at position: inout Int, isPlain: inout Bool) throws(ZoneProblem) -> UInt8 {
        let end = Int(token.end)
        guard position < end else { throw bad(token, "a backslash is last") }
        let first = text[position]
        position += 1
        guard ASCII.isDigit(first) else {
            if first >= 0x80 { isPlain = false }
            return first
        }
        guard position + 1 < end, ASCII.isDigit(text[position]), ASCII.isDigit(text[position + 1]) else {
            throw bad(token, "a backslash and a digit need two more digits (\\DDD)")
        }
        let value = Int(first - 48) * 100 + Int(text[position] - 48) * 10 + Int(text[position + 1] - 48)
        position += 2
        guard value <= 255 else { throw bad(token, "\\\(value) is more than 255") }
        return UInt8(value)
    }

    // MARK: Texts

    /// The bytes of `token` with its escapes resolved.
    mutating func unescaped(_ token: ZoneToken) throws(ZoneProblem) {
        var position = Int(token.start)
        var isPlain = true
        while position < Int(token.end) {
            var byte = text[position]
            position += 1
            if byte == UInt8(ascii: "\\") {
                if position < token.end, text[position] == UInt8(ascii: "\t") { isPlain = false }
                byte = try escape(token, at: &position, isPlain: &isPlain)
            } else if byte >= 0x7F || byte < 0x20 && byte != UInt8(ascii: "\t") {
                isPlain = false
            }
            try put8(Int(byte))
        }
        if !isPlain { warn(.knot, token, "the text has a byte that is not printable ASCII", "write it as \\DDD") }
    }

    mutating func characterString(_ token: ZoneToken) throws(ZoneProblem) {
        let start = length
        try put8(0)
        try unescaped(token)
        guard length - start - 1 <= 255 else { throw bad(token, "a text is longer than 255 bytes; split it") }
        patch8(at: start, length - start - 1)
    }

    private mutating func target() throws(ZoneProblem) {
        let token = try next("a target")
        if !token.isQuoted { warn([.nsd, .bind], token, "the target is not in quotes", "write it in quotes") }
        try unescaped(token)
    }

    private mutating func coordinate() throws(ZoneProblem) {
        let token = try next("a number")
        if token.isQuoted { warn(.nsd, token, "the number is in quotes", "write it without") }
        try characterString(token)
    }

    private mutating func altitude() throws(ZoneProblem) {
        try coordinate()
        let token = tokens[index - 1]
        if bytes(of: token).first == UInt8(ascii: "-") {
            warn(.nsd, token, "the altitude is negative", "leave the record out")
        }
    }

    private mutating func tag() throws(ZoneProblem) {
        let token = try next("a tag")
        if token.isQuoted { warn([.nsd, .bind], token, "the tag is in quotes", "write it without") }
        guard (1...255).contains(token.count), bytes(of: token).allSatisfy({ Self.isLetterOrDigit($0) }) else {
            throw bad(token, "a CAA tag is made of letters and digits")
        }
        try characterString(token)
    }

    static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        ASCII.isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(ASCII.lowercased(byte))
    }

    private mutating func x25() throws(ZoneProblem) {
        let token = try next("an address")
        guard token.count >= 4, bytes(of: token).allSatisfy(ASCII.isDigit) else {
            throw bad(token, "an X.25 address has at least four digits and nothing else")
        }
        try characterString(token)
    }

    // MARK: Numbers

    mutating func number(_ what: String, max: Int) throws(ZoneProblem) -> Int {
        let token = try word(what)
        guard let value = Self.decimal(bytes(of: token)) else { throw bad(token, "\(what) of digits is expected") }
        guard value <= max else { throw bad(token, "\(what) must be at most \(max)") }
        return value
    }

    /// Digits only, below 10^12; nil otherwise.
    static func decimal(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        guard !bytes.isEmpty else { return nil }
        var value = 0
        for byte in bytes {
            guard ASCII.isDigit(byte) else { return nil }
            value = Swift.min(value * 10 + Int(byte - 48), 1_000_000_000_000)
        }
        return value
    }

    /// 64 bits as one number, or as two 32-bit numbers with a dot between.
    private mutating func node() throws(ZoneProblem) {
        let token = try word("a node number")
        let parts = bytes(of: token).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if parts.count == 2, let high = Self.decimal(UnsafeBufferPointer(rebasing: parts[0])),
            let low = Self.decimal(UnsafeBufferPointer(rebasing: parts[1])), max(high, low) <= 0xFFFF_FFFF
        {
            try put32(high)
            try put32(low)
            return
        }
        guard bytes(of: token).allSatisfy(ASCII.isDigit),
            let value = UInt64(String(decoding: bytes(of: token), as: UTF8.self))
        else { throw bad(token, "a number up to 2^64-1 is expected, or two up to 2^32-1 with a dot between") }
        try put32(Int(value >> 32))
        try put32(Int(value & 0xFFFF_FFFF))
    }

    // MARK: Times

    private mutating func period() throws(ZoneProblem) {
        let token = try word("a time")
        let value = try period(token, "a time")
        warnAboutLongTime(value, token)
        try put32(value)
    }

    private mutating func originalTTL() throws(ZoneProblem) {
        let value = try number("a TTL in seconds", max: 0xFFFF_FFFF)
        warnAboutLongTime(value, tokens[index - 1])
        try put32(value)
    }

    private mutating func warnAboutLongTime(_ value: Int, _ token: ZoneToken) {
        if value > 0x7FFF_FFFF { warn(.nsd, token, "more than 2147483647 seconds", "write less") }
    }

    /// A TTL; one with the top bit set counts as 0.
    ///
    /// - RFC: 2181 8.
    mutating func ttl() throws(ZoneProblem) -> UInt32 {
        let token = try word("a TTL")
        let value = try period(token, "a TTL")
        if value <= 0x7FFF_FFFF { return UInt32(value) }
        warn(.nsd, token, "the TTL is above 2147483647 and counts as 0", "write less")
        return 0
    }

    private mutating func period(_ token: ZoneToken, _ what: String) throws(ZoneProblem) -> Int {
        guard let value = Self.period(bytes(of: token)) else {
            throw bad(token, "\(what) is digits, or digits with units as in 1w2d3h4m5s, up to 4294967295 seconds")
        }
        if !Self.unitsGoUp(bytes(of: token)) {
            warn(.nsd, token, "more than one unit, and not from small to large", "write \(value)")
        }
        return value
    }

    /// Seconds as digits or `1h30m`, up to 2^32-1; nil if it is neither.
    ///
    /// - RFC: 2308 has TTLs; the units are BIND's.
    private static func period(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let first = bytes.first, ASCII.isDigit(first) else { return nil }
        var total = 0
        var part = 0
        var hasDigits = false
        for byte in bytes {
            if ASCII.isDigit(byte) {
                part = part * 10 + Int(byte - 48)
                hasDigits = true
            } else {
                guard hasDigits, let unit = unit(byte) else { return nil }
                total += part * unit
                part = 0
                hasDigits = false
            }
            guard part <= 0xFFFF_FFFF, total <= 0xFFFF_FFFF else { return nil }
        }
        // "1h30" is ambiguous: 30 has no unit.
        guard total == 0 || !hasDigits else { return nil }
        return total + part <= 0xFFFF_FFFF ? total + part : nil
    }

    /// The seconds of a unit.
    private static func unit(_ byte: UInt8) -> Int? {
        switch ASCII.lowercased(byte) {
        case UInt8(ascii: "s"): 1
        case UInt8(ascii: "m"): 60
        case UInt8(ascii: "h"): 3600
        case UInt8(ascii: "d"): 86_400
        case UInt8(ascii: "w"): 604_800
        default: nil
        }
    }

    /// NSD accepts only ascending units, or plain seconds.
    private static func unitsGoUp(_ period: UnsafeBufferPointer<UInt8>) -> Bool {
        var last = 0
        for byte in period where !ASCII.isDigit(byte) {
            guard let unit = unit(byte), unit > last, last != 1 else { return false }
            last = unit
        }
        return true
    }

    // MARK: Mnemonics

    private mutating func algorithm() throws(ZoneProblem) {
        let value = try mnemonic(Self.algorithms, "an algorithm", max: 0xFF)
        let token = tokens[index - 1]
        if !ASCII.isDigit(text[Int(token.start)]) {
            let name = String(decoding: bytes(of: token), as: UTF8.self).uppercased()
            warn(
                ZoneCheckers.unfamiliar(withAlgorithm: name, in: recordType), token, "the algorithm has this name",
                "write \(value)")
        }
        try put8(value)
    }

    private mutating func scheme() throws(ZoneProblem) {
        let value = try mnemonic(["NOTIFY": 1], "a scheme", max: 0xFF)
        let token = tokens[index - 1]
        if !ASCII.isDigit(text[Int(token.start)]) { warn(.nsd, token, "the scheme has this name", "write \(value)") }
        try put8(value)
    }

    private mutating func mnemonic(
        _ names: [String: Int], _ what: String, max: Int
    ) throws(ZoneProblem) -> Int {
        let token = try word(what)
        if let value = Self.decimal(bytes(of: token)) {
            guard value <= max else { throw bad(token, "\(what) must be at most \(max)") }
            return value
        }
        guard token.count <= 32, let value = names[String(decoding: bytes(of: token), as: UTF8.self).uppercased()]
        else { throw bad(token, "\(what) is a number or a known name") }
        return value
    }

    private static let algorithms = [
        "RSAMD5": 1, "DH": 2, "DSA": 3, "RSASHA1": 5, "DSA-NSEC3-SHA1": 6, "NSEC3DSA": 6,
        "RSASHA1-NSEC3-SHA1": 7, "NSEC3RSASHA1": 7, "RSASHA256": 8, "RSASHA512": 10, "ECC-GOST": 12, "ECCGOST": 12,
        "ECDSAP256SHA256": 13, "ECDSA256": 13, "ECDSAP384SHA384": 14, "ECDSA384": 14, "ED25519": 15, "ED448": 16,
        "INDIRECT": 252, "PRIVATEDNS": 253, "PRIVATEOID": 254,
    ]
    private static let certificateTypes = [
        "PKIX": 1, "SPKI": 2, "PGP": 3, "IPKIX": 4, "ISPKI": 5, "IPGP": 6, "ACPKIX": 7, "IACPKIX": 8, "URI": 253,
        "OID": 254,
    ]

    private mutating func time() throws(ZoneProblem) {
        let token = try word("a time")
        let digits = bytes(of: token)
        guard let value = Self.decimal(digits) else { throw bad(token, "a time is YYYYMMDDHHMMSS or seconds") }
        guard digits.count == 14 else {
            guard digits.count <= 10, value <= 0xFFFF_FFFF else {
                throw bad(token, "a time is YYYYMMDDHHMMSS or seconds up to 4294967295")
            }
            return try put32(value)
        }
        func part(_ range: Range<Int>) -> Int { Self.decimal(UnsafeBufferPointer(rebasing: digits[range])) ?? 0 }
        let (year, month, day) = (part(0..<4), part(4..<6), part(6..<8))
        let (hour, minute, second) = (part(8..<10), part(10..<12), part(12..<14))
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard year >= 1902, (1...12).contains(month), (1...days[month - 1]).contains(day), hour < 24, minute < 60,
            second < 60
        else { throw bad(token, "there is no such date") }
        let before = year - 1
        let daysBefore = before * 365 + before / 4 - before / 100 + before / 400 - 719_162
        let total = daysBefore + days[..<(month - 1)].reduce(0, +) + day - 1
        if year < 1970 {
            warn(
                [.nsd, .knot], token, "the date is before 1970",
                "write it 4294967296 seconds later, which means the same")
        }
        // RRSIG times count modulo 2^32 (RFC 4034 3.1.5).
        try put32((((total * 24 + hour) * 60 + minute) * 60 + second) & 0xFFFF_FFFF)
    }

    // MARK: Addresses

    private mutating func ipv4() throws(ZoneProblem) { try ipv4(word("an IPv4 address")) }

    mutating func ipv4(_ token: ZoneToken) throws(ZoneProblem) {
        guard let address = Self.ipv4(bytes(of: token)) else { throw bad(token, "this is not an IPv4 address") }
        try put32(Int(address))
    }

    /// Four decimal bytes with dots; a leading zero is refused, because some parsers read it as octal.
    static func ipv4(_ bytes: some Collection<UInt8>) -> UInt32? {
        var address: UInt32 = 0
        var part = 0
        var digits = 0
        var dots = 0
        for byte in bytes {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                address = address << 8 | UInt32(part)
                part = 0
                digits = 0
                dots += 1
            } else {
                guard ASCII.isDigit(byte), digits == 0 || part != 0 else { return nil }
                part = part * 10 + Int(byte - 48)
                digits += 1
                guard part <= 255 else { return nil }
            }
        }
        return dots == 3 && digits > 0 ? address << 8 | UInt32(part) : nil
    }

    private mutating func ipv6() throws(ZoneProblem) { try ipv6(word("an IPv6 address")) }

    mutating func ipv6(_ token: ZoneToken) throws(ZoneProblem) {
        guard let address = Self.ipv6(bytes(of: token)) else { throw bad(token, "this is not an IPv6 address") }
        try withUnsafeBytes(of: address) { bytes throws(ZoneProblem) in try put(bytes) }
    }

    /// What inet_pton accepts; nil for anything else.
    static func ipv6(_ bytes: some Collection<UInt8>) -> in6_addr? {
        guard bytes.count <= 45, !bytes.contains(0) else { return nil }
        var address = in6_addr()
        let isRead = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 46) { text in
            for (position, byte) in bytes.enumerated() { text[position] = CChar(bitPattern: byte) }
            text[bytes.count] = 0
            return inet_pton(AF_INET6, text.baseAddress!, &address) == 1
        }
        return isRead ? address : nil
    }
}
