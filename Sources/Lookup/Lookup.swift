public import DNSWire
public import Platform

/// One lookup, from a client's question to the answer: all that is known of it, in one value.
///
/// Stages read the question and write what they find; the caller reads the outcome here. A thread owns one and reuses
/// it, so that a query allocates nothing.
public struct Lookup: ~Copyable {
    /// Who asks, how, and when.
    public struct Request: Sendable, BitwiseCopyable {
        public var client: SocketAddress
        public var transport: Transport
        /// When the query came in.
        public var arrival: Moment
        /// Monotonic microseconds when it is handled: later than `arrival` if it waited for upstream.
        public var now: UInt64
        /// The view that it belongs to; 0: none.
        public var view: UInt16 = 0

        public init(client: SocketAddress, transport: Transport, arrival: Moment) {
            self.client = client
            self.transport = transport
            self.arrival = arrival
            now = arrival.monotonic
        }
    }

    /// Which of the later stages may answer for the name.
    public enum Reach: Sendable, BitwiseCopyable {
        case everything
        /// An override governs the name but passes this type on: to zones, then upstream.
        case beyondOverride
        /// The same, but to local zones only.
        case zonesOnly
    }

    public var request: Request

    // MARK: What is asked

    /// The query as it was read.
    public var query = Query()
    /// The name being looked up: the QNAME, then each alias's target.
    public var name = LookupName()
    /// Where the response holds `name`.
    public var nameOffset = Header.length
    public var question = Question(type: RecordType(rawValue: 0))
    /// RA=1: there is an upstream to ask.
    public var recursionAvailable = false
    /// Whose servers are asked; see `FetchKey`.
    public var partition: UInt16 = 0

    // MARK: What has been found

    /// The response.
    public var builder = ResponseBuilder.withoutBuffer
    /// Why the response is as it is.
    public var decision = Decision()
    /// What rules do to the answer.
    public var faults = Faults()
    public var reach = Reach.everything
    /// The name lies below a zone cut of a local zone: only upstream knows it.
    public var isBelowCut = false
    /// Where the answer for `name` begins in the response; set after an alias, and while `reach` is not `.everything`.
    public var mark = ResponseBuilder.withoutBuffer.mark
    /// The same, always.
    public var answerStart: ResponseBuilder.Mark { decision.hopCount == 0 ? builder.start : mark }
    /// Scratch space for alias names.
    public var scratch = LookupName()
    /// Scratch space for one record's owner and data, kept so that no lookup allocates it.
    var owner: [UInt8] = []
    var rdata: [UInt8] = []

    // MARK: Upstream

    /// No server is known for `name` at the moment: only what is cached can be given.
    public var isCutOff = false
    /// What upstream has said so far for this lookup.
    public var upstream = UpstreamState()
    /// What to ask upstream for, after `.needs`.
    public private(set) var wanted: FetchKey?
    /// Cached answers that were used, expire soon, and are popular: to be refreshed, under the key they were found by.
    public private(set) var renewals: [FetchKey] = []

    public init(
        _ request: Request = Request(
            client: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp,
            arrival: Moment(wall: 0, monotonic: 0))
    ) {
        self.request = request
    }

    /// Resets it for a new query, or for one that goes on with what upstream has said (`isResumed`). The caller fills in
    /// `query` and `name` next.
    public mutating func begin(_ request: Request, isResumed: Bool = false) {
        self.request = request
        if !isResumed, !upstream.draws.isEmpty { upstream.draws = [] }
        nameOffset = Header.length
        decision.reset()
        faults.reset()
        reach = .everything
        isBelowCut = false
        isCutOff = false
        if wanted != nil { wanted = nil }
        if !renewals.isEmpty { renewals = [] }
    }

    /// Takes the question from the query. Recursion needs RD=1 and an upstream.
    public mutating func takeQuestion() {
        question = Question(
            type: query.type, mayForward: query.recursionDesired && recursionAvailable, dnssecOK: query.dnssecOK,
            checkingDisabled: query.checkingDisabled)
    }

    /// Requests the current name and type from upstream.
    public mutating func want() -> Outcome {
        wanted = FetchKey(name, question, partition: partition)
        return .needs
    }

    /// Requests a refresh of the cached answer for the current name, which was got by asking for `type`.
    public mutating func renew(_ type: RecordType) {
        var question = question
        question.type = type
        renewals.append(FetchKey(name, question, partition: partition))
    }
}
