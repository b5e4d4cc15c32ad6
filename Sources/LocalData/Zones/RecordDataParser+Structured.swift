internal import DNSWire
internal import Glibc

/// Types whose fields depend on each other.
extension RecordDataParser {
    // MARK: LOC

    /// A latitude, longitude and altitude with sizes.
    ///
    /// - RFC: 1876 3.
    mutating func location() throws(ZoneProblem) {
        let start = length
        try put32(0)  // version 0, then size and precisions, which come last in the text
        let latitude = try angle(limit: 90, positive: UInt8(ascii: "N"), negative: UInt8(ascii: "S"))
        let longitude = try angle(limit: 180, positive: UInt8(ascii: "E"), negative: UInt8(ascii: "W"))
        try put32(latitude)
        try put32(longitude)
        let token = try word("an altitude")
        guard let altitude = centimetres(token), (-10_000_000...4_284_967_295).contains(altitude) else {
            throw bad(token, "an altitude is -100000.00m to 42849672.95m")
        }
        let sign = text[Int(token.start)] == UInt8(ascii: "-") ? 1 : 0
        if token.count > sign, text[Int(token.start) + sign] == UInt8(ascii: ".") {
            warn(.knot, token, Self.noDigit, "write 0.")
        }
        if altitude == -10_000_000, bytes(of: token).contains(UInt8(ascii: ".")) {
            warn(.nsd, token, "the altitude is the lowest one", "write -99999.99m")
        }
        try put32(altitude + 10_000_000)
        for (position, preset) in [(1, 0x12), (2, 0x16), (3, 0x13)] {
            if isAtEnd {
                patch8(at: start + position, preset)
                continue
            }
            let token = try word("a size")
            guard let size = centimetres(token), (0...9_000_000_000).contains(size) else {
                throw bad(token, "a size is 0.00m to 90000000.00m")
            }
            if text[Int(token.start)] == UInt8(ascii: ".") { warn([.nsd, .knot], token, Self.noDigit, "write 0.") }
            var (mantissa, exponent) = (size, 0)
            while mantissa > 9 {
                mantissa /= 10
                exponent += 1
            }
            patch8(at: start + position, mantissa << 4 | exponent)
        }
    }

    /// Thousandths of an arc second, offset by 2^31.
    private mutating func angle(limit: Int, positive: UInt8, negative: UInt8) throws(ZoneProblem) -> Int {
        var thousandths = 0
        var part = 0
        while true {
            let token = try word("degrees, minutes, seconds or a direction")
            let bytes = bytes(of: token)
            if part > 0, bytes.count == 1, bytes[0] == positive || bytes[0] == negative {
                guard thousandths <= limit * 3_600_000 else { throw bad(token, "more than \(limit) degrees") }
                return (1 << 31) + (bytes[0] == positive ? thousandths : -thousandths)
            }
            switch part {
            case 0, 1:
                guard let value = Self.decimal(bytes), value <= (part == 0 ? limit : 59) else {
                    throw bad(token, part == 0 ? "degrees are 0 to \(limit)" : "minutes are 0 to 59")
                }
                if bytes.count > (part == 0 ? 3 : 2) { warn(.nsd, token, "there are leading zeros", "leave them out") }
                thousandths += value * (part == 0 ? 3_600_000 : 60_000)
            case 2:
                guard let value = fixedPoint(bytes, decimals: 3), value < 60_000 else {
                    throw bad(token, "seconds are 0 to 59.999")
                }
                let whole = bytes.firstIndex(of: UInt8(ascii: ".")) ?? bytes.count
                if whole == 0 { warn([.nsd, .knot], token, Self.noDigit, "write 0.") }
                if whole > 2 { warn(.nsd, token, "there are leading zeros", "leave them out") }
                if whole == bytes.count - 1 { warn(.nsd, token, "no digit follows the point", "leave the point out") }
                thousandths += value
            default: throw bad(token, "a direction is expected")
            }
            part += 1
        }
    }

    private static let noDigit = "no digit precedes the point"

    /// `12.34m` as centimetres.
    private func centimetres(_ token: ZoneToken) -> Int? {
        var bytes = bytes(of: token)
        if bytes.last == UInt8(ascii: "m") { bytes = UnsafeBufferPointer(rebasing: bytes.dropLast()) }
        guard let first = bytes.first, first == UInt8(ascii: "-") else { return fixedPoint(bytes, decimals: 2) }
        return fixedPoint(UnsafeBufferPointer(rebasing: bytes.dropFirst()), decimals: 2).map { -$0 }
    }

    /// A decimal number with at most `decimals` digits after its point, times 10^decimals.
    private func fixedPoint(_ bytes: UnsafeBufferPointer<UInt8>, decimals: Int) -> Int? {
        var value = 0
        var behind: Int?
        var digits = 0
        for byte in bytes {
            if byte == UInt8(ascii: "."), behind == nil {
                behind = 0
                continue
            }
            guard ASCII.isDigit(byte), digits < 12, behind ?? 0 < decimals else { return nil }
            value = value * 10 + Int(byte - 48)
            digits += 1
            behind = behind.map { $0 + 1 }
        }
        guard digits > 0 else { return nil }
        for _ in (behind ?? 0)..<decimals { value *= 10 }
        return value
    }

    // MARK: APL

    /// `[!]AFI:ADDRESS/PREFIX` to the end.
    ///
    /// - RFC: 3123 4 and 5.
    mutating func addressPrefixes() throws(ZoneProblem) {
        while !isAtEnd {
            let token = try word("an address prefix")
            var rest = bytes(of: token)[...]
            let isNegated = rest.first == UInt8(ascii: "!")
            if isNegated { rest = rest.dropFirst() }
            guard let colon = rest.firstIndex(of: UInt8(ascii: ":")),
                let slash = rest.lastIndex(of: UInt8(ascii: "/")), colon < slash,
                let family = Self.decimal(UnsafeBufferPointer(rebasing: rest[rest.startIndex..<colon])),
                let prefix = Self.decimal(UnsafeBufferPointer(rebasing: rest[(slash + 1)...])),
                family == 1 || family == 2, prefix <= (family == 1 ? 32 : 128)
            else { throw bad(token, "an address prefix is [!]1:192.0.2.0/24 or [!]2:2001:db8::/32") }
            if colon - rest.startIndex > 1 { warn([.nsd, .knot], token, "there is a leading zero", "leave it out") }
            if rest.count - slash > 2, rest[slash + 1] == UInt8(ascii: "0") {
                warn(.nsd, token, "the length of the prefix starts with 0", "leave it out")
            }
            let address = rest[(colon + 1)..<slash]
            try put16(family)
            try put8(prefix)
            let lengthPosition = length
            try put8(0)
            if family == 1 {
                guard let value = Self.ipv4(address) else { throw bad(token, "this is not an IPv4 address") }
                try put32(Int(value))
            } else {
                guard let value = Self.ipv6(address) else { throw bad(token, "this is not an IPv6 address") }
                try withUnsafeBytes(of: value) { bytes throws(ZoneProblem) in try put(bytes) }
            }
            var end = length
            while end > lengthPosition + 1, output[end - 1] == 0 { end -= 1 }
            truncate(to: end)
            patch8(at: lengthPosition, (isNegated ? 0x80 : 0) | (end - lengthPosition - 1))
        }
    }

    // MARK: WKS

    /// A protocol and a bitmap of its ports.
    ///
    /// - RFC: 1035 3.4.2.
    mutating func services() throws(ZoneProblem) {
        let token = try word("a protocol")
        let number: Int
        switch String(decoding: bytes(of: token), as: UTF8.self) {
        case "tcp", "TCP": number = 6
        case "udp", "UDP": number = 17
        default:
            guard let value = Self.decimal(bytes(of: token)), value <= 255 else {
                throw bad(token, "a protocol is tcp, udp or a number up to 255")
            }
            number = value
        }
        try put8(number)
        let start = length
        while !isAtEnd {
            let token = try word("a port")
            guard let port = Self.decimal(bytes(of: token)) ?? Self.port(bytes(of: token), number), port <= 65_535
            else {
                throw bad(token, "no port has this name here; write its number")
            }
            while length <= start + port / 8 { try put8(0) }
            output[start + port / 8] |= 0x80 >> UInt8(port % 8)
        }
    }

    /// The port of a service name, from the system's services database.
    private static func port(_ name: UnsafeBufferPointer<UInt8>, _ number: Int) -> Int? {
        guard name.count <= 64, number == 6 || number == 17 else { return nil }
        var entry = servent()
        var found: UnsafeMutablePointer<servent>?
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2048) { room in
            let name = String(decoding: name.map(ASCII.lowercased), as: UTF8.self)
            let status = getservbyname_r(
                name, number == 6 ? "tcp" : "udp", &entry, room.baseAddress!, room.count, &found)
            guard status == 0, let found else { return nil }
            return Int(UInt16(bigEndian: UInt16(truncatingIfNeeded: found.pointee.s_port)))
        }
    }

    // MARK: Gateways

    /// - RFC: 4025 3.1.
    mutating func ipsecKey() throws(ZoneProblem) {
        try put8(number("a precedence", max: 255))
        let type = try number("a gateway type", max: 3)
        try put8(type)
        let algorithm = try number("an algorithm", max: 255)
        try put8(algorithm)
        try gateway(type)
        try base64ToEnd(isOptional: algorithm == 0)
    }

    /// - RFC: 8777 4.3.
    mutating func relay() throws(ZoneProblem) {
        try put8(number("a precedence", max: 255))
        let isOptional = try number("0 or 1", max: 1)
        let type = try number("a relay type", max: 3)
        try put8(isOptional << 7 | type)
        try gateway(type)
    }

    private mutating func gateway(_ type: Int) throws(ZoneProblem) {
        switch type {
        case 0:
            let token = try word("a dot")
            guard bytes(of: token).elementsEqual([UInt8(ascii: ".")]) else {
                throw bad(token, "type 0 has no gateway: write a dot")
            }
        case 1: try ipv4(word("an IPv4 address"))
        case 2: try ipv6(word("an IPv6 address"))
        default: try name()
        }
    }

    /// - RFC: 8005 6.
    mutating func hostIdentity() throws(ZoneProblem) {
        let start = length
        try put8(0)
        let algorithm = try number("an algorithm", max: 255)
        try put8(algorithm)
        try put16(0)
        let tag = try word("a host identity tag")
        try hex(tag)
        let tagLength = length - start - 4
        guard (1...255).contains(tagLength) else { throw bad(tag, "a host identity tag has 1 to 255 bytes") }
        let key = try word("a public key")
        try base64(key)
        let keyLength = length - start - 4 - tagLength
        guard keyLength > 0 else { throw bad(key, "the public key is empty") }
        patch8(at: start, tagLength)
        patch16(at: start + 2, keyLength)
        while !isAtEnd { try name() }
    }
}
