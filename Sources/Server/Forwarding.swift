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

    let message: ParkedMessage
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
/// `park` and `prefetch` are called by serving threads; all else happens on the engine's thread.
final class Forwarding: Sendable {
    typealias Engine = ForwardEngine<ParkedQuery, UpstreamAnswer>

    private let engine: Engine
    private let responder: Responder
    private let room = ParkedRoom()

    init(settings: ForwardSettings, store: LocalDataStore, log: LookupLog?) throws(SystemError) {
        let responder = Responder(store: store, log: log)
        self.responder = responder
        let engine = Engine(
            settings: settings,
            check: { key, message in
                // The engine has matched the ID and the question; this is the door to everything else.
                var name = LookupName()
                let length = key.name.withUnsafeBytes { name.assign(uncompressed: $0) }
                guard length > 0 else { return nil }
                let ttls = store.current().data.chain.cache.settings.ttls
                return try? UpstreamAnswer.check(message, name: name, question: key.question, ttls: ttls)
            },
            completion: { key, waiters, event in responder.complete(key, &waiters, event) })
        guard let engine else { throw SystemError("eventfd") }
        self.engine = engine
        responder.attach(engine)
    }

    /// Asks upstream for `name`, which the answer to `message` needs.
    func park(
        _ message: UnsafeRawBufferPointer, _ request: QueryHandler.Request, reply: ParkedQuery.Reply,
        key: FetchKey
    ) {
        let query = ParkedQuery(
            message: ParkedMessage(message, in: room), request: request, reply: reply,
            deadline: Engine.now + engine.patience)
        if !room.isFull, engine.fetch(key, for: query, deadline: query.deadline) { return }
        responder.refuse(query)
    }

    func prefetch(_ key: FetchKey) { engine.prefetch(key) }

    /// Other servers, or another way to ask them; what waits is asked anew.
    func replace(_ settings: ForwardSettings) { engine.replace(settings) }

    /// The engine's thread.
    func run() { engine.run() }

    /// Gives what is in flight `microseconds` to end.
    func stop(within microseconds: UInt64) { engine.stop(deadline: Engine.now + microseconds) }
}

/// How much memory the queries take that wait: clients must not fill ours by asking what upstream is slow to answer.
final class ParkedRoom: Sendable {
    private let bytes = Atomic<Int>(0)
    private static let most = 64 << 20
    /// What a query takes besides its message.
    private static let overhead = 512

    var isFull: Bool { bytes.load(ordering: .relaxed) > Self.most }

    fileprivate func take(_ count: Int) { bytes.add(count + Self.overhead, ordering: .relaxed) }
    fileprivate func giveBack(_ count: Int) { bytes.subtract(count + Self.overhead, ordering: .relaxed) }
}

/// The bytes of a query that waits, counted for as long as somebody holds them.
final class ParkedMessage: Sendable {
    let bytes: [UInt8]
    private let room: ParkedRoom

    init(_ message: UnsafeRawBufferPointer, in room: ParkedRoom) {
        bytes = Array(message)
        self.room = room
        room.take(bytes.count)
    }

    deinit { room.giveBack(bytes.count) }
}

/// Turns upstream's answers into responses.
///
/// `@unchecked`: handler and buffer belong to the engine's thread; `refuse`, which any thread may call, is locked apart.
private final class Responder: @unchecked Sendable {
    private let store: LocalDataStore
    private let log: LookupLog?
    private var handler: QueryHandler
    /// The servers that have answered so far, by address: their numbers in the log.
    private var numbers: [SocketAddress: Int16] = [:]
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)
    private weak var engine: Forwarding.Engine?
    /// For queries that the engine has no room for: rare, and short.
    private let refusals: Mutex<Refusals>

    private struct Refusals: ~Copyable {
        var handler: QueryHandler
        let store: LocalDataStore
    }

    init(store: LocalDataStore, log: LookupLog?) {
        self.store = store
        self.log = log
        let service = store.current().data.service
        handler = QueryHandler(service: service, ring: log?.makeRing())
        refusals = Mutex(Refusals(handler: QueryHandler(service: service, ring: log?.makeRing()), store: store))
    }

    deinit { buffer.deallocate() }

    func attach(_ engine: Forwarding.Engine) { self.engine = engine }

    func complete(_ key: FetchKey, _ waiters: inout [ParkedQuery], _ event: FetchEvent<UpstreamAnswer>) {
        switch event {
        case .answered(var answer, let reply):
            answer.upstream = number(of: reply.address)
            answer.microseconds = reply.microseconds
            answer.overTCP = reply.overTCP
            store.current().data.chain.cache.insert(answer, now: Moment.monotonicMicroseconds())
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

    /// The server's number in the log, which knows it before the first record that needs it. A server that is no longer
    /// asked keeps its number.
    private func number(of server: SocketAddress) -> Int16 {
        if let number = numbers[server] { return number }
        guard numbers.count < Int(Int16.max) else { return -1 }
        let number = Int16(numbers.count)
        numbers[server] = number
        log?.setUpstreams(numbers.sorted { $0.value < $1.value }.map { "\($0.key)" })
        return number
    }

    /// Answers, or asks for the next name of the chain.
    private func proceed(_ query: ParkedQuery) {
        if answer(query) { return }
        var query = query
        let key = handler.missedKey
        // A chain that hops between our data and upstream has an end too.
        let isBounded = query.upstream.answers.count <= Decision.maximumHops
        if isBounded, engine?.fetch(key, for: query, deadline: query.deadline) == true { return }
        query.upstream.failure = UpstreamState.Failure(
            error: .other, text: isBounded ? "too many queries wait for upstream" : "the chain of CNAMEs is too long")
        _ = answer(query)
    }

    /// Whether the query could be answered with what there is.
    private func answer(_ query: ParkedQuery) -> Bool {
        var query = query
        query.request.now = Moment.monotonicMicroseconds()
        let local = store.current().data
        handler.service = local.service
        return query.message.bytes.withUnsafeBytes { message in
            switch handler.handle(
                message, query.request, local: local, upstream: query.upstream, into: buffer)
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
                let local = refusals.store.current().data
                refusals.handler.service = local.service
                let result = query.message.bytes.withUnsafeBytes {
                    refusals.handler.handle(
                        $0, query.request, local: local, upstream: query.upstream, into: buffer)
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
