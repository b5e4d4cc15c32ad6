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

    /// What became of upstream's answer if it has a private address for a public name.
    ///
    /// Records and histories store the raw values.
    public enum PrivateAnswer: UInt8, Sendable, BitwiseCopyable {
        /// There is no such address, or it is expected.
        case none = 0
        case passed = 1
        case refused = 2

        public var word: StaticString? {
            switch self {
            case .none: nil
            case .passed: "passed"
            case .refused: "refused"
            }
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
    /// Printable ASCII, for people; empty if upstream's own words are used.
    public private(set) var extendedText: StaticString = ""
    // Upstream's words: copied, since what they were read from may be gone when they are written.
    private var said = InlineArray<120, UInt8>(repeating: 0)
    private var saidLength: UInt8 = 0
    /// An override hides the records of this type (HTTPS, SVCB): NODATA on purpose.
    public var masked = false
    /// Upstream gave a private address for a public name (DNS rebinding).
    public var privateAnswer = PrivateAnswer.none
    /// That address, as the end of the extended error's text, if it was refused; else not valid.
    public private(set) var refusedAddress: SocketAddress?
    /// The upstream that answered: an index into the configured servers, or -1.
    public var upstream: Int16 = -1
    /// How long that upstream took, in microseconds.
    public var upstreamMicroseconds: UInt32 = 0
    /// The transport its answer came by.
    public var upstreamTransport = UpstreamTransport.udp
    /// The connection that it came over.
    public var upstreamSetup = UpstreamSetup.none
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
        privateAnswer = .none
        upstream = -1
        upstreamMicroseconds = 0
        upstreamTransport = .udp
        upstreamSetup = .none
        if !keepingHops { hopCount = 0 }
    }

    public mutating func fail(_ code: ResponseCode, _ error: ExtendedError? = nil, _ text: StaticString = "") {
        responseCode = code
        source = .none
        place = .nowhere
        extendedError = error
        extendedText = text
        saidLength = 0
    }

    public mutating func explain(_ error: ExtendedError, _ text: StaticString) {
        extendedError = error
        extendedText = text
        saidLength = 0
    }

    /// Explains it in upstream's own words, printable ASCII; by `text` if there are none.
    public mutating func explain(_ error: ExtendedError, said words: UnsafeRawBufferPointer, or text: StaticString) {
        explain(error, words.isEmpty ? text : "")
        saidLength = UInt8(min(words.count, Self.mostSaid))
        for index in 0..<Int(saidLength) { said[index] = words[index] }
    }

    /// The most of upstream's words that are kept, in bytes.
    public static let mostSaid = 120

    /// Explains why a private address, if it is known, is refused.
    public mutating func refuse(_ address: SocketAddress?, _ error: ExtendedError, _ text: StaticString) {
        privateAnswer = .refused
        refusedAddress = address
        explain(error, text)
    }

    /// The extended error's text is upstream's.
    public var isInUpstreamsWords: Bool { extendedError != nil && saidLength > 0 }

    /// The extended error's text.
    public var text: String {
        String(unsafeUninitializedCapacity: textLength) { buffer in
            writeText(to: UnsafeMutableRawBufferPointer(buffer))
            return buffer.count
        }
    }

    /// Bytes of the extended error's text: of `extendedText` or upstream's words, and of `: ` and the refused address.
    @inline(never)
    public var textLength: Int {
        var length = 0
        forEachTextPart { length += $0.count }
        return length
    }

    /// Writes as much of that text as fits.
    @inline(never)
    public func writeText(to buffer: UnsafeMutableRawBufferPointer) {
        var rest = buffer[...]
        forEachTextPart { part in
            let count = min(part.count, rest.count)
            UnsafeMutableRawBufferPointer(rebasing: rest).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: part[..<count]))
            rest = rest.dropFirst(count)
        }
    }

    /// Does not allocate.
    private func forEachTextPart(_ body: (UnsafeRawBufferPointer) -> Void) {
        if saidLength > 0 {
            said.span.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<Int(saidLength)])) }
        } else if extendedText.hasPointerRepresentation {
            body(UnsafeRawBufferPointer(start: extendedText.utf8Start, count: extendedText.utf8CodeUnitCount))
        }
        guard privateAnswer == .refused, let refusedAddress else { return }
        let colon: StaticString = ": "
        body(UnsafeRawBufferPointer(start: colon.utf8Start, count: colon.utf8CodeUnitCount))
        refusedAddress.withIP(body)
    }

    /// Appends a link of the chain; false when the chain has reached its limit.
    public mutating func appendHop(_ hop: Hop) -> Bool {
        guard hopCount < Self.maximumHops else { return false }
        hops[hopCount] = hop
        hopCount += 1
        return true
    }

    public func hop(_ index: Int) -> Hop { hops[index] }

    /// The hop's name is elsewhere in the response.
    mutating func moveHop(_ index: Int, to offset: Int) { hops[index].nameOffset = UInt16(truncatingIfNeeded: offset) }
}
