public import DNSWire
public import Platform

/// Why the answer is as it is. The log line and the response header are made from it.
///
/// Fixed size, no references: a worker owns one and reuses it.
public struct Decision: Sendable, BitwiseCopyable {
    /// One name of a CNAME chain, and the source that answered for it.
    public struct Hop: Sendable, BitwiseCopyable {
        /// Where the response holds the hop's name.
        public var nameOffset: UInt16
        public var source: SourceKind
        public var place: Place

        public init(nameOffset: UInt16, source: SourceKind, place: Place) {
            self.nameOffset = nameOffset
            self.source = source
            self.place = place
        }
    }

    /// The longest chain of CNAMEs that is followed.
    public static let maximumHops = 16

    /// The source that answered for the last name of the chain.
    public var source = SourceKind.none
    /// The line that decided: the override's, or that of the RRset's first record.
    public var place = Place.nowhere
    public var responseCode = ResponseCode.noError
    /// What became of the lookup; set when the response is complete.
    public var answerKind = AnswerKind.answer
    /// AA=1: the data of the first name is ours (RFC 1034 6.2.7, for the owner name that matches the question).
    public var authoritative = false
    /// AD=1: upstream said so and is trusted to.
    public var authenticData = false
    public var extendedError: ExtendedError?
    /// Printable ASCII, for people.
    public var extendedText: StaticString = ""
    /// An override hides the records of this type (HTTPS, SVCB): NODATA on purpose.
    public var masked = false
    /// The upstream that answered: an index into the configured servers, or -1.
    public var upstream: Int16 = -1
    /// How long that upstream took, in microseconds.
    public var upstreamMicroseconds: UInt32 = 0
    /// The transport its answer came by.
    public var upstreamTransport = UpstreamTransport.udp
    public private(set) var hopCount = 0
    private var hops = InlineArray<17, Hop>(repeating: Hop(nameOffset: 0, source: .none, place: .nowhere))

    public init() {}

    /// Clears it for the next query, or (with `keepingHops`) for the next source. Only `hopCount` guards old hops.
    public mutating func reset(keepingHops: Bool = false) {
        source = .none
        place = .nowhere
        responseCode = .noError
        answerKind = .answer
        authoritative = false
        authenticData = false
        extendedError = nil
        masked = false
        upstream = -1
        upstreamMicroseconds = 0
        upstreamTransport = .udp
        if !keepingHops { hopCount = 0 }
    }

    public mutating func fail(_ code: ResponseCode, _ error: ExtendedError? = nil, _ text: StaticString = "") {
        responseCode = code
        source = .none
        place = .nowhere
        extendedError = error
        extendedText = text
    }

    public mutating func explain(_ error: ExtendedError, _ text: StaticString) {
        extendedError = error
        extendedText = text
    }

    /// Appends a link of the chain; false when the chain has reached its limit.
    public mutating func appendHop(_ hop: Hop) -> Bool {
        guard hopCount < Self.maximumHops else { return false }
        hops[hopCount] = hop
        hopCount += 1
        return true
    }

    public func hop(_ index: Int) -> Hop { hops[index] }
}
