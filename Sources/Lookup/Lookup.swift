package import DNSWire
package import Platform

/// One lookup on its way from a client's question to the answer: all that is known of it, in one value.
///
/// Stages read what is asked and write what they find; whoever started the lookup reads the outcome here. A thread owns
/// one and begins it anew for each query, so that a query allocates nothing.
package struct Lookup: ~Copyable {
    /// Who asks, how, and when.
    package struct Request: Sendable, BitwiseCopyable {
        package var client: SocketAddress
        package var transport: Transport
        /// When the query came in.
        package var arrival: Moment
        /// Monotonic microseconds as it is handled: later than `arrival` where it waited for upstream.
        package var now: UInt64

        package init(client: SocketAddress, transport: Transport, arrival: Moment) {
            self.client = client
            self.transport = transport
            self.arrival = arrival
            now = arrival.monotonic
        }
    }

    /// Which of the later stages may speak of the name.
    package enum Reach: Sendable, BitwiseCopyable {
        case everything
        /// An override governs the name and leaves this type to what lies behind it: zones, then upstream.
        case beyondOverride
        /// The same, but to local zones only.
        case zonesOnly
    }

    package var request: Request

    // MARK: What is asked

    /// The query as it was read.
    package var query = Query()
    /// The name that is looked up now: the query's, then that of each alias.
    package var name = LookupName()
    /// Where `name` stands in the response.
    package var nameOffset = Header.length
    package var question = Question(type: RecordType(rawValue: 0))
    /// RA: there is an upstream to ask.
    package var recursionAvailable = false

    // MARK: What has been found

    /// The response.
    package var builder = ResponseBuilder.nowhere
    /// Why it is as it is.
    package var decision = Decision()
    package var reach = Reach.everything
    /// A zone cut of ours is above the name: only upstream knows it.
    package var isBelowCut = false
    /// Where the answer for `name` began, once `reach` is no longer everything.
    package var mark = ResponseBuilder.nowhere.mark
    /// For the names of aliases, while they are looked at.
    package var scratch = LookupName()

    // MARK: Upstream

    /// What upstream has said so far for this very lookup.
    package var upstream = UpstreamState()
    /// After `.needs`: what upstream has to be asked for.
    package private(set) var wanted: FetchKey?
    /// What was used, runs out soon, and is asked for often: to be fetched anew, under the key it was found by.
    package private(set) var renewals: [FetchKey] = []

    package init(
        _ request: Request = Request(
            client: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp,
            arrival: Moment(wall: 0, monotonic: 0))
    ) {
        self.request = request
    }

    /// Forgets what the last lookup has left; `query` and `name` are read next.
    package mutating func begin(_ request: Request) {
        self.request = request
        nameOffset = Header.length
        decision.reset()
        reach = .everything
        isBelowCut = false
        if wanted != nil { wanted = nil }
        if !renewals.isEmpty { renewals = [] }
    }

    /// Takes the question from the query: what is not local may be forwarded where the client wants recursion.
    package mutating func takeQuestion() {
        question = Question(
            type: query.type, mayForward: query.recursionDesired && recursionAvailable, dnssecOK: query.dnssecOK,
            checkingDisabled: query.checkingDisabled)
    }

    /// Has upstream asked for the current name and type.
    package mutating func want() -> Outcome {
        wanted = FetchKey(name, question)
        return .needs
    }

    /// Notes that what is held for the current name and type should be fetched anew.
    package mutating func renew() { renewals.append(FetchKey(name, question)) }
}
