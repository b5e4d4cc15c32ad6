internal import DNSWire

/// The parameters of SVCB and HTTPS.
///
/// - RFC: 9460 2.1, 2.2, 7 and Appendix A.
extension RecordDataParser {
    private static let keys: [String: Int] = [
        "mandatory": 0, "alpn": 1, "no-default-alpn": 2, "port": 3, "ipv4hint": 4, "ech": 5, "ipv6hint": 6,
        "dohpath": 7, "ohttp": 8, "tls-supported-groups": 9,
    ]

    private struct Parameter {
        var key: Int
        var value: [UInt8]
        var token: ZoneToken
    }

    /// Parameters to the end, sorted by key.
    mutating func serviceParameters() throws(ZoneProblem) {
        // Those of the alias form (priority 0) are kept: clients ignore them (RFC 9460 2.4.2).
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
        if let first = parameters.first, first.key == 0 {
            let given = Set(parameters.map(\.key))
            for position in stride(from: 0, to: first.value.count, by: 2) {
                let key = Int(first.value[position]) << 8 | Int(first.value[position + 1])
                guard given.contains(key) else {
                    throw bad(first.token, "key\(key) is mandatory but not given")
                }
            }
        }
        if let lone = parameters.first(where: { $0.key == 2 }), !parameters.contains(where: { $0.key == 1 }) {
            throw bad(lone.token, "no-default-alpn needs alpn beside it")
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
        var raw: [UInt8]?
        if let equals {
            if equals == whole.endIndex - 1, !isAtEnd, tokens[index].isQuoted, tokens[index].isGlued {
                raw = try value(next("a value"))
            } else {
                var rest = token
                rest.start += UInt32(equals + 1)
                raw = try value(rest)
            }
        }
        if !isAtEnd, tokens[index].isGlued { throw bad(tokens[index], "a blank must separate parameters") }
        let isGeneric = ASCII.lowercased(whole[0]) == UInt8(ascii: "k")  // no name starts so
        let value = isGeneric ? raw ?? [] : try wireValue(key, raw, token)
        guard value.withUnsafeBufferPointer({ RecordDataCheck.isParameter(key, $0) }) else {
            throw bad(token, "these bytes are not a value of this parameter")
        }
        return Parameter(key: key, value: value, token: token)
    }

    /// A key's number, from its name or `key123`, in lower case as RFC 9460 2.1 wants it.
    private static func key(_ bytes: some Collection<UInt8>) -> Int? {
        guard bytes.count <= 32 else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        if let known = keys[text] { return known }
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

    /// The bytes of a value after the escapes of a character-string; longer than 255 is fine here.
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
            guard value.isEmpty else { throw bad(token, "the parameter takes no value") }
            return []
        }
        guard key >= 10 || !value.isEmpty else { throw bad(token, "the parameter needs a value") }
        switch key {
        case 0:
            var numbers: [Int] = []
            for part in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                guard let number = Self.key(part), number != 0 else {
                    throw bad(token, "mandatory lists parameter keys, and not itself")
                }
                numbers.append(number)
            }
            guard Set(numbers).count == numbers.count else { throw bad(token, "a mandatory key is listed twice") }
            return numbers.sorted().flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        case 1:
            return try protocols(value, token)
        case 3:
            guard let port = Self.plainNumber(value) else { throw bad(token, "a port is 0 to 65535") }
            return [UInt8(port >> 8), UInt8(port & 0xFF)]
        case 4:
            return try list(value, token, "an IPv4 address is expected") { part in
                Self.ipv4(part).map { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
            }
        case 5:
            var decoder = Base64Decoder()
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
        case 7:
            // RFC 9461 5: a relative URI template with the variable "dns".
            let text = String(decoding: value, as: UTF8.self)
            guard value.first == UInt8(ascii: "/"), Array(text.utf8) == value, text.contains("{?dns}")
            else { throw bad(token, "dohpath is a UTF-8 template such as /dns-query{?dns}") }
            return value
        case 9:
            return try list(value, token, "a group number is expected") { part in
                Self.plainNumber(part).map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
            }
        default:
            return value
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
