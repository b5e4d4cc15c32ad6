public import DNSWire
public import Platform

/// One lookup on its way from a client's question to the answer: all that is known of it, in one value.
///
/// Stages read what is asked and write what they find; whoever started the lookup reads the outcome here. A thread owns
/// one and begins it anew for each query, so that a query allocates nothing.
public struct Lookup: ~Copyable {
    /// Who asks, how, and when.
    public struct Request: Sendable, BitwiseCopyable {
        public var client: SocketAddress
        public var transport: Transport
        /// When the query came in.
        public var arrival: Moment
        /// Monotonic microseconds as it is handled: later than `arrival` where it waited for upstream.
        public var now: UInt64

        public init(client: SocketAddress, transport: Transport, arrival: Moment) {
            self.client = client
            self.transport = transport
            self.arrival = arrival
            now = arrival.monotonic
        }
    }

    /// Which of the later stages may speak of the name.
    public enum Reach: Sendable, BitwiseCopyable {
        case everything
        /// An override governs the name and leaves this type to what lies behind it: zones, then upstream.
        case beyondOverride
        /// The same, but to local zones only.
        case zonesOnly
    }

    public var request: Request

    // MARK: What is asked

    /// The query as it was read.
    public var query = Query()
    /// The name that is looked up now: the query's, then that of each alias.
    public var name = LookupName()
    /// Where `name` stands in the response.
    public var nameOffset = Header.length
    public var question = Question(type: RecordType(rawValue: 0))
    /// RA: there is an upstream to ask.
    public var recursionAvailable = false

    // MARK: What has been found

    /// The response.
    public var builder = ResponseBuilder.nowhere
    /// Why it is as it is.
    public var decision = Decision()
    public var reach = Reach.everything
    /// A zone cut of ours is above the name: only upstream knows it.
    public var isBelowCut = false
    /// Where the answer for `name` began, once `reach` is no longer everything.
    public var mark = ResponseBuilder.nowhere.mark
    /// For the names of aliases, while they are looked at.
    public var scratch = LookupName()

    // MARK: Upstream

    /// What upstream has said so far for this very lookup.
    public var upstream = UpstreamState()
    /// After `.needs`: what upstream has to be asked for.
    public private(set) var wanted: FetchKey?
    /// What was used, runs out soon, and is asked for often: to be fetched anew, under the key it was found by.
    public private(set) var renewals: [FetchKey] = []

    public init(
        _ request: Request = Request(
            client: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp,
            arrival: Moment(wall: 0, monotonic: 0))
    ) {
        self.request = request
    }

    /// Forgets what the last lookup has left; `query` and `name` are read next.
    public mutating func begin(_ request: Request) {
        self.request = request
        nameOffset = Header.length
        decision.reset()
        reach = .everything
        isBelowCut = false
        if wanted != nil { wanted = nil }
        if !renewals.isEmpty { renewals = [] }
    }

    /// Takes the question from the query: what is not local may be forwarded where the client wants recursion.
    public mutating func takeQuestion() {
        question = Question(
            type: query.type, mayForward: query.recursionDesired && recursionAvailable, dnssecOK: query.dnssecOK,
            checkingDisabled: query.checkingDisabled)
    }

    /// Has upstream asked for the current name and type.
    public mutating func want() -> Outcome {
        wanted = FetchKey(name, question)
        return .needs
    }

    /// Notes that what is held for the current name and type should be fetched anew.
    public mutating func renew() { renewals.append(FetchKey(name, question)) }
}
