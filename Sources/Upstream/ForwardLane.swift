import DNSWire
public import Lookup
import Platform
import Synchronization

/// The part of an engine that lives on one thread: does over `Network` what `ForwardCore` decides. The thread may have
/// other work too: it waits for `descriptor` among others, `milliseconds` at most, and then calls `round`.
///
/// Not `Sendable`: used on that thread only.
public final class ForwardLane<Waiter: Sendable, Answer: Sendable, Network: UpstreamNetwork & ~Copyable> {
    public typealias Engine = ForwardEngine<Waiter, Answer>

    private let engine: Engine
    private var network: Network
    private var core: ForwardCore
    private var replays = ReplayQueue<Engine.Request>()
    /// By flight number.
    private var waiting: [[Waiter]] = []
    private var requests: [Engine.Request] = []
    private var outgoing: [OutgoingMessage] = []
    /// Local ends of the channels in use, if an observer wants them.
    private var localEnds: [UpstreamChannel: SocketAddress] = [:]
    private var publishedAt: UInt64 = 0
    /// The published status is out of date.
    private var isDirty = false
    private var stopAt: UInt64?
    /// A `fetch` has failed at once: the end of a round sends what its completion has gathered.
    private var hasCompleted = false

    private static var publicationInterval: UInt64 { 100_000 }

    /// Makes the lane of `engine`; an engine has only one.
    public init(_ engine: Engine, over network: consuming Network) {
        self.engine = engine
        self.network = network
        core = ForwardCore(
            engine.mailbox.withLock { mailbox in
                mailbox.isChanged = false
                return mailbox.settings
            })
    }

    /// Readable when there is something to do.
    public var descriptor: Int32 { network.descriptor }

    /// How long the thread may sleep before the next round; -1: until `descriptor` is readable. Call it last before
    /// sleeping, so that a later request wakes the thread.
    public var milliseconds: Int32 {
        guard let next = nextRound else { return -1 }
        if next == 0 { return 0 }
        let now = SystemClock.monotonic()
        return next <= now ? 0 : Int32(clamping: (next - now + 999) / 1_000)
    }

    /// When a round is due even if nothing arrives; 0: at once. Nil: never.
    public var nextRound: UInt64? {
        let hasMail = engine.mailbox.withLock { mailbox in
            mailbox.needsWake = mailbox.requests.isEmpty
            return !mailbox.needsWake
        }
        if hasMail || hasPendingActions { return 0 }
        var next = min(core.nextTimer ?? .max, stopAt ?? .max, replays.nextDue)
        if isDirty { next = min(next, publishedAt + Self.publicationInterval) }
        return next == .max ? nil : next
    }

    /// Whether a `fetch` left something to do.
    public var hasPendingActions: Bool { !core.actions.isEmpty || hasCompleted }

    /// Like the engine's `fetch`, but called on the lane's thread. The query leaves with the next round.
    public func fetch(_ key: FetchKey, for waiter: Waiter, deadline: UInt64, now: UInt64) {
        take(Engine.Request(key: key, waiter: waiter, deadline: deadline), now)
    }

    /// Works until the engine is stopped.
    public func run() {
        while round(waiting: milliseconds) {}
    }

    /// Waits `milliseconds` at most (-1: for ever), then does all that is due; false once the engine is stopped.
    @discardableResult
    public func round(waiting milliseconds: Int32 = 0) -> Bool {
        network.wait(milliseconds: milliseconds)
        return round(at: SystemClock.monotonic())
    }

    /// Does all that is due at `now`, with what the network has received; false once the engine is stopped.
    @discardableResult
    public func round(at now: UInt64) -> Bool {
        let (replacement, forgets) = engine.mailbox.withLock { mailbox -> (ForwardSettings?, Bool) in
            swap(&requests, &mailbox.requests)
            stopAt = mailbox.stopAt
            // Requests that arrive meanwhile are seen before the thread sleeps.
            mailbox.needsWake = false
            defer { (mailbox.isChanged, mailbox.forgets) = (false, false) }
            return (mailbox.isChanged ? mailbox.settings : nil, mailbox.forgets)
        }
        network.receive { channel, message in receive(message, on: channel, now) }
        if let replacement { replace(replacement, forgetting: forgets, now) }
        if !requests.isEmpty { isDirty = true }
        for request in requests { take(request, now) }
        requests.removeAll(keepingCapacity: true)
        let isOver = stopAt.map { core.flightCount == 0 && replays.isEmpty || now >= $0 } ?? false
        if isOver {
            core.failAll(.notReady, "the server is shutting down", now: now)
        } else {
            core.timer(now: now)
        }
        while let (request, reply) = replays.takeDue(isOver ? .max : now) { answer(request, reply, now) }
        perform(now)
        hasCompleted = false
        engine.roundEnds()
        if isOver || (isDirty && now >= publishedAt + Self.publicationInterval) { publish(now) }
        return !isOver
    }

    private func publish(_ now: UInt64) {
        let status = core.status(now)
        let hasLost = engine.published.withLock { published in
            defer { published = status }
            return status.contains { server in
                server.state == .down && !published.contains { $0.server == server.server && $0.state == .down }
            }
        }
        publishedAt = now
        isDirty = false
        if hasLost { engine.serverLost() }
    }

    /// Switches to other servers or settings. Waiting questions are asked again.
    private func replace(_ settings: ForwardSettings, forgetting forgets: Bool, _ now: UInt64) {
        // First carry out what was decided for the old servers.
        perform(now)
        var moved: [Engine.Request] = []
        for (flight, key, deadline) in core.openFlights where flight < waiting.count {
            for waiter in waiting[flight] {
                moved.append(Engine.Request(key: key, waiter: waiter, deadline: deadline))
            }
        }
        network.closeAll()
        localEnds = [:]
        let known = forgets ? [:] : core.knowledge
        core = ForwardCore(settings)
        core.adopt(known)
        waiting = []
        isDirty = true
        requests = moved + requests
    }

    private func take(_ request: Engine.Request, _ now: UInt64) {
        if case .reply(let reply) = engine.cassette?.play(request.key) {
            guard reply.delay > 0, replays.count < core.settings.maximumFlights else {
                return answer(request, reply, now)
            }
            return replays.insert(request, reply, due: min(now + reply.delay, max(request.deadline, now)))
        }
        switch core.fetch(request.key, waits: request.waiter != nil, deadline: request.deadline, now: now) {
        case .flight(let flight):
            while waiting.count <= flight { waiting.append([]) }
            if let waiter = request.waiter { waiting[flight].append(waiter) }
        case .failed(let error, let text):
            var waiters = request.waiter.map { [$0] } ?? []
            engine.completion(request.key, &waiters, .failed(error, text), now)
            hasCompleted = true
        }
    }

    /// Answers with a recorded reply.
    private func answer(_ request: Engine.Request, _ reply: RecordedReply, _ now: UInt64) {
        var waiters = request.waiter.map { [$0] } ?? []
        let answer = reply.message.withUnsafeBytes { message in
            MessageReader.walk(message).flatMap { engine.check(request.key, message, $0) }
        }
        let event: FetchEvent<Answer> =
            if let answer {
                .answered(answer, UpstreamReply(reply))
            } else {
                .failed(.invalidData, "the cassette's reply can't be used")
            }
        engine.completion(request.key, &waiters, event, now)
        hasCompleted = true
    }

    /// Handles one message. If it ends a flight, its waiters get the answer at once, while it is at hand.
    private func receive(_ message: UnsafeRawBufferPointer, on channel: UpstreamChannel, _ now: UInt64) {
        isDirty = true
        var answer: Answer?
        let check = engine.check
        core.received(message, on: channel, now: now) { key, message, summary in
            answer = check(key, message, summary)
            return answer != nil
        }
        if let watch = engine.watch, let reply = core.lastReply {
            watch(
                UpstreamMessage(
                    server: core.server(reply.server).address, local: localEnds[channel],
                    transport: channel.transport, sent: reply.sent, received: now, bytes: message))
        }
        guard let answer, let (flight, reply) = core.takeAnswered() else { return }
        engine.cassette?.record(core.key(of: flight), message, from: reply)
        engine.completion(core.key(of: flight), &waiting[flight], .answered(answer, reply), now)
        waiting[flight].removeAll(keepingCapacity: true)
        core.release(flight)
    }

    /// Carries out the core's actions until there are none left.
    private func perform(_ now: UInt64) {
        repeat {
            for action in core.takeActions() {
                switch action {
                case .open(let channel, let server):
                    if channel.transport != .udp { isDirty = true }
                    network.open(channel, to: core.server(server))
                case .close(let channel):
                    if channel.transport != .udp { isDirty = true }
                    network.close(channel)
                    if engine.watch != nil { localEnds[channel] = nil }
                case .send(let message): outgoing.append(message)
                case .late(let flight):
                    engine.completion(core.key(of: flight), &waiting[flight], .late, now)
                    core.setWaiters(of: flight, to: waiting[flight].count)
                case .finished(let flight, let conclusion): conclude(flight, conclusion, now)
                }
            }
            send(now)
            core.clearOutbox()
            for event in network.takeEvents() { take(event, now) }
        } while !core.actions.isEmpty
    }

    private func take(_ event: ExchangeEvent, _ now: UInt64) {
        isDirty = true
        switch event {
        case .opened(let channel, let microseconds): core.channelOpened(channel, handshake: microseconds, now: now)
        case .failed(let channel, let fault): core.channelFailed(channel, fault, now: now)
        case .retiring(let channel): core.channelRetires(channel)
        case .refused(let channel, let id, let fault): core.refused(channel, id: id, fault, now: now)
        }
    }

    private func conclude(_ flight: Int, _ conclusion: ForwardCore.Conclusion, _ now: UInt64) {
        isDirty = true
        let key = core.key(of: flight)
        let event: FetchEvent<Answer>
        switch conclusion {
        case .failed(let error, let text):
            event = .failed(error, text)
            // What it has not said because this process ends says nothing of it.
            if error != .notReady { engine.cassette?.recordSilence(key, after: now - core.start(of: flight)) }
        case .answered, .lastResort:
            let answer = core.lastResort(of: flight).withUnsafeBytes { message in
                MessageReader.walk(message).flatMap { engine.check(key, message, $0) }
            }
            if let answer, case .lastResort(let reply) = conclusion {
                core.lastResort(of: flight).withUnsafeBytes { engine.cassette?.record(key, $0, from: reply) }
                event = .answered(answer, reply)
            } else {
                event = .failed(.noReachableAuthority, "upstream failed to resolve the name")
            }
        }
        engine.completion(key, &waiting[flight], event, now)
        waiting[flight].removeAll(keepingCapacity: true)
        core.release(flight)
    }

    /// Sends the gathered messages, those of one channel together.
    private func send(_ now: UInt64) {
        if let watch = engine.watch { for message in outgoing { tell(watch, message, now) } }
        if outgoing.contains(where: { $0.channel != outgoing[0].channel }) {
            outgoing.sort { $0.channel.number < $1.channel.number }
        }
        var start = 0
        while start < outgoing.count {
            var end = start + 1
            while end < outgoing.count, outgoing[end].channel == outgoing[start].channel { end += 1 }
            network.send(outgoing[start..<end], of: core.outbox)
            start = end
        }
        outgoing.removeAll(keepingCapacity: true)
    }

    private func tell(_ watch: Engine.Watch, _ message: OutgoingMessage, _ now: UInt64) {
        let local = localEnds[message.channel] ?? network.localAddress(of: message.channel)
        localEnds[message.channel] = local
        core.outbox.withUnsafeBytes { outbox in
            watch(
                UpstreamMessage(
                    server: core.server(message.server).address, local: local, transport: message.channel.transport,
                    sent: now, received: nil, bytes: UnsafeRawBufferPointer(rebasing: outbox[message.bytes])))
        }
    }
}
