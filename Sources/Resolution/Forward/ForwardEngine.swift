import CLinux
import DNSWire
import Glibc
import Synchronization

/// Asks upstream, for the whole process, on one thread of its own.
///
/// A serving thread hands a question over with `fetch` and goes on. The engine joins it to an equal one in flight or
/// asks the best server (`ForwardCore` decides), and calls `completion` on its own thread once there is an end, with
/// everyone who waited. The completion may call `fetch` again.
public final class ForwardEngine<Waiter: Sendable, Answer: Sendable>: Sendable {
    /// Makes an answer of a message, or nil when it can't be used. The ID and the question have been compared.
    public typealias Check = @Sendable (FetchKey, UnsafeRawBufferPointer) -> Answer?
    /// After `.late` those that are left in the list go on waiting; after the other events all are done with.
    public typealias Completion = @Sendable (FetchKey, inout [Waiter], FetchEvent<Answer>) -> Void

    private let check: Check
    private let completion: Completion
    private let wakeDescriptor: Int32
    private let epoll: Int32
    private let mailbox: Mutex<Mailbox>
    private let published: Mutex<[UpstreamStatus]>

    private struct Letter: Sendable {
        var key: FetchKey
        var waiter: Waiter?
        var deadline: UInt64
    }

    private struct Mailbox: Sendable {
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
    public init?(settings: ForwardSettings, check: @escaping Check, completion: @escaping Completion) {
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

    // MARK: The engine's thread

    /// The engine's thread: returns after `stop`. Called once.
    public func run() {
        let initial = mailbox.withLock { mailbox in
            mailbox.isChanged = false
            return mailbox.settings
        }
        var sockets = ForwardSockets(servers: initial.servers, epoll: epoll)
        var core = ForwardCore(initial)
        /// By flight number.
        var waiting: [[Waiter]] = []
        var letters: [Letter] = []
        var sends: [(port: Int, bytes: Range<Int>)] = []
        var publishedAt: UInt64 = 0
        var isDirty = false

        while true {
            var now = Self.now
            let (stopAt, replacement) = mailbox.withLock { mailbox -> (UInt64?, ForwardSettings?) in
                swap(&letters, &mailbox.letters)
                // Whoever comes while we work is seen before we sleep.
                mailbox.needsWake = false
                defer { mailbox.isChanged = false }
                return (mailbox.stopAt, mailbox.isChanged ? mailbox.settings : nil)
            }
            if let replacement {
                // What the old servers have decided already is done first.
                perform(&core, &sockets, &waiting, &sends, now)
                var moved: [Letter] = []
                for (flight, key, deadline) in core.openFlights where flight < waiting.count {
                    for waiter in waiting[flight] { moved.append(Letter(key: key, waiter: waiter, deadline: deadline)) }
                }
                sockets = ForwardSockets(servers: replacement.servers, epoll: epoll)
                core = ForwardCore(replacement)
                waiting = []
                isDirty = true
                letters = moved + letters
            }
            for letter in letters { take(letter, &core, &waiting, now) }
            letters.removeAll(keepingCapacity: true)
            if let stopAt, core.flightCount == 0 || now >= stopAt {
                core.failAll(.notReady, "the server is shutting down", now: now)
                perform(&core, &sockets, &waiting, &sends, now)
                publish(core)
                return
            }
            core.timer(now: now)
            perform(&core, &sockets, &waiting, &sends, now)

            let mustStay = mailbox.withLock { mailbox in
                mailbox.needsWake = mailbox.letters.isEmpty
                return !mailbox.letters.isEmpty
            }
            var next = min(core.nextTimer ?? .max, stopAt ?? .max)
            if isDirty { next = min(next, publishedAt + 100_000) }
            let pause = mustStay ? 0 : next == .max ? -1 : Int32(clamping: (max(next, now) - now + 999) / 1_000)
            let count = sockets.wait(milliseconds: pause)
            now = Self.now
            for index in 0..<count {
                switch sockets.event(index) {
                case .wake:
                    var value: UInt64 = 0
                    _ = read(wakeDescriptor, &value, 8)
                case .port(let port):
                    // Bounded, so that a flood on one port does not keep the others waiting.
                    for _ in 0..<8 {
                        let more = sockets.receive(port: port) { message in
                            receive(message, on: .port(port), &core, &waiting, now)
                        }
                        if !more { break }
                    }
                case .stream(let server, let readable, let writable):
                    if writable { sockets.streamIsWritable(server) }
                    if readable {
                        sockets.receive(stream: server) { message in
                            receive(message, on: .stream(server: server), &core, &waiting, now)
                        }
                    }
                }
            }
            isDirty = isDirty || count > 0
            if isDirty, now >= publishedAt + 100_000 {
                publish(core)
                publishedAt = now
                isDirty = false
            }
        }
    }

    private func publish(_ core: borrowing ForwardCore) {
        let status = core.status()
        published.withLock { $0 = status }
    }

    private func take(_ letter: Letter, _ core: inout ForwardCore, _ waiting: inout [[Waiter]], _ now: UInt64) {
        switch core.fetch(letter.key, waits: letter.waiter != nil, deadline: letter.deadline, now: now) {
        case .flight(let flight):
            while waiting.count <= flight { waiting.append([]) }
            if let waiter = letter.waiter { waiting[flight].append(waiter) }
        case .failed(let error, let text):
            var waiters = letter.waiter.map { [$0] } ?? []
            completion(letter.key, &waiters, .failed(error, text))
        }
    }

    /// One message; when it ends a flight, its waiters are told before the next is read, while the answer is at hand.
    private func receive(
        _ message: UnsafeRawBufferPointer, on channel: ForwardCore.Channel, _ core: inout ForwardCore,
        _ waiting: inout [[Waiter]], _ now: UInt64
    ) {
        var answer: Answer?
        core.received(message, on: channel, now: now) { key, message in
            answer = check(key, message)
            return answer != nil
        }
        guard let answer, let (flight, reply) = core.takeAnswered() else { return }
        completion(core.key(of: flight), &waiting[flight], .answered(answer, reply))
        waiting[flight].removeAll(keepingCapacity: true)
        core.release(flight)
    }

    /// Does what the core has decided, until nothing is left to do.
    private func perform(
        _ core: inout ForwardCore, _ sockets: inout ForwardSockets, _ waiting: inout [[Waiter]],
        _ sends: inout [(port: Int, bytes: Range<Int>)], _ now: UInt64
    ) {
        repeat {
            for action in core.takeActions() {
                switch action {
                case .openPort(let port, let server): sockets.openPort(port, server: server)
                case .closePort(let port): sockets.closePort(port)
                case .datagram(let port, let bytes): sends.append((port, bytes))
                case .stream(let server, let bytes): sockets.write(core.outbox[bytes], server: server)
                case .closeStream(let server): sockets.closeStream(server)
                case .late(let flight):
                    completion(core.key(of: flight), &waiting[flight], .late)
                    core.setWaiters(of: flight, to: waiting[flight].count)
                case .finished(let flight, let conclusion): conclude(flight, conclusion, &core, &waiting)
                }
            }
            send(&sends, core.outbox, &sockets)
            core.clearOutbox()
            for channel in sockets.takeFailures() {
                if case .stream(let server) = channel { sockets.closeStream(server) }
                core.channelFailed(channel, now: now)
            }
        } while !core.actions.isEmpty
    }

    private func conclude(
        _ flight: Int, _ conclusion: ForwardCore.Conclusion, _ core: inout ForwardCore, _ waiting: inout [[Waiter]]
    ) {
        let key = core.key(of: flight)
        let event: FetchEvent<Answer>
        switch conclusion {
        case .failed(let error, let text): event = .failed(error, text)
        case .answered, .lastResort:
            let answer = core.lastResort(of: flight).withUnsafeBytes { check(key, $0) }
            if let answer, case .lastResort(let reply) = conclusion {
                event = .answered(answer, reply)
            } else {
                event = .failed(.noReachableAuthority, "upstream failed to resolve the name")
            }
        }
        completion(key, &waiting[flight], event)
        waiting[flight].removeAll(keepingCapacity: true)
        core.release(flight)
    }

    /// All datagrams of a port in one system call.
    private func send(
        _ sends: inout [(port: Int, bytes: Range<Int>)], _ outbox: [UInt8], _ sockets: inout ForwardSockets
    ) {
        if sends.contains(where: { $0.port != sends[0].port }) { sends.sort { $0.port < $1.port } }
        var start = 0
        while start < sends.count {
            var end = start + 1
            while end < sends.count, sends[end].port == sends[start].port { end += 1 }
            sockets.send(sends[start..<end], of: outbox)
            start = end
        }
        sends.removeAll(keepingCapacity: true)
    }
}
