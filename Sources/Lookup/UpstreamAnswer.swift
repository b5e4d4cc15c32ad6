public import DNSWire
public import Platform

/// One response of an upstream server, checked and put in order: the only form in which it goes any further.
///
/// The records are encoded again by our own `ResponseBuilder`, behind the question they answer; what does not belong to
/// the chain from the question to its answer is left out, so that no one can slip in data for other names.
///
/// An object, since all who wait for it share it.
public final class UpstreamAnswer: Sendable {
    public let key: FetchKey
    public let responseCode: ResponseCode
    /// What upstream said of DNSSEC; used only where it is trusted.
    public let authenticData: Bool
    /// A whole message without OPT: header, question, records.
    public let message: [UInt8]
    public let questionEnd: Int
    public let answers: UInt16
    public let authority: UInt16
    /// Where in `message` the TTLs stand.
    public let ttlOffsets: [UInt16]
    /// How long it may be kept, in seconds; 0: not at all.
    public let ttl: UInt32
    public let hasAlias: Bool
    public let extendedError: ExtendedError?

    /// Which server it came from, how long it took, and how.
    public struct Origin: Sendable, Hashable, BitwiseCopyable {
        /// Its number in the log; -1: none.
        public var upstream: Int16
        public var microseconds: UInt32
        public var transport: UpstreamTransport

        public init(upstream: Int16 = -1, microseconds: UInt32 = 0, transport: UpstreamTransport = .udp) {
            self.upstream = upstream
            self.microseconds = microseconds
            self.transport = transport
        }
    }

    public init(
        key: FetchKey, responseCode: ResponseCode, authenticData: Bool, message: [UInt8], questionEnd: Int,
        answers: UInt16, authority: UInt16, ttlOffsets: [UInt16], ttl: UInt32, hasAlias: Bool,
        extendedError: ExtendedError?
    ) {
        self.key = key
        self.responseCode = responseCode
        self.authenticData = authenticData
        self.message = message
        self.questionEnd = questionEnd
        self.answers = answers
        self.authority = authority
        self.ttlOffsets = ttlOffsets
        self.ttl = ttl
        self.hasAlias = hasAlias
        self.extendedError = extendedError
    }

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

    func matches(_ other: borrowing LookupName, _ question: Question) -> Bool {
        key.type == question.type && key.dnssecOK == question.dnssecOK
            && key.checkingDisabled == question.checkingDisabled && key.hash == other.hash
            && key.name.withUnsafeBytes {
                other.suffixEquals(0, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
            }
    }
}
