internal import DNSWire

/// Fields that are written as hexadecimal, base64, base32, or lists of types.
extension RecordDataParser {
    /// Hexadecimal digits to the end, blanks allowed between them. Returns the number of bytes.
    @discardableResult
    mutating func hexToEnd(isOptional: Bool = false) throws(ZoneProblem) -> Int {
        let start = length
        var high: UInt8?
        if !isOptional, isAtEnd { _ = try next("hexadecimal digits") }
        while !isAtEnd {
            let token = try word("hexadecimal digits")
            if high != nil { warn(.knot, token, "the two digits of a byte stand apart", "join them") }
            for byte in bytes(of: token) {
                guard let digit = Base16.value(byte) else { throw bad(token, "hexadecimal digits are expected") }
                if let first = high {
                    try put8(Int(first << 4 | digit))
                    high = nil
                } else {
                    high = digit
                }
            }
        }
        guard high == nil else { throw bad(tokens[index - 1], "the number of hexadecimal digits is odd") }
        return length - start
    }

    /// Hexadecimal digits of one token.
    mutating func hex(_ token: ZoneToken) throws(ZoneProblem) {
        let digits = bytes(of: token)
        guard digits.count.isMultiple(of: 2) else { throw bad(token, "the number of hexadecimal digits is odd") }
        for position in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Base16.value(digits[position]), let low = Base16.value(digits[position + 1]) else {
                throw bad(token, "hexadecimal digits are expected")
            }
            try put8(Int(high << 4 | low))
        }
    }

    mutating func salt() throws(ZoneProblem) {
        let token = try word("a salt")
        let start = length
        try put8(0)
        if token.count == 1, text[Int(token.start)] == UInt8(ascii: "-") { return }
        try hex(token)
        guard length - start - 1 <= 255 else { throw bad(token, "a salt is at most 255 bytes long") }
        patch8(at: start, length - start - 1)
    }

    /// Base64 to the end of the entry, blanks allowed.
    mutating func base64ToEnd(isOptional: Bool) throws(ZoneProblem) {
        if isAtEnd {
            if isOptional { return }
            _ = try next("base64 text")
        }
        var decoder = Base64.Decoder()
        while !isAtEnd {
            let token = try word("base64 text")
            if !isAtEnd, !token.count.isMultiple(of: 4) {
                warn(.knot, token, "base64 text is cut inside a group of four", "join the parts")
            }
            try base64(token, &decoder)
        }
        guard decoder.isComplete else { throw bad(tokens[index - 1], "the base64 text is cut short or badly padded") }
    }

    mutating func base64OrDash() throws(ZoneProblem) {
        if index == tokens.count - 1, bytes(of: tokens[index]).elementsEqual([UInt8(ascii: "-")]) {
            index += 1
        } else {
            try base64ToEnd(isOptional: false)
        }
    }

    mutating func base64(_ token: ZoneToken) throws(ZoneProblem) {
        var decoder = Base64.Decoder()
        try base64(token, &decoder)
        guard decoder.isComplete else { throw bad(token, "the base64 text is cut short or badly padded") }
    }

    private mutating func base64(_ token: ZoneToken, _ decoder: inout Base64.Decoder) throws(ZoneProblem) {
        for byte in bytes(of: token) {
            guard let produced = decoder.add(byte) else { throw bad(token, "this is not base64") }
            if let produced { try put8(Int(produced)) }
        }
    }

    mutating func nextHash() throws(ZoneProblem) {
        let token = try word("a hash")
        let start = length
        try put8(0)
        var decoder = Base32Hex.Decoder()
        for byte in bytes(of: token) {
            guard let produced = decoder.add(byte) else { throw bad(token, "this is not base32hex") }
            if let produced { try put8(Int(produced)) }
        }
        guard decoder.isComplete, (1...255).contains(length - start - 1) else {
            throw bad(token, "the base32hex text is cut short")
        }
        patch8(at: start, length - start - 1)
    }

    /// The type a token names.
    func type(of token: ZoneToken) throws(ZoneProblem) -> RecordType {
        guard !token.isQuoted, let type = TypeMnemonic.type(of: bytes(of: token)) else {
            throw bad(token, "this is not a record type; unknown ones are written TYPE123")
        }
        return type
    }

    /// The same as a field of RDATA, where all checkers accept the numeric form.
    mutating func listedType(_ token: ZoneToken) throws(ZoneProblem) -> RecordType {
        let type = try type(of: token)
        let unfamiliar = ZoneCheckers.unfamiliar(with: type)
        guard !unfamiliar.isEmpty, !TypeMnemonic.isNumbered(bytes(of: token)) else { return type }
        guard unfamiliar != .all else {
            throw bad(token, "\(unfamiliar.refuse) this type's name; write TYPE\(type.rawValue)")
        }
        warn(unfamiliar, token, "the type has this name", "write TYPE\(type.rawValue)")
        return type
    }

    /// Types to the end, as window blocks of a bitmap.
    ///
    /// - RFC: 4034 4.1.2.
    mutating func types() throws(ZoneProblem) {
        var types: [UInt16] = []
        while !isAtEnd { types.append(try listedType(word("a record type")).rawValue) }
        types.sort()
        var position = 0
        while position < types.count {
            let window = types[position] >> 8
            try put8(Int(window))
            let lengthPosition = length
            try put8(0)
            while position < types.count, types[position] >> 8 == window {
                let bit = Int(types[position] & 0xFF)
                while length <= lengthPosition + 1 + bit / 8 { try put8(0) }
                output[lengthPosition + 1 + bit / 8] |= 0x80 >> UInt8(bit % 8)
                position += 1
            }
            patch8(at: lengthPosition, length - lengthPosition - 1)
        }
    }

    /// `count` pairs of hexadecimal digits with hyphens between.
    ///
    /// - RFC: 7043 3.2 and 4.2.
    mutating func hardwareAddress(count: Int) throws(ZoneProblem) {
        let token = try word("an address")
        let bytes = bytes(of: token)
        let message = "\(count) pairs of hexadecimal digits with hyphens between are expected"
        guard bytes.count == count * 3 - 1 else { throw bad(token, message) }
        for position in stride(from: 0, to: bytes.count, by: 3) {
            guard let high = Base16.value(bytes[position]), let low = Base16.value(bytes[position + 1]),
                position + 2 == bytes.count || bytes[position + 2] == UInt8(ascii: "-")
            else { throw bad(token, message) }
            try put8(Int(high << 4 | low))
        }
    }

    /// Four groups of one to four hexadecimal digits with colons between.
    ///
    /// - RFC: 6742 2.1.1.
    mutating func locator() throws(ZoneProblem) {
        let token = try word("a locator")
        let groups = bytes(of: token).split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard groups.count == 4 else { throw bad(token, "four groups of hexadecimal digits are expected") }
        for group in groups {
            guard (1...4).contains(group.count) else { throw bad(token, "a group has one to four digits") }
            if group.count < 4 { warn(.knot, token, "a group has less than four digits", "write its zeros") }
            var value = 0
            for byte in group {
                guard let digit = Base16.value(byte) else { throw bad(token, "hexadecimal digits are expected") }
                value = value << 4 | Int(digit)
            }
            try put16(value)
        }
    }

    /// `0x`, then hexadecimal digits with dots between them.
    ///
    /// - RFC: 1706 7.
    mutating func nsap() throws(ZoneProblem) {
        let token = try word("an NSAP address")
        let bytes = bytes(of: token)
        guard bytes.count > 2, bytes[0] == UInt8(ascii: "0"), ASCII.lowercased(bytes[1]) == UInt8(ascii: "x") else {
            throw bad(token, "an NSAP address starts with 0x")
        }
        var high: UInt8?
        for byte in bytes[2...] where byte != UInt8(ascii: ".") {
            guard let digit = Base16.value(byte) else { throw bad(token, "hexadecimal digits are expected") }
            if let first = high {
                try put8(Int(first << 4 | digit))
                high = nil
            } else {
                high = digit
            }
        }
        guard high == nil, length > 0 else { throw bad(token, "the number of hexadecimal digits is odd") }
    }

    /// An ATM address: a telephone number (E.164), or hexadecimal digits.
    mutating func atma() throws(ZoneProblem) {
        let token = try word("an address")
        let isNumber = bytes(of: token).first == UInt8(ascii: "+")
        let digits = bytes(of: token).dropFirst(isNumber ? 1 : 0).filter { $0 != UInt8(ascii: ".") }
        try put8(isNumber ? 1 : 0)
        guard !digits.isEmpty, isNumber || digits.count.isMultiple(of: 2) else {
            throw bad(token, "an ATM address is + and digits, or pairs of hexadecimal digits")
        }
        if isNumber {
            guard digits.allSatisfy(ASCII.isDigit) else { throw bad(token, "digits are expected") }
            return try put(digits)
        }
        for position in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Base16.value(digits[position]), let low = Base16.value(digits[position + 1]) else {
                throw bad(token, "hexadecimal digits are expected")
            }
            try put8(Int(high << 4 | low))
        }
    }

    /// RDATA of any type: `\# LENGTH HEX`.
    ///
    /// - RFC: 3597 5.
    mutating func generic() throws(ZoneProblem) {
        let wanted = try number("the length of the RDATA", max: Self.maximumLength)
        let digits = tokens[index - 1]
        if digits.count > 1, text[Int(digits.start)] == UInt8(ascii: "0") {
            warn(.knot, digits, "the length starts with 0", "leave it out")
        }
        let count = try hexToEnd(isOptional: true)
        guard count == wanted else {
            throw ZoneProblem("the RDATA has \(count) bytes, but \\# says \(wanted)", line: tokens[index - 1].line)
        }
    }
}
