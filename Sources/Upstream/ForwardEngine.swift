import CLinux
public import DNSWire
import Glibc
public import Lookup
import Platform
import Synchronization

/// Asks upstream, for the whole process, on one thread: the one that has its `ForwardLane`.
///
/// Any thread hands a question over with `fetch` and goes on. The lane joins it to an equal one in flight or asks the
/// best server (`ForwardCore` decides), and calls `completion` on its own thread once there is an end, with everyone who
/// waited. The completion may call `fetch` again.
public final class ForwardEngine<Waiter: Sendable, Answer: Sendable>: Sendable {
    /// Makes an answer of a message that has passed the strict walk, or nil when it can't be used. The ID and the
    /// question have been compared.
    public typealias Check = @Sendable (FetchKey, UnsafeRawBufferPointer, MessageReader.Summary) -> Answer?
    /// After `.late` those that are left in the list go on waiting; after the other events all are done with.
    public typealias Completion = @Sendable (FetchKey, inout [Waiter], FetchEvent<Answer>) -> Void
    /// Is told of each message to and from upstream.
    public typealias Watch = @Sendable (UpstreamMessage) -> Void

    fileprivate let check: Check
    fileprivate let completion: Completion
    fileprivate let roundEnds: @Sendable () -> Void
    fileprivate let watch: Watch?
    fileprivate let wakeDescriptor: Int32
    fileprivate let epoll: Int32
    fileprivate let mailbox: Mutex<Mailbox>
    fileprivate let published: Mutex<[UpstreamStatus]>

    fileprivate struct Letter: Sendable {
        var key: FetchKey
        var waiter: Waiter?
        var deadline: UInt64
    }

    fileprivate struct Mailbox: Sendable {
        var letters: [Letter] = []
        var settings: ForwardSettings
        /// The settings have been replaced, and the engine has not seen it yet.
        var isChanged = false
        /// The engine sleeps, or is about to: a letter has to wake it.
        var needsWake = true
        /// When to give up on what is in flight; nil while the engine is to run.
        var stopAt: UInt64?
    }

    /// Nil when the system has no descriptor left.
    ///
    /// `roundEnds` is called on the lane's thread after each round: what completions have gathered can be sent. `watch` is
    /// called there, too.
    public init?(
        settings: ForwardSettings, check: @escaping Check, completion: @escaping Completion,
        roundEnds: @escaping @Sendable () -> Void = {}, watch: Watch? = nil
    ) {
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard descriptor >= 0 else { return nil }
        guard let epoll = ForwardSockets.openEpoll(wake: descriptor) else {
            close(descriptor)
            return nil
        }
        wakeDescriptor = descriptor
        self.epoll = epoll
        mailbox = Mutex(Mailbox(settings: settings.bounded))
        self.check = check
        self.completion = completion
        self.roundEnds = roundEnds
        self.watch = watch
        published = Mutex(ForwardCore(settings).status())
    }

    deinit {
        close(epoll)
        close(wakeDescriptor)
    }

    /// How it asks, and whom: as it was made, or as `replace` has last said.
    public var settings: ForwardSettings { mailbox.withLock { $0.settings } }

    /// How long a client is kept waiting, in microseconds.
    public var patience: UInt64 { mailbox.withLock { $0.settings.patience } }

    /// From now on it asks other servers, or in another way. What is in flight is asked anew. From any thread.
    public func replace(_ settings: ForwardSettings) {
        mailbox.withLock { mailbox in
            mailbox.settings = settings.bounded
            mailbox.isChanged = true
        }
        wake()
    }

    /// The engine's clock: monotonic, in microseconds.
    public static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1_000
    }

    /// Asks for `waiter`, until `deadline` at most (by `now`; the settings' patience when nil). From any thread.
    ///
    /// False when too many wait already, or the engine is stopping; then nothing is called back.
    public func fetch(_ key: FetchKey, for waiter: Waiter, deadline: UInt64? = nil) -> Bool {
        post(Letter(key: key, waiter: waiter, deadline: deadline ?? Self.now + patience))
    }

    /// Asks for the cache's sake: the completion gets the answer and no waiters. From any thread.
    @discardableResult
    public func prefetch(_ key: FetchKey) -> Bool {
        post(Letter(key: key, waiter: nil, deadline: Self.now + patience))
    }

    private func post(_ letter: Letter) -> Bool {
        let (accepted, wakes) = mailbox.withLock { mailbox -> (Bool, Bool) in
            guard mailbox.letters.count < mailbox.settings.maximumFlights, mailbox.stopAt == nil else {
                return (false, false)
            }
            mailbox.letters.append(letter)
            defer { mailbox.needsWake = false }
            return (true, mailbox.needsWake)
        }
        if wakes { wake() }
        return accepted
    }

    /// Lets what is in flight come to its end until `deadline` (by `now`), fails the rest, and ends `run`.
    public func stop(deadline: UInt64 = 0) {
        mailbox.withLock { $0.stopAt = deadline }
        wake()
    }

    /// How each server does, in the order of the settings; at most a tenth of a second old while there is traffic.
    public var status: [UpstreamStatus] { published.withLock { $0 } }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeDescriptor, &one, 8)
    }

    /// Does all the work, on this thread, until `stop`. Called once, where no thread has its lane otherwise.
    public func run() { ForwardLane(self).run() }
}

/// What the one thread holds that does an engine's work. It may have other work too: it waits for `descriptor` among
/// others, `milliseconds` at most, and gives the lane a `round` then.
///
/// Not `Sendable`: all of it belongs to that thread.
public final class ForwardLane<Waiter: Sendable, Answer: Sendable> {
    public typealias Engine = ForwardEngine<Waiter, Answer>

    private let engine: Engine
    private var sockets: ForwardSockets
    private var core: ForwardCore
    /// By flight number.
    private var waiting: [[Waiter]] = []
    private var letters: [Engine.Letter] = []
    private var sends: [(port: Int, bytes: Range<Int>)] = []
    /// Ours of the channel that is read from, where somebody watches.
    private var localEnd: SocketAddress?
    private var publishedAt: UInt64 = 0
    private var isDirty = false
    private var stopAt: UInt64?

    /// The only one for `engine`.
    public init(_ engine: Engine) {
        self.engine = engine
        let settings = engine.mailbox.withLock { mailbox in
            mailbox.isChanged = false
            return mailbox.settings
        }
        sockets = ForwardSockets(servers: settings.servers, epoll: engine.epoll)
        core = ForwardCore(settings)
    }

    /// Readable when there is something to do.
    public var descriptor: Int32 { engine.epoll }

    /// How long the thread may sleep before the next round; -1: until `descriptor` is readable. Called last before it
    /// sleeps, so that who comes then wakes it.
    public var milliseconds: Int32 {
        let hasMail = engine.mailbox.withLock { mailbox in
            mailbox.needsWake = mailbox.letters.isEmpty
            return !mailbox.needsWake
        }
        if hasMail || hasAsked { return 0 }
        var next = min(core.nextTimer ?? .max, stopAt ?? .max)
        if isDirty { next = min(next, publishedAt + 100_000) }
        guard next < .max else { return -1 }
        let now = Engine.now
        return next <= now ? 0 : Int32(clamping: (next - now + 999) / 1_000)
    }

    /// A `fetch` has left something to do.
    public var hasAsked: Bool { !core.actions.isEmpty }

    /// Asks for `waiter` until `deadline`, as the engine's `fetch` does from elsewhere; `now` is the engine's. The query
    /// leaves with the next round.
    public func fetch(_ key: FetchKey, for waiter: Waiter, deadline: UInt64, now: UInt64) {
        take(Engine.Letter(key: key, waiter: waiter, deadline: deadline), now)
    }

    /// Works until the engine is stopped.
    public func run() {
        while round(waiting: milliseconds) {}
    }

    /// Does all that there is to do, after waiting for it for so long (-1: for ever); false once the engine is stopped.
    @discardableResult
    public func round(waiting milliseconds: Int32 = 0) -> Bool {
        let count = sockets.wait(milliseconds: milliseconds)
        var now = Engine.now
        let replacement = engine.mailbox.withLock { mailbox -> ForwardSettings? in
            swap(&letters, &mailbox.letters)
            stopAt = mailbox.stopAt
            // Whoever comes while we work is seen before we sleep.
            mailbox.needsWake = false
            defer { mailbox.isChanged = false }
            return mailbox.isChanged ? mailbox.settings : nil
        }
        for index in 0..<count { receive(sockets.event(index), now) }
        if let replacement { replace(replacement, now) }
        for letter in letters { take(letter, now) }
        letters.removeAll(keepingCapacity: true)
        if let stopAt, core.flightCount == 0 || now >= stopAt {
            core.failAll(.notReady, "the server is shutting down", now: now)
            perform(now)
            engine.roundEnds()
            publish()
            return false
        }
        core.timer(now: now)
        perform(now)
        engine.roundEnds()
        isDirty = isDirty || count > 0
        if isDirty {
            now = Engine.now
            if now >= publishedAt + 100_000 {
                publish()
                publishedAt = now
                isDirty = false
            }
        }
        return true
    }

    private func publish() {
        let status = core.status()
        engine.published.withLock { $0 = status }
    }

    /// From now on other servers are asked, or in another way. What waits is asked anew.
    private func replace(_ settings: ForwardSettings, _ now: UInt64) {
        // What the old servers have decided already is done first.
        perform(now)
        var moved: [Engine.Letter] = []
        for (flight, key, deadline) in core.openFlights where flight < waiting.count {
            for waiter in waiting[flight] {
                moved.append(Engine.Letter(key: key, waiter: waiter, deadline: deadline))
            }
        }
        sockets = ForwardSockets(servers: settings.servers, epoll: engine.epoll)
        core = ForwardCore(settings)
        waiting = []
        isDirty = true
        letters = moved + letters
    }

    private func receive(_ event: ForwardSockets.Event, _ now: UInt64) {
        switch event {
        case .wake:
            var value: UInt64 = 0
            _ = read(engine.wakeDescriptor, &value, 8)
        case .port(let port):
            if engine.watch != nil { localEnd = sockets.localAddress(of: .port(port)) }
            // Bounded, so that a flood on one port does not keep the others waiting.
            for _ in 0..<8 {
                let more = sockets.receive(port: port) { message in receive(message, on: .port(port), now) }
                if !more { break }
            }
        case .stream(let server, let readable, let writable):
            if writable { sockets.streamIsWritable(server) }
            if readable {
                if engine.watch != nil { localEnd = sockets.localAddress(of: .stream(server: server)) }
                sockets.receive(stream: server) { message in receive(message, on: .stream(server: server), now) }
            }
        }
    }

    private func take(_ letter: Engine.Letter, _ now: UInt64) {
        switch core.fetch(letter.key, waits: letter.waiter != nil, deadline: letter.deadline, now: now) {
        case .flight(let flight):
            while waiting.count <= flight { waiting.append([]) }
            if let waiter = letter.waiter { waiting[flight].append(waiter) }
        case .failed(let error, let text):
            var waiters = letter.waiter.map { [$0] } ?? []
            engine.completion(letter.key, &waiters, .failed(error, text))
        }
    }

    /// One message; when it ends a flight, its waiters are told before the next is read, while the answer is at hand.
    private func receive(_ message: UnsafeRawBufferPointer, on channel: ForwardCore.Channel, _ now: UInt64) {
        var answer: Answer?
        let check = engine.check
        core.received(message, on: channel, now: now) { key, message, summary in
            answer = check(key, message, summary)
            return answer != nil
        }
        if let watch = engine.watch, let reply = core.lastReply {
            tell(watch, message, channel, core.address(of: reply.server), localEnd, sent: reply.sent, received: now)
        }
        guard let answer, let (flight, reply) = core.takeAnswered() else { return }
        engine.completion(core.key(of: flight), &waiting[flight], .answered(answer, reply))
        waiting[flight].removeAll(keepingCapacity: true)
        core.release(flight)
    }

    /// Does what the core has decided, until nothing is left to do.
    private func perform(_ now: UInt64) {
        while !core.actions.isEmpty || !sockets.failures.isEmpty {
            for action in core.takeActions() {
                switch action {
                case .openPort(let port, let server): sockets.openPort(port, server: server)
                case .closePort(let port): sockets.closePort(port)
                case .datagram(let port, let bytes):
                    sends.append((port, bytes))
                    if let watch = engine.watch { tellSent(watch, bytes, .port(port), now) }
                case .stream(let server, let bytes):
                    sockets.write(core.outbox[bytes], server: server)
                    if let watch = engine.watch { tellSent(watch, bytes.dropFirst(2), .stream(server: server), now) }
                case .closeStream(let server): sockets.closeStream(server)
                case .late(let flight):
                    engine.completion(core.key(of: flight), &waiting[flight], .late)
                    core.setWaiters(of: flight, to: waiting[flight].count)
                case .finished(let flight, let conclusion): conclude(flight, conclusion)
                }
            }
            send()
            core.clearOutbox()
            for channel in sockets.takeFailures() {
                if case .stream(let server) = channel { sockets.closeStream(server) }
                core.channelFailed(channel, now: now)
            }
        }
    }

    private func conclude(_ flight: Int, _ conclusion: ForwardCore.Conclusion) {
        let key = core.key(of: flight)
        let event: FetchEvent<Answer>
        switch conclusion {
        case .failed(let error, let text): event = .failed(error, text)
        case .answered, .lastResort:
            let answer = core.lastResort(of: flight).withUnsafeBytes { message in
                MessageReader.walk(message).flatMap { engine.check(key, message, $0) }
            }
            if let answer, case .lastResort(let reply) = conclusion {
                event = .answered(answer, reply)
            } else {
                event = .failed(.noReachableAuthority, "upstream failed to resolve the name")
            }
        }
        engine.completion(key, &waiting[flight], event)
        waiting[flight].removeAll(keepingCapacity: true)
        core.release(flight)
    }

    /// A query is on its way.
    private func tellSent(_ watch: Engine.Watch, _ bytes: Range<Int>, _ channel: ForwardCore.Channel, _ now: UInt64) {
        guard let server = sockets.server(of: channel) else { return }
        let local = sockets.localAddress(of: channel)
        core.outbox.withUnsafeBytes { outbox in
            let message = UnsafeRawBufferPointer(rebasing: outbox[bytes])
            tell(watch, message, channel, server, local, sent: now, received: nil)
        }
    }

    private func tell(
        _ watch: Engine.Watch, _ message: UnsafeRawBufferPointer, _ channel: ForwardCore.Channel,
        _ server: SocketAddress, _ local: SocketAddress?, sent: UInt64, received: UInt64?
    ) {
        watch(
            UpstreamMessage(
                server: server, local: local, transport: channel.transport, sent: sent, received: received,
                bytes: message))
    }

    /// All datagrams of a port in one system call.
    private func send() {
        if sends.contains(where: { $0.port != sends[0].port }) { sends.sort { $0.port < $1.port } }
        var start = 0
        while start < sends.count {
            var end = start + 1
            while end < sends.count, sends[end].port == sends[start].port { end += 1 }
            sockets.send(sends[start..<end], of: core.outbox)
            start = end
        }
        sends.removeAll(keepingCapacity: true)
    }
}
