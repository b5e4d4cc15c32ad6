public import DNSWire

/// What became of a lookup. Decided once, when its response is complete; log, filter, page and history read it here.
///
/// The history stores the raw values: a new kind takes the next number.
public enum AnswerKind: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable {
    /// The data asked for, or an error: the response code says which.
    case answer = 0
    /// NOERROR without the data asked for.
    /// - RFC: 2308 2.2.
    case noData = 1
    /// NOERROR with the name servers of a delegation.
    /// - RFC: 1034 4.3.2.
    case referral = 2
    /// No response.
    case dropped = 3
    /// A whole zone, over a stream.
    /// - RFC: 5936 2.2.
    case transfer = 4

    /// The kind's word in log, filter and page. Nil: the response code is the word.
    public var word: StaticString? {
        switch self {
        case .answer: nil
        case .noData: "NODATA"
        case .referral: "referral"
        case .dropped: "dropped"
        case .transfer: "transfer"
        }
    }
}

extension AnswerKind {
    /// Classifies the records of a NOERROR response to a question of `type`.
    public init(
        records message: UnsafeRawBufferPointer, from start: Int, answers: Int, authority: Int, _ type: RecordType
    ) {
        var cursor = start
        for _ in 0..<answers {
            guard let record = MessageReader.record(message, at: cursor), record.type != type, type != .any else {
                self = .answer
                return
            }
            cursor = record.end
        }
        for _ in 0..<authority {
            guard let record = MessageReader.record(message, at: cursor) else { break }
            if record.type == .soa || record.type == .ns {
                self = record.type == .soa ? .noData : .referral
                return
            }
            cursor = record.end
        }
        // An alias without an SOA leads to a name that nothing here can resolve: that is no NODATA.
        self = answers == 0 ? .noData : .answer
    }
}
