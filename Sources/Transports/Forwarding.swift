import DNSWire
package import Lookup
package import LookupLog
import Pipeline
package import Platform
import Synchronization
package import Upstream

/// A query that waits for upstream: its bytes, its client, and how to reply.
///
/// `@unchecked`: the thread that read the query hands it to the forward lane's thread and keeps no reference.
package final class ParkedQuery: @unchecked Sendable {
    /// How the answer reaches the client.
    enum Reply: Sendable {
        /// From the socket and the address that the query was sent to.
        case datagram(DatagramSocket, from: LocalAddress?)
        /// Into the connection.
        case stream(@Sendable (StreamReply) -> Void)
        /// To no client: reports upstream's answer.
        case report(@Sendable (UpstreamResult) -> Void)
    }

    let message: UnsafeRawBufferPointer
    /// The first question that upstream was asked.
    let key: FetchKey
    let reply: Reply
    /// When to give up on upstream, on the engine's clock.
    let deadline: UInt64
    fileprivate var request: Lookup.Request
    /// Upstream's answers so far.
    fileprivate var upstream = UpstreamState()
    private let memory: ParkedMemory

    init(
        _ query: UnsafeRawBufferPointer, _ request: Lookup.Request, key: FetchKey, reply: Reply, deadline: UInt64,
        in memory: ParkedMemory
    ) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: query.count, alignment: 8)
        copy.copyMemory(from: query)
        message = UnsafeRawBufferPointer(copy)
        self.request = request
        self.key = key
        self.reply = reply
        self.deadline = deadline
        self.memory = memory
        memory.take(message.count)
    }

    deinit {
        message.deallocate()
        memory.giveBack(message.count)
    }
}

/// The slow lane: parks misses with the `ForwardEngine` and handles them again once upstream has answered.
///
/// Serving threads call `park` and `prefetch`; all else runs on the lane's thread.
package final class Forwarding: Sendable {
    package typealias Engine = ForwardEngine<ParkedQuery, UpstreamAnswer>
    package typealias Lane = ForwardLane<ParkedQuery, UpstreamAnswer, SystemNetwork>

    private let engine: Engine
    private let responder: Responder
    private let memory = ParkedMemory()
    /// Answers that rules hold back.
    let delayed: DelayedAnswers
    package let numbers = UpstreamNumbers()

    /// `serverLost` is called, from the lane's thread, when a server has gone down.
    package init(
        settings: ForwardSettings, store: ServedDataStore, log: LookupLog?,
        cassette: (any UpstreamCassette)? = nil, serverLost: @escaping @Sendable () -> Void = {}
    ) throws(SystemError) {
        delayed = try DelayedAnswers()
        let responder = Responder(store: store, log: log, numbers: numbers, delayed)
        self.responder = responder
        let watch = log?.makeExchangeRing().map { ring -> Engine.Watch in
            { message in
                let now = Moment.now()
                ring.append(message, clock: now.wall &- now.monotonic)
            }
        }
        engine = try Engine(
            settings: settings, check: { responder.check($0, $1, $2) },
            completion: { responder.complete($0, &$1, $2, now: $3) }, roundEnds: { responder.flush() }, watch: watch,
            serverLost: serverLost, cassette: cassette)
        responder.attach(engine)
    }

    /// Asks upstream for `key`, which the answer to `message` needs; through `lane` if called on its thread.
    ///
    /// - Parameter draws: what the rules have counted for it already.
    func park(
        _ message: UnsafeRawBufferPointer, _ request: Lookup.Request, reply: ParkedQuery.Reply,
        key: FetchKey, lane: Lane? = nil, deadline: UInt64? = nil, draws: [UpstreamState.Draw] = []
    ) {
        let deadline = deadline ?? request.now + engine.clientTimeout
        let query = ParkedQuery(message, request, key: key, reply: reply, deadline: deadline, in: memory)
        if !draws.isEmpty { query.upstream.draws = draws }
        if memory.isFull { return responder.refuse(query) }
        if let lane {
            lane.fetch(key, for: query, deadline: deadline, now: request.now)
        } else if !engine.fetch(key, for: query, deadline: deadline) {
            responder.refuse(query)
        }
    }

    /// Refreshes cached answers that were used and expire soon.
    func renew(_ keys: borrowing [FetchKey], now: UInt64) {
        for index in keys.indices { engine.prefetch(keys[index], now: now) }
    }

    /// Asks upstream for `key` as a lookup would, and waits for the answer until `deadline`, on the engine's clock.
    package func ask(_ key: FetchKey, until deadline: UInt64) async -> UpstreamResult {
        await withCheckedContinuation { continuation in
            let client = SocketAddress(high: 0, low: 0x7F00_0001, port: 0, isIPv6: false)
            let request = Lookup.Request(client: client, transport: .tcp, arrival: .now())
            park(
                UnsafeRawBufferPointer(start: nil, count: 0), request,
                reply: .report { continuation.resume(returning: $0) }, key: key, deadline: deadline)
        }
    }

    /// How long a client is kept waiting, in microseconds.
    package var clientTimeout: UInt64 { engine.clientTimeout }

    /// Each server's health.
    package var status: [UpstreamStatus] { engine.status }

    /// Replaces servers and settings; waiting questions are asked again.
    package func replace(_ settings: ForwardSettings) { engine.replace(settings) }

    /// The network is another one: servers are asked afresh, questions in flight again.
    package func networkChanged() { engine.networkChanged() }

    /// Makes the lane, for the one thread that runs it.
    package func makeLane() throws(SystemError) -> Lane { makeLane(over: try SystemNetwork(wake: engine.wake)) }

    /// The same over another network.
    package func makeLane<Network: UpstreamNetwork & ~Copyable>(
        over network: consuming Network
    ) -> ForwardLane<ParkedQuery, UpstreamAnswer, Network> {
        ForwardLane(engine, over: network)
    }

    /// Gives questions in flight `microseconds` to finish; then the lane ends.
    package func stop(within microseconds: UInt64) {
        engine.stop(deadline: SystemClock.monotonic() + microseconds)
        delayed.stop()
    }
}

/// Upstream's answer to a question, or why there is none.
package enum UpstreamResult: Sendable {
    case answered(UpstreamAnswer, UpstreamAnswer.Origin)
    case failed(String)
}

/// Counts the memory of waiting queries: clients must not exhaust it by asking what upstream answers slowly.
final class ParkedMemory: Sendable {
    private let bytes = Atomic<Int>(0)
    private static let most = 16 << 20
    /// Bytes per query besides its message.
    private static let overhead = 512

    var isFull: Bool { bytes.load(ordering: .relaxed) > Self.most }

    fileprivate func take(_ count: Int) { bytes.add(count + Self.overhead, ordering: .relaxed) }
    fileprivate func giveBack(_ count: Int) { bytes.subtract(count + Self.overhead, ordering: .relaxed) }
}

/// Makes responses from upstream's answers.
///
/// `@unchecked`: used on the lane's thread only, except `refuse`, which any thread may call; its state has a lock.
private final class Responder: @unchecked Sendable {
    private let store: ServedDataStore
    private let log: LookupLog?
    private var snapshot: ServedDataStore.Snapshot
    private var handler: QueryHandler
    private var lookup = Lookup()
    private let numbers: UpstreamNumbers
    private let delayed: DelayedAnswers
    private var scrubber = AnswerScrubber()
    private var outbox = DatagramOutbox(capacity: 64)
    /// The buffer for answers to streams.
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)
    private weak var engine: Forwarding.Engine?
    /// For queries that the engine has no room for: they are rare and short.
    private let refusals: Mutex<Refusals>

    private struct Refusals: ~Copyable {
        let handler: QueryHandler
        var lookup = Lookup()
        var outbox = DatagramOutbox(capacity: 1)
        let store: ServedDataStore
        let delayed: DelayedAnswers

        init(_ store: ServedDataStore, ring: LookupRing?, _ delayed: DelayedAnswers) {
            handler = QueryHandler(ring: ring)
            self.store = store
            self.delayed = delayed
        }

        mutating func answer(_ query: ParkedQuery, _ buffer: UnsafeMutableRawBufferPointer) -> FetchKey? {
            Responder.answer(query, with: handler, &lookup, store.current().data, delayed, &outbox, buffer)
        }
    }

    init(store: ServedDataStore, log: LookupLog?, numbers: UpstreamNumbers, _ delayed: DelayedAnswers) {
        self.delayed = delayed
        self.store = store
        self.log = log
        self.numbers = numbers
        snapshot = store.current()
        handler = QueryHandler(ring: log?.makeRing())
        refusals = Mutex(Refusals(store, ring: log?.makeRing(), delayed))
    }

    deinit { buffer.deallocate() }

    func attach(_ engine: Forwarding.Engine) { self.engine = engine }

    /// Checks an upstream message; nil if it is unusable.
    func check(
        _ key: FetchKey, _ message: UnsafeRawBufferPointer, _ summary: MessageReader.Summary
    ) -> UpstreamAnswer? {
        refresh()
        return try? scrubber.check(message, summary, for: key, ttls: snapshot.data.pipeline.cache.settings.ttls)
    }

    func complete(
        _ key: FetchKey, _ waiters: inout [ParkedQuery], _ event: FetchEvent<UpstreamAnswer>, now: UInt64
    ) {
        refresh()
        switch event {
        case .answered(let answer, let reply):
            let origin = UpstreamAnswer.Origin(
                upstream: reply.address.map { number(of: $0) } ?? -1, microseconds: reply.microseconds,
                transport: reply.transport, setup: reply.setup, place: reply.place)
            // An answer without the signatures that were asked for serves this client, but no later one.
            if !reply.hasSuccessor, !reply.isReduced || !key.dnssecOK {
                snapshot.data.data(ofPartition: key.partition)?.pipeline.cache.insert(answer, now: now, from: origin)
            }
            for waiter in waiters {
                if case .report(let tell) = waiter.reply {
                    tell(.answered(answer, origin))
                    continue
                }
                waiter.upstream.answers.append(answer, from: origin)
                proceed(waiter, now)
            }
        case .failed(let error, let text):
            for waiter in waiters {
                // A stale answer is better than none (RFC 8767 5).
                waiter.upstream.allowStale = true
                waiter.upstream.failure = UpstreamState.Failure(error, text)
                proceed(waiter, now)
            }
        case .late:
            waiters.removeAll { waiter in
                waiter.upstream.allowStale = true
                defer { waiter.upstream.allowStale = false }
                return answer(waiter, now) == nil
            }
        }
    }

    private func refresh() {
        guard store.generation != snapshot.generation else { return }
        snapshot = store.current()
    }

    /// Sends the collected answers.
    func flush() {
        outbox.flush()
        // A lane without work must not keep old data alive.
        refresh()
    }

    /// The server's number in the log, which learns it before the first record that uses it. A server removed from the
    /// settings keeps its number.
    private func number(of server: SocketAddress) -> Int16 {
        guard let (number, isNew) = numbers.number(of: server) else { return -1 }
        if isNew {
            let texts = numbers.servers.map { "\($0)" }
            log?.setUpstreams(texts)
            handler.upstreamTexts = texts.map { Array($0.utf8) }
        }
        return number
    }

    /// Answers the query, or asks for the next name of its chain.
    private func proceed(_ query: ParkedQuery, _ now: UInt64) {
        guard let key = answer(query, now) else { return }
        // Bounds chains that alternate between local data and upstream.
        let isBounded = query.upstream.answers.count <= Decision.maximumHops
        if isBounded, engine?.fetch(key, for: query, deadline: query.deadline) == true { return }
        query.upstream.failure = UpstreamState.Failure(
            .other, isBounded ? "too many queries wait for upstream" : "the chain of CNAMEs is too long")
        _ = answer(query, now)
    }

    /// What to ask upstream for next; nil if the query is answered.
    private func answer(_ query: ParkedQuery, _ now: UInt64) -> FetchKey? {
        query.request.now = now
        let key = Self.answer(query, with: handler, &lookup, snapshot.data, delayed, &outbox, buffer)
        for key in lookup.renewals { engine?.prefetch(key, now: now) }
        return key
    }

    private static func answer(
        _ query: ParkedQuery, with handler: borrowing QueryHandler, _ lookup: inout Lookup, _ served: ServedData,
        _ delayed: DelayedAnswers, _ outbox: inout DatagramOutbox, _ buffer: UnsafeMutableRawBufferPointer
    ) -> FetchKey? {
        if case .report(let tell) = query.reply {
            // Only a failure is reported; a late answer is still awaited.
            guard let failure = query.upstream.failure else { return query.key }
            tell(.failed("\(failure.text)"))
            return nil
        }
        let served = served.data(ofView: query.request.view)
        swap(&lookup.upstream, &query.upstream)
        defer { swap(&lookup.upstream, &query.upstream) }
        switch query.reply {
        case .datagram(let socket, let source):
            switch handler.handle(query.message, query.request, &lookup, served, into: outbox.room, isResumed: true) {
            case .reply(let length): outbox.commit(length, on: socket, to: query.request.client, from: source)
            case .impaired(let length, let faults):
                let answer = UnsafeRawBufferPointer(rebasing: outbox.room[..<length])
                if delayed.sendsNow(answer, faults, to: query.request.client, query.reply) {
                    outbox.commit(length, on: socket, to: query.request.client, from: source)
                }
            case .needs(let key): return key
            case .nothing, .transfer: break
            }
        case .stream(let send):
            switch handler.handle(query.message, query.request, &lookup, served, into: buffer, isResumed: true) {
            case .reply(let length): send(.message(UnsafeRawBufferPointer(rebasing: buffer[..<length]), rate: 0))
            case .impaired(let length, let faults):
                let answer = UnsafeRawBufferPointer(rebasing: buffer[..<length])
                if let reply = delayed.streamReply(answer, faults, to: query.request, query.reply) { send(reply) }
            case .needs(let key): return key
            case .nothing, .transfer: send(.nothing)
            }
        case .report: break
        }
        return nil
    }

    /// SERVFAIL for a query that can't wait; on the thread that read it.
    func refuse(_ query: ParkedQuery) {
        query.upstream.allowStale = true
        query.upstream.failure = UpstreamState.Failure(.other, "too many queries wait for upstream")
        refusals.withLock { refusals in
            withUnsafeTemporaryAllocation(byteCount: 65535, alignment: 8) { buffer in
                _ = refusals.answer(query, buffer)
            }
            refusals.outbox.flush()
        }
    }
}
