import DNSWire
import LookupLog
import Resolution
import Synchronization

/// A query that waits for upstream: its bytes, who asked, and the way back.
struct ParkedQuery: Sendable {
    /// How the answer gets to the client.
    enum Reply: Sendable {
        /// From the socket and the address that were asked.
        case datagram(DatagramSocket, from: LocalAddress?)
        /// Into the connection; empty bytes mean that there is no answer.
        case stream(@Sendable (UnsafeRawBufferPointer) -> Void)
    }

    let message: [UInt8]
    var request: QueryHandler.Request
    let reply: Reply
    /// When to give up on upstream, by the engine's clock.
    let deadline: UInt64
    /// What upstream has said for it so far.
    var upstream = UpstreamState.none

    func send(_ response: UnsafeRawBufferPointer) {
        switch reply {
        case .datagram(let socket, let local):
            if !response.isEmpty { socket.send(response, to: request.client, from: local) }
        case .stream(let write): write(response)
        }
    }
}

/// The slow lane: parks misses with the `ForwardEngine`, and when upstream has answered, handles them once more.
///
/// `park` and `prefetch` are called by serving threads; all else happens on the engine's thread. Other servers are
/// another `Forwarding`: once no snapshot has this one any more, its engine ends with what is in flight.
final class Forwarding: Sendable {
    typealias Engine = ForwardEngine<ParkedQuery, UpstreamAnswer>

    let engine: Engine
    let ring: LookupRing?
    private let responder: Responder
    private let settings: ForwardSettings

    /// `names` are the numbers of the servers' names in the log.
    init(
        settings: ForwardSettings, names: [Int16], cache: AnswerCache, store: LocalDataStore, service: ServiceSettings,
        ring: LookupRing?
    ) throws(SystemError) {
        self.settings = settings
        self.ring = ring
        let responder = Responder(cache: cache, names: names, store: store, service: service, ring: ring)
        self.responder = responder
        let ttls = cache.settings.ttls
        let engine = Engine(
            settings: settings,
            check: { key, message in
                // The engine has matched the ID and the question; this is the door to everything else.
                var name = LookupName()
                let length = key.name.withUnsafeBytes { name.assign(uncompressed: $0) }
                guard length > 0 else { return nil }
                return try? UpstreamAnswer.check(message, name: name, question: key.question, ttls: ttls)
            },
            completion: { key, waiters, event in responder.complete(key, &waiters, event) })
        guard let engine else { throw SystemError("eventfd") }
        self.engine = engine
    }

    deinit { engine.stop(deadline: Engine.now + settings.patience) }

    /// Asks upstream for `name`, which the answer to `message` needs.
    func park(
        _ message: UnsafeRawBufferPointer, _ request: QueryHandler.Request, reply: ParkedQuery.Reply,
        key: FetchKey
    ) {
        let query = ParkedQuery(
            message: Array(message), request: request, reply: reply, deadline: Engine.now + settings.patience)
        if fetch(key, for: query) { return }
        responder.refuse(query)
    }

    /// Whether there was room to ask.
    func fetch(_ key: FetchKey, for query: ParkedQuery) -> Bool {
        engine.fetch(key, for: query, deadline: query.deadline)
    }

    func prefetch(_ key: FetchKey) { _ = engine.prefetch(key) }
}

/// The threads of all engines: of the one in use, and for a while of those whose servers were replaced.
final class ForwardThreads: Sendable {
    private struct State {
        var engines: [ObjectIdentifier: Forwarding.Engine] = [:]
        /// A ring has one writer at a time.
        var freeRings: [LookupRing] = []
        var endsAt: UInt64?
    }

    private let threads = ThreadGroup()
    private let state = Mutex(State())
    private let log: LookupLog?

    init(log: LookupLog?) { self.log = log }

    func takeRing() -> LookupRing? { state.withLock { $0.freeRings.popLast() } ?? log?.makeRing() }

    func start(_ forwarding: Forwarding) {
        // Of the two only the engine: its thread must not keep the other, whose end is to end it.
        let engine = forwarding.engine
        let ring = forwarding.ring
        let endsAt = state.withLock { state in
            state.engines[ObjectIdentifier(engine)] = engine
            return state.endsAt
        }
        if let endsAt { engine.stop(deadline: endsAt) }
        threads.start("forward") { [self] in
            engine.run()
            state.withLock { state in
                state.engines[ObjectIdentifier(engine)] = nil
                if let ring { state.freeRings.append(ring) }
            }
        }
    }

    /// Gives what is in flight `microseconds` to end; returns when all threads have.
    func stop(within microseconds: UInt64) async {
        let endsAt = Forwarding.Engine.now + microseconds
        let engines = state.withLock { state in
            state.endsAt = endsAt
            return Array(state.engines.values)
        }
        for engine in engines { engine.stop(deadline: endsAt) }
        await threads.join()
    }
}

/// Turns upstream's answers into responses.
///
/// `@unchecked`: handler and buffer belong to the engine's thread; `refuse`, which any thread may call, is locked apart.
private final class Responder: @unchecked Sendable {
    private let cache: AnswerCache
    private let names: [Int16]
    private let store: LocalDataStore
    private var handler: QueryHandler
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)
    /// For queries that the engine has no room for: rare, and short.
    private let refusals: Mutex<Refusals>

    private struct Refusals: ~Copyable {
        var handler: QueryHandler
        let store: LocalDataStore
    }

    init(cache: AnswerCache, names: [Int16], store: LocalDataStore, service: ServiceSettings, ring: LookupRing?) {
        self.cache = cache
        self.names = names
        self.store = store
        handler = QueryHandler(service: service, ring: ring)
        refusals = Mutex(Refusals(handler: QueryHandler(service: service, ring: nil), store: store))
    }

    deinit { buffer.deallocate() }

    func complete(_ key: FetchKey, _ waiters: inout [ParkedQuery], _ event: FetchEvent<UpstreamAnswer>) {
        switch event {
        case .answered(var answer, let reply):
            answer.upstream = names.indices.contains(reply.server) ? names[reply.server] : -1
            answer.microseconds = reply.microseconds
            answer.overTCP = reply.overTCP
            cache.insert(answer, now: Moment.monotonicMicroseconds())
            for var waiter in waiters {
                waiter.upstream.answers.append(answer)
                proceed(waiter)
            }
        case .failed(let error, let text):
            for var waiter in waiters {
                // What was once true is better than nothing (RFC 8767 5).
                waiter.upstream.allowStale = true
                waiter.upstream.failure = UpstreamState.Failure(error: error, text: text)
                proceed(waiter)
            }
        case .late:
            waiters.removeAll { waiter in
                var attempt = waiter
                attempt.upstream.allowStale = true
                return answer(attempt)
            }
        }
    }

    /// Answers, or asks for the next name of the chain.
    private func proceed(_ query: ParkedQuery) {
        if answer(query) { return }
        var query = query
        let key = handler.missedKey
        // A chain that hops between our data and upstream has an end too.
        let isBounded = query.upstream.answers.count <= Decision.maximumHops
        // The servers may have been replaced meanwhile.
        if isBounded, store.current().data.forwarding?.fetch(key, for: query) == true { return }
        query.upstream.failure = UpstreamState.Failure(
            error: .other, text: isBounded ? "too many queries wait for upstream" : "the chain of CNAMEs is too long")
        _ = answer(query)
    }

    /// Whether the query could be answered with what there is.
    private func answer(_ query: ParkedQuery) -> Bool {
        var query = query
        query.request.now = Moment.monotonicMicroseconds()
        return query.message.withUnsafeBytes { message in
            switch handler.handle(
                message, query.request, local: store.current().data, upstream: query.upstream, into: buffer)
            {
            case .reply(let length):
                query.send(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
                return true
            case .miss: return false
            case .nothing, .transfer:
                query.send(UnsafeRawBufferPointer(start: nil, count: 0))
                return true
            }
        }
    }

    /// SERVFAIL for a query that can't wait, from whichever thread it came on.
    func refuse(_ query: ParkedQuery) {
        var query = query
        query.upstream.allowStale = true
        query.upstream.failure = UpstreamState.Failure(error: .other, text: "too many queries wait for upstream")
        refusals.withLock { refusals in
            withUnsafeTemporaryAllocation(byteCount: 65535, alignment: 8) { buffer in
                let result = query.message.withUnsafeBytes {
                    refusals.handler.handle(
                        $0, query.request, local: refusals.store.current().data, upstream: query.upstream, into: buffer)
                }
                if case .reply(let length) = result {
                    query.send(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
                } else {
                    query.send(UnsafeRawBufferPointer(start: nil, count: 0))
                }
            }
        }
    }
}
