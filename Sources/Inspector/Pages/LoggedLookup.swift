import DNSWire
import History
import Lookup
import LookupLog
import Platform

/// A stored lookup as the page shows it: its record's values, with parts of the message as text.
struct LoggedLookup: Sendable {
    struct Hop: Sendable {
        let name: String
        let source: SourceKind
        let place: Place
    }

    /// Its identifier in the history.
    let key: Int64
    /// When it arrived, in microseconds since 1970.
    let time: UInt64
    let client: SocketAddress
    let process: ClientProcess?
    let transport: Transport
    /// Empty if there was no readable question.
    let name: String
    let type: RecordType?
    let flags: [String]
    let source: SourceKind
    let place: Place
    let kind: AnswerKind
    /// Nil: there was no response.
    let code: ResponseCode?
    let isMasked: Bool
    let privateAnswer: Decision.PrivateAnswer
    let answers: [LookupRecord.Answer]
    /// The server that answered, `ADDR:PORT/TRANSPORT`, and its microseconds.
    let upstream: String?
    let upstreamMicroseconds: UInt32?
    let upstreamSetup: UpstreamSetup
    /// Empty without aliases; else at least two.
    let chain: [Hop]
    let durationMicroseconds: UInt32
    let extendedError: (code: UInt16, text: String)?

    /// - Parameter upstreams: the servers that the record's index refers to.
    init(_ lookup: StoredLookup, upstreams: [String]) {
        self = lookup.withRecord { LoggedLookup($0, key: lookup.id, upstreams) }
    }

    private init(_ record: LookupRecord, key: Int64, _ upstreams: [String]) {
        self.key = key
        // A file may have any number, and sums are computed from this one.
        time = min(record.time, 1 << 62)
        client = record.client
        process = record.process
        transport = record.transport
        name = record.nameText
        type = record.hasQuestion ? record.type : nil
        flags = record.flagWords
        source = record.source
        place = record.place
        kind = record.answerKind
        code = record.responseCode
        isMasked = record.isMasked
        privateAnswer = record.privateAnswer
        answers = record.answerTexts
        let server = record.upstream.flatMap { upstreams.indices.contains($0) ? upstreams[$0] : nil }
        upstream = server.map { "\($0)/\(record.upstreamTransport)" }
        upstreamMicroseconds = record.upstream == nil ? nil : record.upstreamMicroseconds
        upstreamSetup = record.upstreamSetup
        chain =
            record.hopCount < 2
            ? []
            : (0..<record.hopCount).map { index in
                let hop = record.hop(index)
                return Hop(name: record.hopNameText(index), source: hop.source, place: hop.place)
            }
        durationMicroseconds = record.durationMicroseconds
        extendedError = record.extendedError.map { ($0.rawValue, record.extendedErrorText ?? "") }
    }

    static func all(of page: HistoryPage) -> [LoggedLookup] {
        page.lookups.map { LoggedLookup($0, upstreams: page.upstreams) }
    }

    // MARK: Texts

    /// `17:00:00.123`, in UTC as the log has it.
    var clock: String {
        func digits(_ value: UInt64, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: count - text.utf8.count) + text
        }
        let seconds = time / 1_000_000
        let parts = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60].map { digits($0, 2) }
        return parts.joined(separator: ":") + "." + digits(time / 1000 % 1000, 3)
    }

    var typeWord: String { type?.description ?? "" }

    /// The client, by process or address.
    var asker: String { process?.command ?? client.ip }

    /// The data of answers of the requested type; without any, the last alias.
    var data: [String] {
        let wanted = answers.filter { $0.type == type || type == .any }
        return wanted.isEmpty ? answers.suffix(1).map { "\($0.type) \($0.data)" } : wanted.map(\.data)
    }

    /// The result in one word: the kind, or else the response code.
    var outcome: String { kind.word.map { "\($0)" } ?? code?.description ?? "" }

    /// An answer with nothing unusual about it.
    var isPlain: Bool { kind == .answer && code == .noError }

    /// The place of the deciding line.
    var rule: String? { place.isNowhere ? nil : "\(place)" }

    /// The rule, or, without one, the server.
    var reason: String { rule ?? upstream ?? "" }
}
