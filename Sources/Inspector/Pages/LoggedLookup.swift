import FoundationEssentials

/// A lookup as its JSON line tells it: the contract of the log, read again.
struct LoggedLookup: Codable, Sendable {
    struct Hop: Codable, Sendable {
        var name: String
        var source: String
        var rule: String?
    }

    struct Process: Codable, Sendable {
        var pid: Int32
        var command: String
    }

    struct ExtendedError: Codable, Sendable {
        var code: Int
        var text: String
    }

    var time: String
    var client: String
    var process: Process?
    var transport: String
    var name: String
    var type: String
    var flags: [String]
    var source: String
    var rule: String?
    var rcode: String?
    var answers: [String]
    var upstream: String?
    var durationUs: UInt32
    var ede: ExtendedError?
    var upstreamUs: UInt32?
    var chain: [Hop]?
    var masked: Bool?
    var truncated: Bool?
    var answersLeft: Int?
    /// Its key in the history, and when it came in microseconds since 1970; not part of the line.
    var key: Int64?
    var microseconds: UInt64 = 0

    enum CodingKeys: String, CodingKey {
        case time, client, process, transport, name, type, flags, source, rule, rcode, answers, upstream, ede, chain
        case masked, truncated
        case durationUs = "duration_us"
        case upstreamUs = "upstream_us"
        case answersLeft = "answers_left"
    }

    static func read(_ line: some Sequence<UInt8>, key: Int64? = nil, microseconds: UInt64 = 0) -> LoggedLookup? {
        var lookup = try? JSONDecoder().decode(LoggedLookup.self, from: Data(line))
        lookup?.key = key
        // What a file holds may be anything; sums of it are made.
        lookup?.microseconds = min(microseconds, 1 << 62)
        return lookup
    }

    /// `17:00:00.123`, in UTC as the log has it.
    var clock: String { String(time.dropFirst(11).prefix(12)) }

    /// The client without its port.
    var clientAddress: String {
        guard let colon = client.lastIndex(of: ":") else { return client }
        return String(client[..<colon])
    }

    /// Who asked, for people.
    var asker: String { process.map { $0.command } ?? clientAddress }

    private var records: [(type: String, data: String)] {
        answers.compactMap { answer in
            let words = answer.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: false)
            return words.count == 5 ? (String(words[3]), String(words[4])) : nil
        }
    }

    /// The data of the answers, of the type that was asked for where there are some; else the alias that is all there is.
    var data: [String] {
        let records = records
        let wanted = records.filter { $0.type == type || type == "ANY" }
        return wanted.isEmpty ? records.suffix(1).map { "\($0.type) \($0.data)" } : wanted.map(\.data)
    }

    /// What became of it in a word: NOERROR without the data asked for is NODATA.
    var outcome: String {
        guard let rcode else { return "dropped" }
        guard rcode == "NOERROR", type != "ANY" else { return rcode }
        return records.contains { $0.type == type } ? rcode : "NODATA"
    }

    /// The rule; where there is none, the server.
    var reason: String { rule ?? upstream ?? "" }
}
