public import DNSWire
public import Lookup
public import Platform

/// One lookup as plain values, for storage outside this process, where its indexes mean nothing.
public struct LookupFields: Sendable {
    /// Microseconds since 1970.
    public var time: UInt64 = 0
    public var client: SocketAddress
    public var process: ClientProcess?
    public var transport = Transport.udp
    /// For a dropped message, only time, client and transport are known.
    public var answerKind = AnswerKind.answer
    public var flags = Header.Flags()
    public var dnssecOK = false
    public var payloadSize: UInt16?
    /// Bytes after the message's header; 0 if there was no readable question.
    public var questionLength = 0
    public var type = RecordType(rawValue: 0)
    public var recordClass = RecordClass(rawValue: 0)
    public var responseCode = ResponseCode.noError
    public var source = SourceKind.none
    /// Empty: none.
    public var view = ""
    public var place = Place.nowhere
    public var isMasked = false
    public var privateAnswer = Decision.PrivateAnswer.none
    public var isTruncated = false
    /// An index into the list of servers stored with the lookup.
    public var upstream: Int?
    public var upstreamMicroseconds: UInt32 = 0
    public var upstreamTransport = UpstreamTransport.udp
    public var upstreamSetup = UpstreamSetup.none
    public var durationMicroseconds: UInt32 = 0
    public var extendedError: ExtendedError?
    /// Printable ASCII.
    public var extendedText: [UInt8] = []
    public var hops: [Decision.Hop] = []
    public var faults: [Faults.Entry] = []
    public var answers = 0
    /// At most `LookupRecord.maximumMessageLength` bytes.
    public var message: [UInt8] = []

    public init(client: SocketAddress) { self.client = client }
}

/// A lookup from the history: its record with its memory.
public struct StoredLookup: Sendable {
    /// The history's own number: unique and increasing.
    public let id: Int64
    /// The number in the log of the daemon that answered it.
    public let number: UInt64
    /// 8-aligned.
    private let words: [UInt64]

    public init(id: Int64, number: UInt64, _ fields: LookupFields) {
        self.id = id
        self.number = number
        var words = [UInt64](repeating: 0, count: LookupRecord.size(fields) / 8)
        words.withUnsafeMutableBytes { LookupRecord.write(fields, to: $0) }
        self.words = words
    }

    /// Calls `body` with the record, which is valid during the call.
    public func withRecord<Result>(_ body: (LookupRecord) throws -> Result) rethrows -> Result {
        // Never empty: every record has a fixed part.
        try words.withUnsafeBytes { try body(LookupRecord(base: $0.baseAddress.unsafelyUnwrapped)) }
    }

    public var fields: LookupFields { withRecord { LookupFields($0) } }
}

extension LookupFields {
    public init(_ record: LookupRecord) {
        self.init(client: record.client)
        time = record.time
        process = record.process
        transport = record.transport
        answerKind = record.answerKind
        flags = record.flags
        dnssecOK = record.dnssecOK
        payloadSize = record.payloadSize
        questionLength = record.questionLength
        type = record.type
        recordClass = record.recordClass
        responseCode = record.responseCode ?? .noError
        source = record.source
        view = record.view
        place = record.place
        isMasked = record.isMasked
        privateAnswer = record.privateAnswer
        isTruncated = record.isTruncated
        upstream = record.upstream
        upstreamMicroseconds = record.upstreamMicroseconds
        upstreamTransport = record.upstreamTransport
        upstreamSetup = record.upstreamSetup
        durationMicroseconds = record.durationMicroseconds
        extendedError = record.extendedError
        extendedText = Array(record.extendedText)
        hops = (0..<record.hopCount).map(record.hop)
        faults = (0..<record.faultCount).map(record.fault)
        answers = record.answers
        message = Array(record.message)
    }
}

extension LookupRecord {
    static func size(_ fields: LookupFields) -> Int {
        let length =
            Field.end
            + (min(fields.hops.count, Decision.maximumHops) + min(fields.faults.count, Faults.mostEntries)) * hopSize
            + min(fields.extendedText.count, maximumTextLength) + min(fields.message.count, maximumMessageLength)
        return (length + 7) & ~7
    }

    /// Writes a record to `size(fields)` bytes of zeroed memory, 8-aligned.
    static func write(_ fields: LookupFields, to memory: UnsafeMutableRawBufferPointer) {
        guard let base = memory.baseAddress else { return }
        var marks = Marks(fields.privateAnswer)
        if fields.isMasked { marks.insert(.masked) }
        if fields.dnssecOK { marks.insert(.dnssecOK) }
        if fields.isTruncated { marks.insert(.truncated) }
        if fields.extendedError != nil { marks.insert(.extendedError) }
        let hops = fields.hops.prefix(Decision.maximumHops)
        let faults = fields.faults.prefix(Faults.mostEntries)
        let text = fields.extendedText.prefix(maximumTextLength)
        let message = fields.message.prefix(maximumMessageLength)

        func store<Value: BitwiseCopyable>(_ value: Value, _ field: Int) {
            base.storeBytes(of: value, toByteOffset: field, as: Value.self)
        }
        writeHead(
            to: base, size: memory.count, time: fields.time, client: fields.client, transport: fields.transport)
        store(fields.answerKind.rawValue, Field.answerKind)
        store(fields.flags.rawValue, Field.flags)
        store(fields.durationMicroseconds, Field.duration)
        store(fields.type.rawValue, Field.type)
        store(fields.recordClass.rawValue, Field.recordClass)
        store(fields.responseCode.rawValue, Field.responseCode)
        store(fields.source.rawValue, Field.source)
        store(fields.upstreamTransport.rawValue, Field.upstreamTransport)
        store(fields.upstreamSetup.rawValue, Field.upstreamSetup)
        store(marks.rawValue, Field.marks)
        store(fields.place, Field.place)
        store(fields.upstreamMicroseconds, Field.upstreamTime)
        store(Int16(clamping: fields.upstream ?? -1), Field.upstream)
        store(fields.extendedError?.rawValue ?? 0, Field.extendedError)
        store(UInt16(text.count), Field.textLength)
        store(UInt16(clamping: max(fields.questionLength, 0)), Field.questionLength)
        store(UInt16(clamping: max(fields.answers, 0)), Field.answers)
        store(UInt16(message.count), Field.messageLength)
        store(UInt8(hops.count), Field.hopCount)
        store(ViewNumber.of(fields.view) ?? 0, Field.view)
        store(UInt8(faults.count), Field.faultCount)
        store(fields.payloadSize ?? 0, Field.payloadSize)
        store(fields.process.map { ClientProcess.number(of: $0, isKept: true) } ?? 0, Field.process)
        var cursor = Field.end
        for hop in hops {
            store(hop.nameOffset, cursor)
            store(hop.source.rawValue, cursor + 2)
            store(hop.place, cursor + 4)
            cursor += hopSize
        }
        for fault in faults {
            store(fault.actions.rawValue, cursor)
            store(fault.place, cursor + 4)
            cursor += hopSize
        }
        for bytes in [text, message] {
            memory[cursor...].copyBytes(from: bytes)
            cursor += bytes.count
        }
    }
}
