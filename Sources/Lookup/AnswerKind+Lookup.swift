import DNSWire

extension AnswerKind {
    /// Classifies a complete response, before truncation and OPT: what counts is what was found.
    public init(_ lookup: borrowing Lookup) {
        guard lookup.decision.responseCode == .noError, lookup.decision.source != .none else {
            self = .answer
            return
        }
        let type = lookup.query.type
        let answers = Int(lookup.builder.answers)
        let start = lookup.builder.questionEnd
        let message = lookup.builder.message
        // The usual case: the first record has the name and the type of the question.
        if answers > 0, let base = message.baseAddress, base.readUInt16(start) == 0xC000 | UInt16(Header.length),
            base.readUInt16(start + 2) == type.rawValue
        {
            self = .answer
            return
        }
        // Data that did not fit counts as data.
        if lookup.builder.truncated, lookup.builder.section == .answer {
            self = .answer
            return
        }
        self.init(
            records: message, from: start, answers: answers, authority: Int(lookup.builder.authority), type)
    }
}
