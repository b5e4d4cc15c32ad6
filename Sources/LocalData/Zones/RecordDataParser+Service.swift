internal import DNSWire

/// The parameters of SVCB and HTTPS.
///
/// - RFC: 9460 2.1, 2.2, 7 and Appendix A.
extension RecordDataParser {
    private struct Parameter {
        var key: Int
        var value: [UInt8]
        var token: ZoneToken
    }

    /// Parameters to the end, sorted by key.
    mutating func serviceParameters() throws(ZoneProblem) {
        // AliasMode (priority 0) may have parameters; they are kept, and clients ignore them (RFC 9460 2.4.2).
        var parameters: [Parameter] = []
        while !isAtEnd { parameters.append(try serviceParameter()) }
        parameters.sort { $0.key < $1.key }
        for (one, other) in zip(parameters, parameters.dropFirst()) where one.key == other.key {
            throw bad(other.token, "the parameter is given twice")
        }
        for parameter in parameters {
            try put16(parameter.key)
            try put16(parameter.value.count)
            try put(parameter.value)
        }
    }

    private mutating func serviceParameter() throws(ZoneProblem) -> Parameter {
        let token = try word("a parameter")
        let whole = bytes(of: token)
        let equals = whole.firstIndex(of: UInt8(ascii: "="))
        let keyBytes = UnsafeBufferPointer(rebasing: whole[..<(equals ?? whole.endIndex)])
        guard let key = Self.key(keyBytes) else {
            throw bad(token, "this is not a parameter; unknown ones are written key123=value")
        }
        guard key < 65_535 else { throw bad(token, RecordDataCheck.reservedKey) }
        var raw: [UInt8]?
        var isQuoted = false
        if let equals {
            if equals == whole.endIndex - 1, !isAtEnd, tokens[index].isQuoted, tokens[index].followsDirectly {
                index += 1
                isQuoted = true
                raw = try value(tokens[index - 1])
            } else {
                var rest = token
                rest.start += UInt32(equals + 1)
                raw = try value(rest)
            }
        }
        if !isAtEnd, tokens[index].followsDirectly { throw bad(tokens[index], "a blank must separate parameters") }
        let isNumbered = ASCII.lowercased(whole[0]) == UInt8(ascii: "k")  // no name starts so
        warnAboutParameter(key, raw, token, isNumbered: isNumbered, isQuoted: isQuoted)
        let value = isNumbered ? raw ?? [] : try wireValue(key, raw, token)
        return Parameter(key: key, value: value, token: token)
    }

    private mutating func warnAboutParameter(
        _ key: Int, _ raw: [UInt8]?, _ token: ZoneToken, isNumbered: Bool, isQuoted: Bool
    ) {
        if let raw, raw.isEmpty {
            var checkers: ZoneCheckers = isQuoted ? [] : .knot
            if key == 2 || key == 8 { checkers.insert(.nsd) }
            if key == 2, !isNumbered { checkers.insert(.knot) }
            return warn(checkers, token, "no value follows the equals sign", "leave it out")
        }
        switch key {
        case 0, 1, 3, 4, 5, 6, 9:
            if isNumbered {
                let name = RecordDataCheck.name(of: key)
                warn(token, "NSD 4.12 takes the value of key\(key) for the text of \(name); write \(name)=...")
            } else if key == 3, raw?.count ?? 0 > 5 {
                warn(.nsd, token, "the port has more than five digits", "leave zeros out")
            } else if key == 9 {
                warn([.knot, .bind], token, "the key has this name", "write key9 and the value's bytes")
            }
        case 8 where !isNumbered: warn(.bind, token, "the key has this name", "write key8")
        default: break
        }
    }

    /// A key's number, from its name or `key123`. Lower case only (RFC 9460 2.1).
    private static func key(_ bytes: some Collection<UInt8>) -> Int? {
        guard bytes.count <= 32 else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        if let known = RecordDataCheck.keys.firstIndex(of: text) { return known }
        guard text.hasPrefix("key") else { return nil }
        let digits = text.utf8.dropFirst(3)
        guard let first = digits.first, digits.count <= 5, first != UInt8(ascii: "0") || digits.count == 1 else {
            return nil
        }
        var number = 0
        for digit in digits {
            guard ASCII.isDigit(digit) else { return nil }
            number = number * 10 + Int(digit - 48)
        }
        return number <= 65_535 ? number : nil
    }

    /// The bytes of a value, with the escapes of a character-string resolved; it may exceed 255 bytes.
    private mutating func value(_ token: ZoneToken) throws(ZoneProblem) -> [UInt8] {
        let start = length
        try unescaped(token)
        let value = Array(UnsafeBufferPointer(start: output + start, count: length - start))
        truncate(to: start)
        return value
    }

    private mutating func wireValue(_ key: Int, _ raw: [UInt8]?, _ token: ZoneToken) throws(ZoneProblem) -> [UInt8] {
        let value = raw ?? []
        if key == 2 || key == 8 {
            guard value.isEmpty, key == 2 || raw == nil else { throw bad(token, "the parameter takes no value") }
            return []
        }
        guard key >= 10 || !value.isEmpty else { throw bad(token, "the parameter needs a value") }
        switch key {
        case 0:
            var numbers: [Int] = []
            for part in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                guard let number = Self.key(part), (1..<65_535).contains(number) else {
                    throw bad(token, "mandatory lists parameter keys, and not itself")
                }
                numbers.append(number)
                warnAboutMandatory(number, part, token)
            }
            guard Set(numbers).count == numbers.count else { throw bad(token, "a mandatory key is listed twice") }
            return numbers.sorted().flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        case 1:
            let isEscaped = value.contains(UInt8(ascii: "\\")) || token.isEscaped && value.contains(UInt8(ascii: ","))
            if isEscaped { warn(token, "Knot 3.4 doesn't read every escape in alpn; leave ',' and '\\' out of names") }
            return try protocols(value, token)
        case 3:
            guard let port = Self.plainNumber(value) else { throw bad(token, "a port is 0 to 65535") }
            return [UInt8(port >> 8), UInt8(port & 0xFF)]
        case 4:
            return try list(value, token, "an IPv4 address is expected") { part in
                Self.ipv4(part).map { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
            }
        case 5:
            var decoder = Base64.Decoder()
            var bytes: [UInt8] = []
            for byte in value {
                guard let produced = decoder.add(byte) else { throw bad(token, "ech is base64") }
                if let produced { bytes.append(produced) }
            }
            guard decoder.isComplete else { throw bad(token, "the base64 text is cut short or badly padded") }
            return bytes
        case 6:
            return try list(value, token, "an IPv6 address is expected") { part in
                Self.ipv6(part).map { address in withUnsafeBytes(of: address) { Array($0) } }
            }
        case 9:
            var groups: Set<Int> = []
            return try list(value, token, "group numbers are expected, each once") { part in
                guard let group = Self.plainNumber(part), groups.insert(group).inserted else { return nil }
                return [UInt8(group >> 8), UInt8(group & 0xFF)]
            }
        default:
            return value
        }
    }

    private mutating func warnAboutMandatory(_ key: Int, _ text: ArraySlice<UInt8>, _ token: ZoneToken) {
        if recordType == .https, key == 2 || key == 3 {
            warn(.nsd, token, "key\(key) is mandatory in HTTPS anyway", "leave it out")
        } else if key == 8 || key == 9, text.first != UInt8(ascii: "k") {
            warn(key == 8 ? .bind : [.knot, .bind], token, "a key of the list has this name", "write key\(key)")
        }
    }

    private static func plainNumber(_ bytes: some Collection<UInt8>) -> Int? {
        guard (1...10).contains(bytes.count), bytes.allSatisfy(ASCII.isDigit) else { return nil }
        let value = bytes.reduce(0) { $0 * 10 + Int($1 - 48) }
        return value <= 0xFFFF ? value : nil
    }

    private func list(
        _ value: [UInt8], _ token: ZoneToken, _ message: String, _ read: (ArraySlice<UInt8>) -> [UInt8]?
    ) throws(ZoneProblem) -> [UInt8] {
        var wire: [UInt8] = []
        for part in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            guard let bytes = read(part) else { throw bad(token, message) }
            wire += bytes
        }
        return wire
    }

    /// The second layer of escapes: `\,` and `\\` inside the items of a list (RFC 9460 A.1).
    private func protocols(_ value: [UInt8], _ token: ZoneToken) throws(ZoneProblem) -> [UInt8] {
        var wire: [UInt8] = []
        var item: [UInt8] = []
        func close() throws(ZoneProblem) {
            guard (1...255).contains(item.count) else { throw bad(token, "a protocol name has 1 to 255 bytes") }
            wire.append(UInt8(item.count))
            wire += item
            item = []
        }
        var iterator = value.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: ","): try close()
            case UInt8(ascii: "\\"):
                guard let escaped = iterator.next() else { throw bad(token, "a backslash is last") }
                item.append(escaped)
            default: item.append(byte)
            }
        }
        try close()
        return wire
    }
}
