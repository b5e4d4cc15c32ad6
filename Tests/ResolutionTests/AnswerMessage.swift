import DNSWire

@testable import Lookup
@testable import Upstream

/// A response that an upstream server, honest or not, might send.
struct AnswerMessage {
    struct Record {
        var owner: String
        var ttl: UInt32
        var type: RecordType
        var recordClass = RecordClass.in
        var rdata: [UInt8]
    }

    var name: String
    var type: RecordType
    var flags: UInt16 = 0x8180
    var code = ResponseCode.noError
    var answers: [Record] = []
    var authority: [Record] = []
    var additional: [Record] = []
    var extendedError: UInt16?
    var extendedText: [UInt8] = []

    init(
        _ name: String, _ type: RecordType, code: ResponseCode = .noError, flags: UInt16 = 0x8180,
        _ answers: [Record] = [], authority: [Record] = [], additional: [Record] = [], extendedError: UInt16? = nil
    ) {
        self.name = name
        self.type = type
        self.code = code
        self.flags = flags
        self.answers = answers
        self.authority = authority
        self.additional = additional
        self.extendedError = extendedError
    }

    var wire: [UInt8] {
        let opt: [UInt8] =
            extendedError.map { code in
                let data = bytes(code) + extendedText
                return [0, 0, 41, 4, 208, 0, 0, 0, 0] + bytes(UInt16(4 + data.count)) + [0, 15]
                    + bytes(UInt16(data.count)) + data
            } ?? []
        var message = bytes(0x1234) + bytes(flags | code.rawValue) + bytes(1)
        message += bytes(UInt16(answers.count)) + bytes(UInt16(authority.count))
        message += bytes(UInt16(additional.count + (opt.isEmpty ? 0 : 1)))
        message += wireName(name) + bytes(type.rawValue) + bytes(1)
        for record in answers + authority + additional {
            message += wireName(record.owner) + bytes(record.type.rawValue) + bytes(record.recordClass.rawValue)
            message += bytes(UInt16(record.ttl >> 16)) + bytes(UInt16(truncatingIfNeeded: record.ttl))
            message += bytes(UInt16(record.rdata.count)) + record.rdata
        }
        return message + opt
    }
}

func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)] }
func wireName(_ text: String) -> [UInt8] { Name(text)?.wire ?? [] }

extension AnswerMessage.Record {
    static func a(_ owner: String, _ ttl: UInt32, _ last: UInt8) -> Self {
        Self(owner: owner, ttl: ttl, type: .a, rdata: [192, 0, 2, last])
    }
    static func cname(_ owner: String, _ ttl: UInt32, _ target: String) -> Self {
        Self(owner: owner, ttl: ttl, type: .cname, rdata: wireName(target))
    }
    static func dname(_ owner: String, _ ttl: UInt32, _ target: String) -> Self {
        Self(owner: owner, ttl: ttl, type: .dname, rdata: wireName(target))
    }
    static func ns(_ owner: String, _ ttl: UInt32, _ target: String) -> Self {
        Self(owner: owner, ttl: ttl, type: .ns, rdata: wireName(target))
    }
    static func soa(_ owner: String, _ ttl: UInt32, minimum: UInt32) -> Self {
        let numbers: [UInt32] = [1, 7200, 900, 86400, minimum]
        let tail = numbers.flatMap { bytes(UInt16($0 >> 16)) + bytes(UInt16(truncatingIfNeeded: $0)) }
        return Self(owner: owner, ttl: ttl, type: .soa, rdata: wireName("ns.\(owner)") + wireName("h.\(owner)") + tail)
    }
    static func rrsig(_ owner: String, _ ttl: UInt32, covers type: RecordType) -> Self {
        let fixed: [UInt8] = [13, 2, 0, 0, 1, 44, 0x7F, 0, 0, 0, 0x60, 0, 0, 0, 0, 1]
        return Self(
            owner: owner, ttl: ttl, type: .rrsig,
            rdata: bytes(type.rawValue) + fixed + wireName("example.test.") + [UInt8](repeating: 7, count: 64))
    }
    static func nsec(_ owner: String, _ ttl: UInt32) -> Self {
        Self(owner: owner, ttl: ttl, type: .nsec, rdata: wireName("zz.example.test.") + [0, 1, 0x40])
    }
}

/// What a client reads: the records of each section as text, and parts of the decision.
struct ReadAnswer {
    var outcome: Outcome
    var answers: [String] = []
    var authority: [String] = []
    var decision: Decision
    var truncated: Bool
    /// The answer asked to be refreshed.
    var wantsRenewal = false
    /// The response passed the strict walk.
    var isWhole = false

    /// Answer records without their TTLs.
    var data: [String] {
        answers.map {
            $0.split(separator: " ").enumerated().filter { $0.0 != 1 }.map { String($0.1) }.joined(separator: " ")
        }
    }
    var ttls: [UInt32] { (answers + authority).compactMap { UInt32($0.split(separator: " ")[1]) } }
}

/// Asks like a serving thread: query bytes, a builder over a buffer, one source.
struct AnswerClient {
    var dnssecOK = false
    var checkingDisabled = false
    var limit = 65535
    var trustAuthenticData = false
    /// Names that overrides or zones own.
    var local: Set<String> = []
    /// A local alias that leads to the name asked for.
    var alias: String?

    func question(_ type: RecordType) -> Question {
        Question(type: type, dnssecOK: dnssecOK, checkingDisabled: checkingDisabled)
    }

    func check(
        _ message: AnswerMessage, ttls: UpstreamAnswer.TTLs = .init()
    ) throws(UpstreamAnswer.Rejection) -> UpstreamAnswer {
        try check(message.wire, name: message.name, type: message.type, ttls: ttls)
    }

    func check(
        _ wire: [UInt8], name text: String, type: RecordType, ttls: UpstreamAnswer.TTLs = .init()
    ) throws(UpstreamAnswer.Rejection) -> UpstreamAnswer {
        let key = FetchKey(Name(text) ?? .root, question(type))
        return try wire.span.withUnsafeBytes { (bytes) throws(UpstreamAnswer.Rejection) in
            try UpstreamAnswer.check(bytes, for: key, ttls: ttls)
        }
    }

    /// Reads from `cache` at `now`, in seconds.
    func read(
        _ cache: AnswerCache, _ text: String, _ type: RecordType, at now: Double, allowStale: Bool = false
    ) -> ReadAnswer {
        ask(text, type) { lookup, isLocal in
            lookup.request.now = microseconds(now)
            return cache.answer(&lookup, allowStale: allowStale, upTo: isLocal)
        }
    }

    /// The answer for the lookup that waited for `answer`.
    func read(_ answer: UpstreamAnswer, _ text: String, _ type: RecordType) -> ReadAnswer {
        var fresh = FreshAnswers()
        fresh.append(answer)
        return ask(text, type) { lookup, isLocal in
            guard let found = fresh.answer(to: lookup.question, about: lookup.name) else { return .pass }
            return found.answer.write(
                &lookup, from: found.origin, trustAuthenticData: trustAuthenticData, upTo: isLocal)
        }
    }

    private func ask(
        _ text: String, _ type: RecordType, _ source: (inout Lookup, AnswerWriter.Boundary) -> Outcome
    ) -> ReadAnswer {
        Lookup.asking(alias ?? text, type, limit: limit) { lookup in
            lookup.question = question(type)
            if alias != nil {
                lookup.name.assign(Name(text) ?? .root)
                lookup.nameOffset = wireName(text).withUnsafeBytes {
                    lookup.builder.appendCNAME(owner: .at(Header.length), ttl: 1, target: $0) ?? Header.length
                }
            }
            let outcome = source(&lookup) { local.contains($1.name.description) }
            lookup.builder.finish(flags: .response, questions: 1)
            let message = lookup.builder.message
            var result = ReadAnswer(
                outcome: outcome, decision: lookup.decision, truncated: lookup.builder.truncated,
                wantsRenewal: !lookup.renewals.isEmpty)
            guard let summary = MessageReader.walk(message) else { return result }
            result.isWhole = true
            var cursor = summary.records
            for index in 0..<(summary.answers + summary.authority) {
                guard let record = MessageReader.record(message, at: cursor) else { break }
                cursor = record.end
                let line = describe(record, message)
                if index < summary.answers { result.answers.append(line) } else { result.authority.append(line) }
            }
            return result
        }
    }

    private func describe(_ record: MessageReader.Record, _ message: UnsafeRawBufferPointer) -> String {
        var owner: [UInt8] = []
        var rdata: [UInt8] = []
        _ = MessageReader.expandName(message, at: record.start, into: &owner)
        _ = MessageReader.expandRDATA(message, record, into: &rdata)
        let data =
            switch record.type {
            case .a: rdata.map(String.init).joined(separator: ".")
            case .cname, .dname, .ns: Name(uncheckedWire: rdata).description
            case .rrsig: RecordType(rawValue: UInt16(rdata[0]) << 8 | UInt16(rdata[1])).description
            case .soa, .nsec: "..."
            default: rdata.map { String($0, radix: 16) }.joined()
            }
        return "\(Name(uncheckedWire: owner)) \(record.ttl) \(record.type) \(data)"
    }
}

func microseconds(_ seconds: Double) -> UInt64 { UInt64(seconds * 1_000_000) }
