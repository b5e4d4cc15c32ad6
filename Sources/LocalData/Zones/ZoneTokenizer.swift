import Platform

/// One word or quoted string of a master file, as a byte range.
struct ZoneToken: BitwiseCopyable {
    var start: UInt32
    var end: UInt32
    var line: UInt32
    /// Written in quotes; the range is what is between them.
    var isQuoted: Bool
    /// Contains at least one backslash.
    var isEscaped: Bool
    /// Follows the token before it without a blank, as the value of `alpn="h2"` does.
    var followsDirectly: Bool

    var count: Int { Int(end - start) }
}

/// A problem with an entry; the entry is skipped and reading continues after it.
struct ZoneProblem: Error {
    /// 0 means the line where the entry starts.
    var line: UInt32 = 0
    var message: String

    init(_ message: String, line: UInt32 = 0) {
        self.line = line
        self.message = message
    }
}

/// Splits a master file into entries and tokens: handles parentheses, quotes, escapes and comments.
///
/// Reads each byte once and makes no strings. An entry ends at the first line end outside parentheses and quotes.
/// - RFC: 1035 5.1.
struct ZoneTokenizer {
    /// The whole file. The owner of the bytes outlives the tokenizer (`ZoneReading.readFile`).
    let text: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var line: UInt32 = 1
    private var openParenthesis: (position: Int, line: UInt32)?

    private let storage: UnsafeMutablePointer<ZoneToken>
    private var count = 0
    /// The tokens of the last entry read; empty for a blank line.
    var tokens: UnsafeBufferPointer<ZoneToken> { UnsafeBufferPointer(start: storage, count: count) }
    /// The entry's first line.
    private(set) var entryLine: UInt32 = 1
    /// The entry starts with a blank, so it has no owner name of its own.
    private(set) var startsWithBlank = false
    /// The entry starts with a parenthesis.
    private(set) var startsWithParenthesis = false
    /// The first line that ends with CR LF; 0 while there is none.
    private(set) var carriageReturnLine: UInt32 = 0

    /// More tokens than the longest RDATA can need (65,535 bytes as single hex digits, plus some).
    static let maximumTokens = 140_000

    /// `storage` has room for `maximumTokens`, and outlives the tokenizer.
    init(_ text: UnsafeBufferPointer<UInt8>, storage: UnsafeMutablePointer<ZoneToken>) {
        self.text = text
        self.storage = storage
    }

    /// Reads the next entry into `tokens`; false at the end of the file.
    ///
    /// After a problem the tokenizer is at the next entry.
    mutating func next() throws(ZoneProblem) -> Bool {
        count = 0
        guard position < text.count else { return false }
        entryLine = line
        startsWithBlank = text[position] == UInt8(ascii: " ") || text[position] == UInt8(ascii: "\t")
        startsWithParenthesis = text[position] == UInt8(ascii: "(")
        openParenthesis = nil
        var glued = false
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: " "), UInt8(ascii: "\t"):
                position += 1
                glued = false
            case UInt8(ascii: "\n"):
                position += 1
                line += 1
                glued = false
                if openParenthesis == nil { return true }
            case UInt8(ascii: "\r"):
                position += 1
                glued = false
                guard position == text.count || text[position] == UInt8(ascii: "\n") else {
                    throw skipLine("a carriage return is inside the line; lines end with LF or CRLF")
                }
                if carriageReturnLine == 0 { carriageReturnLine = line }
            case UInt8(ascii: ";"):
                while position < text.count, text[position] != UInt8(ascii: "\n") { position += 1 }
            case UInt8(ascii: "("):
                guard openParenthesis == nil else { throw skipLine("'(' inside parentheses; they do not nest") }
                openParenthesis = (position, line)
                position += 1
                glued = false
            case UInt8(ascii: ")"):
                guard openParenthesis != nil else { throw skipLine("')' without a '(' before it") }
                openParenthesis = nil
                position += 1
                glued = false
            case UInt8(ascii: "\""):
                try quoted(glued: glued)
                glued = true
            default:
                try word(glued: glued)
                glued = true
            }
            if count == Self.maximumTokens { throw skipLine("the entry has more parts than RDATA can hold") }
        }
        if let openParenthesis {
            // The unclosed '(' swallowed the rest: go back and continue at the next line that has an owner name.
            position = openParenthesis.position
            line = openParenthesis.line
            throw skipLine("'(' is never closed")
        }
        return true
    }

    private func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n")
            || byte == UInt8(ascii: "\r") || byte == UInt8(ascii: ")")
    }

    private mutating func skipToLineEnd() {
        while position < text.count {
            position += 1
            if text[position - 1] == UInt8(ascii: "\n") {
                line += 1
                return
            }
        }
    }

    /// Gives up on the entry: the next one starts on the next line, or after an open '(' on the next that has an owner
    /// name.
    private mutating func skipLine(_ message: String) -> ZoneProblem {
        let problem = ZoneProblem(message, line: line)
        repeat { skipToLineEnd() } while openParenthesis != nil && position < text.count && isBlank(text[position])
        return problem
    }

    private mutating func word(glued: Bool) throws(ZoneProblem) {
        let start = position
        var escaped = false
        scan: while position < text.count {
            switch text[position] {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: ";"),
                UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "\""):
                break scan
            case UInt8(ascii: "\\"):
                escaped = true
                position += 1
                guard position < text.count, text[position] >= 0x20 || text[position] == UInt8(ascii: "\t") else {
                    throw skipLine("a backslash ends the line; it must be followed by a character or three digits")
                }
                position += 1
            case 0..<0x20, 0x7F:
                throw skipLine("control character \(text[position]); write it as \\DDD")
            default:
                position += 1
            }
        }
        append(start, position, quoted: false, escaped: escaped, glued: glued)
    }

    private mutating func quoted(glued: Bool) throws(ZoneProblem) {
        position += 1
        let start = position
        var escaped = false
        while position < text.count, text[position] != UInt8(ascii: "\"") {
            switch text[position] {
            case UInt8(ascii: "\\"):
                escaped = true
                position += 1
                guard position < text.count, text[position] >= 0x20 || text[position] == UInt8(ascii: "\t") else {
                    throw skipLine("a backslash ends the line; it must be followed by a character or three digits")
                }
            case UInt8(ascii: "\n"):
                throw skipLine("the quoted string is not closed on its line")
            default: break
            }
            position += 1
        }
        guard position < text.count else { throw skipLine("the quoted string is not closed on its line") }
        append(start, position, quoted: true, escaped: escaped, glued: glued)
        position += 1
    }

    private mutating func append(_ start: Int, _ end: Int, quoted: Bool, escaped: Bool, glued: Bool) {
        // The file's size is bounded far below 4 GiB (ZoneReader.Limits), so the offsets fit.
        // `next` stops before `count` reaches the end of `storage`.
        storage[count] = ZoneToken(
            start: UInt32(start), end: UInt32(end), line: line, isQuoted: quoted, isEscaped: escaped,
            followsDirectly: glued)
        count += 1
    }
}
