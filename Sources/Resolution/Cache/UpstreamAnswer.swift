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
