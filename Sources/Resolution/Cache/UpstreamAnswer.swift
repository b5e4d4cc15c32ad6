public import DNSWire
import LDNS

/// One response of an upstream server, checked and put in order: the only form in which it goes any further.
///
/// The records are encoded again by our own `ResponseBuilder`, behind the question they answer; what does not belong to
/// the chain from the question to its answer is left out, so that no one can slip in data for other names.
public struct UpstreamAnswer: Sendable {
    /// The folded wire form of the name that was asked for.
    public let name: [UInt8]
    public let type: RecordType
    public let dnssecOK: Bool
    public let checkingDisabled: Bool
    public let responseCode: ResponseCode
    /// What upstream said of DNSSEC; used only where it is trusted.
    public let authenticData: Bool
    /// A whole message without OPT: header, question, records.
    let message: [UInt8]
    let questionEnd: Int
    let answers: UInt16
    let authority: UInt16
    /// Where in `message` the TTLs stand.
    let ttlOffsets: [UInt16]
    /// How long it may be kept, in seconds; 0: not at all.
    public let ttl: UInt32
    let hasAlias: Bool
    public let extendedError: ExtendedError?
    /// Which server it came from, how long it took, and how.
    public var upstream: Int16 = -1
    public var microseconds: UInt32 = 0
    public var overTCP = false

    /// Why a response is not used.
    public enum Rejection: Error, Sendable, Hashable {
        case malformed, otherQuestion, notAResponse, refusedByLibrary, badAlias
    }

    /// How TTLs are bounded, in seconds.
    public struct TTLs: Sendable, Hashable {
        public var least: UInt32 = 0
        public var most: UInt32 = 86_400
        /// RFC 2308 5 advises one to three hours.
        public var mostNegative: UInt32 = 10_800
        /// RFC 9520 3.2: failures too are kept for a moment, between 1 s and 5 min.
        public var failure: UInt32 = 5
        public init() {}
    }

    /// The door: a message that was matched to its query by address, port and ID.
    ///
    /// The strict walk comes first, since libldns is lenient where it reads and aborts where it asserts.
    public static func check(
        _ message: UnsafeRawBufferPointer, name: borrowing LookupName, question: Question, ttls: TTLs = TTLs()
    ) throws(Rejection) -> UpstreamAnswer {
        guard let summary = MessageReader.walk(message), let base = message.baseAddress else { throw .malformed }
        let flags = Header.Flags(rawValue: base.readUInt16(2))
        guard flags.contains(.response), flags.opcode == .query else { throw .notAResponse }
        guard base.readUInt16(4) == 1, MessageReader.name(message, at: Header.length, equals: name),
            base.readUInt16(summary.questionEnd - 4) == question.type.rawValue,
            base.readUInt16(summary.questionEnd - 2) == RecordClass.in.rawValue
        else { throw .otherQuestion }
        guard PacketCheck.accepts(message) else { throw .refusedByLibrary }
        var scrubber = AnswerScrubber(message: message, summary: summary, question: question, ttls: ttls)
        return try scrubber.scrub(name)
    }

    func matches(_ other: borrowing LookupName, _ question: Question) -> Bool {
        type == question.type && dnssecOK == question.dnssecOK && checkingDisabled == question.checkingDisabled
            && name.withUnsafeBytes {
                other.suffixEquals(0, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
            }
    }
}

/// Takes from a response what answers its question, in the order of the chain.
struct AnswerScrubber: ~Copyable {
    private let message: UnsafeRawBufferPointer
    private let summary: MessageReader.Summary
    private let question: Question
    private let ttls: UpstreamAnswer.TTLs
    private var records: [MessageReader.Record] = []
    private var ttl = UInt32.max
    private var ttlOffsets: [UInt16] = []
    private var hasAlias = false
    /// Where the last record that was written ends.
    private var lastEnd: Int?
    private var current = LookupName()

    init(
        message: UnsafeRawBufferPointer, summary: MessageReader.Summary, question: Question,
        ttls: UpstreamAnswer.TTLs
    ) {
        self.message = message
        self.summary = summary
        self.question = question
        self.ttls = ttls
    }

    mutating func scrub(_ name: borrowing LookupName) throws(UpstreamAnswer.Rejection) -> UpstreamAnswer {
        var cursor = summary.records
        for _ in 0..<(summary.answers + summary.authority) {
            guard let record = MessageReader.record(message, at: cursor) else { throw .malformed }
            records.append(record)
            cursor = record.end
        }
        var query = Query()
        query.questionLength = summary.questionEnd - Header.length
        let capacity = 65535
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
        defer { buffer.deallocate() }
        var builder = ResponseBuilder(buffer: buffer, query: query, message: message, reserved: 0)
        // The question of the copy is in lower case, as the key is.
        (builder.base + Header.length).copyMemory(from: name.bytes, byteCount: name.length)

        let base = message.baseAddress.unsafelyUnwrapped
        var code = Header.Flags(rawValue: base.readUInt16(2)).responseCode
        if let opt = summary.opt {
            code = ResponseCode(rawValue: UInt16(opt.ttl >> 24) << 4 | code.rawValue)
        }
        current.assign(name.name)
        let found = try writeChain(&builder)
        if !found || code == .nxDomain { writeNegative(&builder) }

        var kept: UInt32
        switch code {
        case .noError, .nxDomain:
            kept = ttl == .max ? 0 : max(ttl, ttls.least)
            kept = min(kept, found && code == .noError ? ttls.most : min(ttls.most, ttls.mostNegative))
        case .serverFailure: kept = ttls.failure
        default: kept = 0
        }
        builder.finish(flags: .response, questions: 1)
        return UpstreamAnswer(
            name: Array(name.suffix(at: 0)), type: question.type, dnssecOK: question.dnssecOK,
            checkingDisabled: question.checkingDisabled, responseCode: code,
            authenticData: Header.Flags(rawValue: base.readUInt16(2)).contains(.authenticData),
            message: Array(builder.message), questionEnd: builder.questionEnd, answers: builder.answers,
            authority: builder.authority, ttlOffsets: ttlOffsets, ttl: kept, hasAlias: hasAlias,
            extendedError: extendedError())
    }

    /// The aliases from the question on, and the RRset they lead to. Returns whether there was one.
    private mutating func writeChain(_ builder: inout ResponseBuilder) throws(UpstreamAnswer.Rejection) -> Bool {
        var links = 0
        while true {
            var any = false
            for index in 0..<summary.answers where ownerIsCurrent(records[index]) {
                let record = records[index]
                let isWanted = record.type == question.type || question.type == .any
                guard isWanted || (record.type == .rrsig && signs(record, question.type)) else { continue }
                if record.type != .rrsig || question.type == .rrsig { any = true }
                if record.type == .rrsig, !question.dnssecOK, question.type != .rrsig, question.type != .any { continue }
                try write(record, &builder)
            }
            if any { return true }
            guard links < Decision.maximumHops, let alias = findAlias() else { return false }
            hasAlias = true
            links += 1
            if let dname = alias.dname {
                try write(dname, &builder)
                writeSignatures(ownerOf: dname, .dname, &builder)
            }
            try write(alias.cname, &builder)
            writeSignatures(ownerOf: alias.cname, .cname, &builder)
            guard current.assign(message: message, at: alias.cname.rdata) > 0 else { throw .badAlias }
        }
    }

    private func findAlias() -> (cname: MessageReader.Record, dname: MessageReader.Record?)? {
        guard let cname = records[..<summary.answers].first(where: { $0.type == .cname && ownerIsCurrent($0) })
        else { return nil }
        let dname = records[..<summary.answers].first { record in
            guard record.type == .dname, record.recordClass == .in, current.labelCount > 0 else { return false }
            return (1...current.labelCount).contains {
                MessageReader.name(message, at: record.start, equals: current, from: $0)
            }
        }
        return (cname, dname)
    }

    private func ownerIsCurrent(_ record: MessageReader.Record) -> Bool {
        record.recordClass == .in && MessageReader.name(message, at: record.start, equals: current)
    }

    private func signs(_ record: MessageReader.Record, _ type: RecordType) -> Bool {
        record.rdataLength > 18
            && message.baseAddress.unsafelyUnwrapped.readUInt16(record.rdata) == type.rawValue
    }

    private mutating func writeSignatures(
        ownerOf signed: MessageReader.Record, _ type: RecordType, _ builder: inout ResponseBuilder
    ) {
        guard question.dnssecOK else { return }
        var owner = LookupName()
        guard owner.assign(message: message, at: signed.start) > 0 else { return }
        for index in 0..<summary.answers {
            let record = records[index]
            if record.type == .rrsig, signs(record, type), MessageReader.name(message, at: record.start, equals: owner) {
                try? write(record, &builder)
            }
        }
    }

    /// The SOA above the name, whose TTL says how long "no" holds; with DO, the proofs.
    private mutating func writeNegative(_ builder: inout ResponseBuilder) {
        builder.begin(.authority)
        var hasSOA = false
        for index in summary.answers..<(summary.answers + summary.authority) {
            var record = records[index]
            guard record.recordClass == .in else { continue }
            switch record.type {
            case .soa:
                let isAbove = (0...current.labelCount).contains {
                    MessageReader.name(message, at: record.start, equals: current, from: $0)
                }
                guard isAbove, !hasSOA else { continue }
                hasSOA = true
                let minimum = message.baseAddress.unsafelyUnwrapped.readUInt32(record.end - 4)
                record.ttl = min(Self.sane(record.ttl), Self.sane(minimum), ttls.mostNegative)
                try? write(record, &builder)
            case .nsec, .nsec3, .rrsig:
                if question.dnssecOK { try? write(record, &builder) }
            default: continue
            }
        }
        // Without an SOA nobody knows for how long (RFC 2308 5).
        if !hasSOA { ttl = 0 }
    }

    /// A TTL with its highest bit set means 0 (RFC 2181 8).
    private static func sane(_ ttl: UInt32) -> UInt32 { ttl > UInt32(Int32.max) ? 0 : ttl }

    private mutating func write(
        _ record: MessageReader.Record, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) {
        var owner = LookupName()
        guard owner.assign(message: message, at: record.start) > 0 else { throw .malformed }
        var rdata: [UInt8] = []
        guard MessageReader.expandRDATA(message, record, into: &rdata) else { throw .malformed }
        let recordTTL = min(max(Self.sane(record.ttl), ttls.least), ttls.most)
        let fitted = rdata.withUnsafeBytes { bytes in
            builder.append(
                owner: .name(UnsafeRawPointer(owner.bytes), length: owner.length), type: record.type, ttl: recordTTL,
                rdata: bytes)
        }
        guard fitted else { throw .malformed }
        // The TTL stands six bytes before the RDATA, whose compressed length the builder has just written.
        ttl = min(ttl, recordTTL)
        let offset = Self.ttlOffset(in: builder.message, from: lastEnd ?? builder.questionEnd)
        ttlOffsets.append(UInt16(truncatingIfNeeded: offset))
        lastEnd = builder.length
    }

    private static func ttlOffset(in message: UnsafeRawBufferPointer, from start: Int) -> Int {
        (MessageReader.endOfName(message, at: start) ?? start) + 4
    }

    private func extendedError() -> ExtendedError? {
        guard let opt = summary.opt else { return nil }
        let base = message.baseAddress.unsafelyUnwrapped
        var cursor = opt.rdata
        while cursor + 4 <= opt.end {
            let length = Int(base.readUInt16(cursor + 2))
            guard cursor + 4 + length <= opt.end else { return nil }
            if base.readUInt16(cursor) == EDNS.Option.extendedError, length >= 2 {
                return ExtendedError(rawValue: base.readUInt16(cursor + 4))
            }
            cursor += 4 + length
        }
        return nil
    }
}
