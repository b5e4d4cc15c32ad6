public import DNSWire
public import Lookup
public import Platform

/// One lookup in the form in which it passes through a ring: the one definition of a record.
///
/// A view of memory it does not own: in a sink, valid until the sink returns. The serving thread only copies. The
/// message comes from a query or from upstream and is not trusted: readers here check every offset against the copied
/// length.
public struct LookupRecord: BitwiseCopyable {
    let base: UnsafeRawPointer

    /// Bytes of the response that are kept: enough for any answer that fits a datagram.
    public static let maximumMessageLength = 4096
    /// Bytes of the largest record.
    static let maximumSize =
        Field.end + (Decision.maximumHops + Faults.mostEntries) * hopSize + maximumTextLength + maximumMessageLength + 8

    static let maximumTextLength = 255
    static let hopSize = 12

    /// Offsets. Native byte order: a record never leaves the process.
    enum Field {
        static let size = 0  // UInt32, a multiple of 8
        static let kind = 4
        static let transport = 5
        static let flags = 6
        static let time = 8
        static let client = 16  // SocketAddress, 24 bytes
        static let duration = 40
        static let type = 44
        static let recordClass = 46
        static let responseCode = 48
        static let source = 50
        static let marks = 51
        static let place = 52
        static let upstreamTime = 60
        static let upstream = 64
        static let extendedError = 66
        static let textLength = 68
        static let questionLength = 70
        static let answers = 72
        static let messageLength = 74
        static let hopCount = 76
        static let upstreamTransport = 77
        static let payloadSize = 78
        static let process = 80  // UInt32, filled in on the log thread
        static let answerKind = 84
        static let faultCount = 85
        static let upstreamSetup = 86
        static let view = 88  // UInt16
        static let end = 96
    }

    struct Marks: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        static let masked = Marks(rawValue: 1)
        static let dnssecOK = Marks(rawValue: 2)
        static let extendedError = Marks(rawValue: 4)
        static let truncated = Marks(rawValue: 8)
        /// Two bits: the raw value of `Decision.PrivateAnswer`.
        static let privateAnswer: UInt8 = 16
        static let privateAnswers: UInt8 = 3 * privateAnswer

        init(rawValue: UInt8) { self.rawValue = rawValue }
        init(_ answer: Decision.PrivateAnswer) { rawValue = answer.rawValue &* Self.privateAnswer }
    }

    enum Kind {
        /// Fills the end of a ring; not a record.
        static let gap: UInt8 = 0
        static let lookup: UInt8 = 1
        static let exchange = ForwardedExchange.kind
    }

    // MARK: Reading

    /// The whole record, for copying: an 8-aligned copy of these bytes is the same record.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: size) }

    /// A record in a copy; nil if the memory can't hold one. `memory` is 8-aligned.
    public init?(copiedTo memory: UnsafeRawBufferPointer) {
        guard let base = memory.baseAddress, memory.count >= Field.end else { return nil }
        self.init(base: base)
        guard size >= Field.end, size <= memory.count else { return nil }
    }

    init(base: UnsafeRawPointer) { self.base = base }

    /// When the query arrived, in microseconds since 1970.
    public var time: UInt64 { load(Field.time) }
    public var client: SocketAddress { base.load(fromByteOffset: Field.client, as: SocketAddress.self) }
    public var transport: Transport { Transport(rawValue: load(Field.transport)) ?? .udp }
    /// The kind of result.
    public var answerKind: AnswerKind { AnswerKind(rawValue: load(Field.answerKind)) ?? .answer }
    /// The message got no answer: it was a response, or too short for a query.
    public var isDropped: Bool { answerKind == .dropped }
    /// The query's flags.
    public var flags: Header.Flags { Header.Flags(rawValue: load(Field.flags)) }
    /// DO=1.
    public var dnssecOK: Bool { marks.contains(.dnssecOK) }
    /// There was a readable question: name, type and class are valid.
    public var hasQuestion: Bool { questionLength > 0 }
    public var type: RecordType { RecordType(rawValue: load(Field.type)) }
    public var recordClass: RecordClass { RecordClass(rawValue: load(Field.recordClass)) }
    /// The UDP payload size in the client's OPT record; nil if it sent none.
    public var payloadSize: UInt16? {
        let size: UInt16 = load(Field.payloadSize)
        return size == 0 ? nil : size
    }
    /// The process that asked, if it is on this machine and was found.
    public var process: ClientProcess? { ClientProcess.at(processNumber) }
    /// 0: unknown.
    var processNumber: UInt32 { load(Field.process) }
    /// The view that answered; empty: none. See `ViewNumber`.
    public var view: String { viewNumber == 0 ? "" : ViewNumber.name(viewNumber) }
    var viewNumber: UInt16 { load(Field.view) }
    public var source: SourceKind { SourceKind(rawValue: load(Field.source)) ?? .none }
    public var place: Place { base.load(fromByteOffset: Field.place, as: Place.self) }
    /// The response code the client got; nil if it got no response.
    public var responseCode: ResponseCode? { isDropped ? nil : ResponseCode(rawValue: load(Field.responseCode)) }
    /// An override hides the records of this type.
    public var isMasked: Bool { marks.contains(.masked) }
    /// What became of a private address for a public name.
    public var privateAnswer: Decision.PrivateAnswer {
        Decision.PrivateAnswer(rawValue: (marks.rawValue & Marks.privateAnswers) / Marks.privateAnswer) ?? .none
    }
    /// The client was told to retry over TCP; `answers` says what was found.
    public var isTruncated: Bool { marks.contains(.truncated) }
    /// Index of the upstream server that answered; nil if none did.
    public var upstream: Int? {
        let index: Int16 = load(Field.upstream)
        return index < 0 ? nil : Int(index)
    }
    public var upstreamMicroseconds: UInt32 { load(Field.upstreamTime) }
    public var upstreamTransport: UpstreamTransport {
        UpstreamTransport(rawValue: load(Field.upstreamTransport)) ?? .udp
    }
    public var upstreamSetup: UpstreamSetup { UpstreamSetup(rawValue: load(Field.upstreamSetup)) }
    /// How long the answer took, in microseconds.
    public var durationMicroseconds: UInt32 { load(Field.duration) }
    public var extendedError: ExtendedError? {
        marks.contains(.extendedError) ? ExtendedError(rawValue: load(Field.extendedError)) : nil
    }
    /// The text of `extendedError`: printable ASCII.
    public var extendedText: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + textStart, count: textLength)
    }
    /// Records in the answer section; `message` may hold fewer.
    public var answers: Int { Int(load(Field.answers) as UInt16) }

    /// Names of the chain with their sources; 0 or at least 2.
    public var hopCount: Int { Int(load(Field.hopCount) as UInt8) }

    public func hop(_ index: Int) -> Decision.Hop {
        let hop = base + Field.end + index * Self.hopSize
        return Decision.Hop(
            nameOffset: hop.load(as: UInt16.self),
            source: SourceKind(rawValue: hop.load(fromByteOffset: 2, as: UInt8.self)) ?? .none,
            place: hop.load(fromByteOffset: 4, as: Place.self))
    }

    /// How many rules did something to the answer; each is in the form of a hop.
    public var faultCount: Int { Int(load(Field.faultCount) as UInt8) }

    public func fault(_ index: Int) -> Faults.Entry {
        let entry = base + Field.end + (hopCount + index) * Self.hopSize
        return Faults.Entry(
            actions: Faults.Actions(rawValue: entry.load(as: UInt16.self)),
            place: entry.load(fromByteOffset: 4, as: Place.self))
    }

    /// The response: header, question, answer section and what follows, cut at `maximumMessageLength`. The header has
    /// the response's ID and flags, and the counts of what was found.
    public var message: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + textStart + textLength, count: Int(load(Field.messageLength) as UInt16))
    }

    /// Where the first answer begins in `message`.
    var answersStart: Int { Header.length + questionLength }

    /// Bytes up to the next record.
    var size: Int { Int(load(Field.size) as UInt32) }
    var isGap: Bool { load(Field.kind) == Kind.gap }
    /// Not a lookup but a message to or from upstream, to be read as `ForwardedExchange`.
    var isExchange: Bool { load(Field.kind) == Kind.exchange }

    /// Bytes of the question after the header; 0 if there was no readable one.
    public var questionLength: Int { Int(load(Field.questionLength) as UInt16) }

    private var marks: Marks { Marks(rawValue: load(Field.marks)) }
    private var textLength: Int { Int(load(Field.textLength) as UInt16) }
    private var textStart: Int { Field.end + (hopCount + faultCount) * Self.hopSize }

    private func load<T: BitwiseCopyable>(_ field: Int) -> T { base.load(fromByteOffset: field, as: T.self) }

    // MARK: Writing

    /// The size of the record for this decision and message.
    @inline(__always)
    static func size(_ decision: borrowing Decision, _ faults: borrowing Faults, messageLength: Int) -> Int {
        let length =
            Field.end + (decision.hopCount + faults.count) * hopSize + textLength(decision) + messageLength
        return (length + 7) & ~7
    }

    static let droppedSize = Field.end

    private static func textLength(_ decision: borrowing Decision) -> Int {
        guard decision.extendedError != nil else { return 0 }
        return min(decision.textLength, maximumTextLength)
    }

    /// Writes a record to `base`, 8-aligned, with `size` bytes; `message` has at most `maximumMessageLength` bytes.
    @inline(__always)
    static func write(
        to base: UnsafeMutableRawPointer, size: Int, time: UInt64, client: SocketAddress, transport: Transport,
        query: Query, decision: borrowing Decision, faults: borrowing Faults, message: UnsafeRawBufferPointer,
        answers: Int, truncated: Bool,
        durationMicroseconds: UInt32, view: UInt16
    ) {
        var marks = Marks()
        if decision.privateAnswer != .none { marks = Marks(decision.privateAnswer) }
        if decision.masked { marks.insert(.masked) }
        if query.dnssecOK { marks.insert(.dnssecOK) }
        if truncated { marks.insert(.truncated) }
        if decision.extendedError != nil { marks.insert(.extendedError) }
        let textLength = textLength(decision)
        let hops = decision.hopCount

        writeHead(to: base, size: size, time: time, client: client, transport: transport)
        base.storeBytes(of: decision.answerKind.rawValue, toByteOffset: Field.answerKind, as: UInt8.self)
        base.storeBytes(
            of: UInt8(truncatingIfNeeded: faults.count), toByteOffset: Field.faultCount, as: UInt8.self)
        base.storeBytes(of: query.flags.rawValue, toByteOffset: Field.flags, as: UInt16.self)
        base.storeBytes(of: durationMicroseconds, toByteOffset: Field.duration, as: UInt32.self)
        base.storeBytes(of: query.type.rawValue, toByteOffset: Field.type, as: UInt16.self)
        base.storeBytes(of: query.recordClass.rawValue, toByteOffset: Field.recordClass, as: UInt16.self)
        base.storeBytes(of: decision.responseCode.rawValue, toByteOffset: Field.responseCode, as: UInt16.self)
        base.storeBytes(of: decision.source.rawValue, toByteOffset: Field.source, as: UInt8.self)
        base.storeBytes(of: marks.rawValue, toByteOffset: Field.marks, as: UInt8.self)
        base.storeBytes(of: decision.place, toByteOffset: Field.place, as: Place.self)
        base.storeBytes(of: decision.upstreamMicroseconds, toByteOffset: Field.upstreamTime, as: UInt32.self)
        base.storeBytes(of: decision.upstream, toByteOffset: Field.upstream, as: Int16.self)
        base.storeBytes(
            of: decision.upstreamTransport.rawValue, toByteOffset: Field.upstreamTransport, as: UInt8.self)
        base.storeBytes(of: decision.upstreamSetup.rawValue, toByteOffset: Field.upstreamSetup, as: UInt16.self)
        base.storeBytes(of: decision.extendedError?.rawValue ?? 0, toByteOffset: Field.extendedError, as: UInt16.self)
        base.storeBytes(of: UInt16(truncatingIfNeeded: textLength), toByteOffset: Field.textLength, as: UInt16.self)
        base.storeBytes(
            of: UInt16(truncatingIfNeeded: query.questionLength), toByteOffset: Field.questionLength, as: UInt16.self)
        base.storeBytes(of: UInt16(clamping: answers), toByteOffset: Field.answers, as: UInt16.self)
        base.storeBytes(of: UInt16(clamping: message.count), toByteOffset: Field.messageLength, as: UInt16.self)
        base.storeBytes(of: UInt64(view), toByteOffset: Field.view, as: UInt64.self)
        base.storeBytes(of: UInt8(truncatingIfNeeded: hops), toByteOffset: Field.hopCount, as: UInt8.self)
        base.storeBytes(
            of: query.hasEDNS ? query.payloadSize : 0, toByteOffset: Field.payloadSize, as: UInt16.self)

        var cursor = base + Field.end
        for index in 0..<hops {
            let hop = decision.hop(index)
            cursor.storeBytes(of: hop.nameOffset, as: UInt16.self)
            cursor.storeBytes(of: hop.source.rawValue, toByteOffset: 2, as: UInt8.self)
            cursor.storeBytes(of: hop.place, toByteOffset: 4, as: Place.self)
            cursor += hopSize
        }
        for index in 0..<faults.count {
            let entry = faults.entry(index)
            cursor.storeBytes(of: entry.actions.rawValue, as: UInt16.self)
            cursor.storeBytes(of: 0, toByteOffset: 2, as: UInt16.self)
            cursor.storeBytes(of: entry.place, toByteOffset: 4, as: Place.self)
            cursor += hopSize
        }
        if textLength > 0 {
            decision.writeText(to: UnsafeMutableRawBufferPointer(start: cursor, count: textLength))
            cursor += textLength
        }
        if let start = message.baseAddress { cursor.copyMemory(from: start, byteCount: message.count) }
    }

    /// Writes the record of a message that got no answer, into `droppedSize` bytes.
    static func writeDropped(
        to base: UnsafeMutableRawPointer, time: UInt64, client: SocketAddress, transport: Transport
    ) {
        base.initializeMemory(as: UInt8.self, repeating: 0, count: droppedSize)
        writeHead(to: base, size: droppedSize, time: time, client: client, transport: transport)
        base.storeBytes(of: AnswerKind.dropped.rawValue, toByteOffset: Field.answerKind, as: UInt8.self)
        base.storeBytes(of: -1, toByteOffset: Field.upstream, as: Int16.self)
    }

    /// Marks `size` bytes as a gap.
    static func writeGap(to base: UnsafeMutableRawPointer, size: Int) {
        base.storeBytes(of: UInt32(truncatingIfNeeded: size), toByteOffset: Field.size, as: UInt32.self)
        base.storeBytes(of: Kind.gap, toByteOffset: Field.kind, as: UInt8.self)
    }

    @inline(__always)
    static func writeHead(
        to base: UnsafeMutableRawPointer, size: Int, time: UInt64, client: SocketAddress, transport: Transport
    ) {
        base.storeBytes(of: UInt32(truncatingIfNeeded: size), toByteOffset: Field.size, as: UInt32.self)
        base.storeBytes(of: Kind.lookup, toByteOffset: Field.kind, as: UInt8.self)
        base.storeBytes(of: transport.rawValue, toByteOffset: Field.transport, as: UInt8.self)
        base.storeBytes(of: time, toByteOffset: Field.time, as: UInt64.self)
        base.storeBytes(of: client, toByteOffset: Field.client, as: SocketAddress.self)
        base.storeBytes(of: 0, toByteOffset: Field.process, as: UInt32.self)
    }

    /// Sets the client's process; on the log thread, the only one that writes to a record once it is in a ring.
    func setProcess(_ number: UInt32) {
        UnsafeMutableRawPointer(mutating: base).storeBytes(of: number, toByteOffset: Field.process, as: UInt32.self)
    }
}

extension LookupRecord {
    /// The next answer record that `message` holds completely; nil at the first that it does not.
    func nextAnswer(_ cursor: inout Int) -> MessageReader.Record? {
        guard let record = MessageReader.record(message, at: cursor) else { return nil }
        cursor = record.end
        return record
    }
}
