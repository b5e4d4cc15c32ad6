import DNSWire
import Lookup

/// What an answer is, for people: NOERROR without the data asked for is something else.
public enum AnswerKind: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable {
    case answer, noData, referral
    /// There was no answer.
    case dropped

    public init(_ record: LookupRecord) {
        guard let code = record.responseCode else {
            self = .dropped
            return
        }
        guard code == .noError, record.hasQuestion, record.source != .none else {
            self = .answer
            return
        }
        var cursor = record.answersStart
        for _ in 0..<record.answers {
            guard let answer = record.nextAnswer(&cursor), answer.type != record.type, record.type != .any else {
                self = .answer
                return
            }
        }
        // A chain that ends where nobody here can follow has no SOA behind it, and is no NODATA.
        switch record.nextAnswer(&cursor)?.type {
        case .ns: self = .referral
        case .soa: self = .noData
        default: self = record.answers == 0 ? .noData : .answer
        }
    }
}
