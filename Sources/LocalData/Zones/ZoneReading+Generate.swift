internal import DNSWire
import Platform

/// `$GENERATE RANGE OWNER [TTL] [CLASS] TYPE RDATA`: one record for each number of the range.
///
/// A BIND extension: `$` is the number, `${offset,width,base}` formats it, `\$` and `$$` are a dollar sign.
extension ZoneReading {
    mutating func generate(_ tokenizer: borrowing ZoneTokenizer, place: Place) throws(ZoneProblem) {
        var parser = parser(tokenizer, at: 1)
        let rangeToken = try parser.word("a range")
        guard let range = Self.range(Array(parser.bytes(of: rangeToken))) else {
            throw parser.bad(rangeToken, "a range is START-STOP or START-STOP/STEP, below 2147483648")
        }
        // Generated lines reuse the token storage, so the template is copied as text.
        var template: [UInt8] = []
        _ = try parser.next("an owner name")
        for token in tokenizer.tokens[2...] {
            if !template.isEmpty, !token.followsDirectly { template.append(UInt8(ascii: " ")) }
            if token.isQuoted { template.append(UInt8(ascii: "\"")) }
            template += parser.bytes(of: token)
            if token.isQuoted { template.append(UInt8(ascii: "\"")) }
        }
        for (position, number) in range.enumerated() {
            generated += 1
            guard generated <= limits.generated else {
                throw ZoneProblem("$GENERATE makes more than \(limits.generated) records")
            }
            do throws(ZoneProblem) {
                try generatedLine(Self.fill(template, with: number), place: place, isFirst: position == 0)
            } catch {
                // One report for the whole range: the other numbers would fail the same way.
                throw ZoneProblem("$GENERATE at \(number): \(error.message)")
            }
        }
    }

    /// `START-STOP[/STEP]`.
    private static func range(_ bytes: [UInt8]) -> StrideThrough<Int>? {
        let halves = bytes.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        let ends = halves[0].split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2, let start = number(ends[0]), let stop = number(ends[1]), start <= stop else {
            return nil
        }
        var step = 1
        if halves.count == 2 {
            guard let given = number(halves[1]), given > 0 else { return nil }
            step = given
        }
        return stride(from: start, through: stop, by: step)
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard (1...10).contains(bytes.count), bytes.allSatisfy(ASCII.isDigit) else { return nil }
        let value = bytes.reduce(0) { $0 * 10 + Int($1 - 48) }
        return value <= 0x7FFF_FFFF ? value : nil
    }

    private static func fill(_ template: [UInt8], with number: Int) throws(ZoneProblem) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(template.count + 16)
        var position = 0
        while position < template.count {
            let byte = template[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\\"):
                line.append(byte)
                if position < template.count { line.append(template[position]) }
                position += 1
            case UInt8(ascii: "$"):
                let next = position < template.count ? template[position] : 0
                if next == UInt8(ascii: "$") {
                    line += [UInt8(ascii: "\\"), next]
                    position += 1
                } else if next == UInt8(ascii: "{") {
                    guard let end = template[position...].firstIndex(of: UInt8(ascii: "}")) else {
                        throw ZoneProblem("'${' is never closed")
                    }
                    line += try show(number, template[(position + 1)..<end])
                    position = end + 1
                } else {
                    line += Array(String(number).utf8)
                }
            default:
                line.append(byte)
            }
        }
        return line
    }

    /// `OFFSET[,WIDTH[,BASE]]`; base is d, o, x, X, or n or N for reversed nibbles with dots.
    private static func show(_ number: Int, _ modifier: ArraySlice<UInt8>) throws(ZoneProblem) -> [UInt8] {
        let bad = ZoneProblem("'${...}' holds OFFSET,WIDTH,BASE; the width is at most 255, the base d, o, x, X, n or N")
        let parts = modifier.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count) else { throw bad }
        let isNegative = parts[0].first == UInt8(ascii: "-")
        let digits = isNegative || parts[0].first == UInt8(ascii: "+") ? parts[0].dropFirst() : parts[0]
        guard let offset = Self.number(digits) else { throw bad }
        let value = number + (isNegative ? -offset : offset)
        guard value >= 0 else { throw ZoneProblem("the number with its offset is negative: \(value)") }
        var width = 0
        if parts.count > 1 {
            guard let given = Self.number(parts[1]), given <= 255 else { throw bad }
            width = given
        }
        let base = parts.count > 2 ? parts[2] : [UInt8(ascii: "d")]
        guard base.count == 1, let letter = base.first else { throw bad }
        let text: String
        switch letter {
        case UInt8(ascii: "d"): text = String(value)
        case UInt8(ascii: "o"): text = String(value, radix: 8)
        case UInt8(ascii: "x"): text = String(value, radix: 16)
        case UInt8(ascii: "X"): text = String(value, radix: 16, uppercase: true)
        case UInt8(ascii: "n"), UInt8(ascii: "N"):
            return nibbles(value, width: width, uppercase: letter == UInt8(ascii: "N"))
        default: throw bad
        }
        return Array(repeating: UInt8(ascii: "0"), count: max(0, width - text.utf8.count)) + text.utf8
    }

    /// Hexadecimal digits, lowest first, with dots between; `width` counts the dots too.
    private static func nibbles(_ value: Int, width: Int, uppercase: Bool) -> [UInt8] {
        var text: [UInt8] = []
        var rest = value
        repeat {
            if !text.isEmpty { text.append(UInt8(ascii: ".")) }
            text += Array(String(rest & 15, radix: 16, uppercase: uppercase).utf8)
            rest >>= 4
        } while rest != 0 || text.count < width
        return text
    }
}
