public import DNSWire
import Lookup

/// Parts of a record as text, as in the lines of the log, for callers with their own layout.
extension LookupRecord {
    /// One record of the answer section.
    public struct Answer: Sendable, Hashable {
        public let type: RecordType
        /// RDATA in presentation form.
        public let data: String
        /// `OWNER TTL CLASS TYPE RDATA`.
        public let line: String
    }

    /// The QNAME; empty if there was no readable question.
    public var nameText: String {
        hasQuestion ? Self.text { $0.append(nameIn: message, at: Header.length, .plain) } : ""
    }

    /// The name of a hop in the chain.
    public func hopNameText(_ index: Int) -> String {
        Self.text { $0.append(nameIn: message, at: Int(hop(index).nameOffset), .plain) }
    }

    /// The answers that `message` holds completely.
    public var answerTexts: [Answer] {
        var found: [Answer] = []
        var cursor = answersStart
        while found.count < answers, let record = nextAnswer(&cursor) {
            found.append(
                Answer(
                    type: record.type, data: Self.text { $0.append(dataOf: record, in: message, .plain) },
                    line: Self.text { $0.append(record, in: message, .plain) }))
        }
        return found
    }

    /// The flags of the query, as `rd`.
    public var flagWords: [String] {
        var words: [String] = []
        forEachFlag { words.append("\($0)") }
        return words
    }

    /// The extended error's own text, or else its name.
    public var extendedErrorText: String? {
        extendedError.map { error in
            extendedText.isEmpty ? error.description : String(decoding: extendedText, as: UTF8.self)
        }
    }

    private static func text(_ write: (inout LineBuffer) -> Void) -> String {
        var line = LineBuffer(capacity: 256)
        write(&line)
        return String(decoding: line.bytes, as: UTF8.self)
    }
}
