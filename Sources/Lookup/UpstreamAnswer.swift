public import DNSWire
public import Platform

/// One response of an upstream server, checked and rebuilt: the only form that the rest of the code sees.
///
/// Our own `ResponseBuilder` encodes the records again behind the question they answer. Records outside the chain from
/// question to answer are dropped, so that a server can't slip in data for other names.
///
/// A class, because all lookups that wait for it share it.
public final class UpstreamAnswer: Sendable {
    public let key: FetchKey
    public let responseCode: ResponseCode
    /// Upstream's AD bit; used only where upstream is trusted.
    public let authenticData: Bool
    /// A whole message without OPT: header, question, records.
    public let message: [UInt8]
    public let questionEnd: Int
    public let answers: UInt16
    public let authority: UInt16
    /// Offsets of the TTLs in `message`.
    public let ttlOffsets: [UInt16]
    /// How long it may be cached, in seconds; 0: not at all.
    public let ttl: UInt32
    public let hasAlias: Bool
    /// The chain's last target is not answered here: it has to be asked for.
    public let isOpen: Bool
    public let extendedError: ExtendedError?
    /// Upstream's words about that error, or why its answer is not given: printable ASCII, at most `Decision.mostSaid`
    /// bytes.
    public let extendedText: [UInt8]
    /// An answer record has an address of this machine, its link or its site.
    public let hasPrivateAddress: Bool

    /// Which server answered, how long it took, by which transport, and over which connection; or where it is recorded.
    public struct Origin: Sendable, Hashable, BitwiseCopyable {
        /// The server's number in the log; -1: none.
        public var upstream: Int16
        public var microseconds: UInt32
        public var setup: UpstreamSetup
        public var transport: UpstreamTransport
        /// The line of the cassette that has it, if any.
        public var place: Place

        public init(
            upstream: Int16 = -1, microseconds: UInt32 = 0, transport: UpstreamTransport = .udp,
            setup: UpstreamSetup = .none, place: Place = .nowhere
        ) {
            self.upstream = upstream
            self.microseconds = microseconds
            self.transport = transport
            self.setup = setup
            self.place = place
        }
    }

    public init(
        key: FetchKey, responseCode: ResponseCode, authenticData: Bool, message: [UInt8], questionEnd: Int,
        answers: UInt16, authority: UInt16, ttlOffsets: [UInt16], ttl: UInt32, hasAlias: Bool,
        isOpen: Bool, extendedError: ExtendedError?, extendedText: [UInt8], hasPrivateAddress: Bool
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
        self.isOpen = isOpen
        self.extendedError = extendedError
        self.extendedText = extendedText
        self.hasPrivateAddress = hasPrivateAddress
    }

    /// The name does not exist, for no type. Behind an alias this is true of the alias's target only.
    /// - RFC: 2308 5.
    public var deniesName: Bool { responseCode == .nxDomain && !hasAlias }

    /// Why a response is not used.
    public enum Rejection: Error, Sendable, Hashable {
        case malformed, otherQuestion, notAResponse, refusedByLibrary, badAlias
    }

    /// Bounds on TTLs, in seconds.
    public struct TTLs: Sendable, Hashable {
        public var least: UInt32 = 0
        public var most: UInt32 = 86_400
        /// RFC 2308 5 advises one to three hours.
        public var mostNegative: UInt32 = 10_800
        /// Failures are cached too, for 1 s to 5 min (RFC 9520 3.2).
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
