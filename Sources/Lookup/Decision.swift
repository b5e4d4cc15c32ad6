public import DNSWire
public import Platform

/// Why the answer is as it is: what a lookup's log line says, and what the header is made from.
///
/// A worker owns one and reuses it. Fixed size, no references.
public struct Decision: Sendable, BitwiseCopyable {
    /// One name of a chain, and who answered for it.
    public struct Hop: Sendable, BitwiseCopyable {
        /// Where the hop's name stands in the response.
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

    /// Who answered for the last name of the chain.
    public var source = SourceKind.none
    /// The line that decided: the override's, or the first record's of the RRset.
    public var place = Place.nowhere
    public var responseCode = ResponseCode.noError
    /// What became of the lookup; set when the response is complete.
    public var answerKind = AnswerKind.answer
    /// AA=1: the first name's data is ours (RFC 1034 6.2.7, for the owner that matches the question).
    public var authoritative = false
    /// AD=1, as upstream said, where it is trusted.
    public var authenticData = false
    public var extendedError: ExtendedError?
    /// Printable ASCII, for people.
    public var extendedText: StaticString = ""
    /// An override hides the records of this type (HTTPS, SVCB): NODATA on purpose.
    public var masked = false
    /// The upstream that gave the answer: an index into the configured servers, or -1.
    public var upstream: Int16 = -1
    /// How long that upstream took, in microseconds.
    public var upstreamMicroseconds: UInt32 = 0
    /// How its answer came.
    public var upstreamTransport = UpstreamTransport.udp
    public private(set) var hopCount = 0
    private var hops = InlineArray<17, Hop>(repeating: Hop(nameOffset: 0, source: .none, place: .nowhere))

    public init() {}

    /// Ready for the next query, or (with `keepingHops`) for the next source; the hops' bytes are left as they are.
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

    /// Notes a link of the chain. False when the chain is as long as it may be.
    public mutating func appendHop(_ hop: Hop) -> Bool {
        guard hopCount < Self.maximumHops else { return false }
        hops[hopCount] = hop
        hopCount += 1
        return true
    }

    public func hop(_ index: Int) -> Hop { hops[index] }
}
