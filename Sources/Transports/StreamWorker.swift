import CLinux
import Glibc
import LookupLog
import Platform

/// One thread that serves DNS over TCP: epoll, one read, answers, one write.
///
/// It has its own socket on each served address (SO_REUSEPORT spreads clients over the workers), its own log ring, and
/// its own connections, which no other thread touches: others reach it through its mailbox.
package struct StreamWorker: ~Copyable {
    private static let signalTag = UInt64.max
    /// A listening socket's tag is this plus its descriptor. Slots are smaller.
    private static let listenerTag: UInt64 = 1 << 31
    private static let eventCapacity = 256
    private static let readCapacity = 65_536
    /// How often one connection's output is refilled before other connections get their turn.
    private static let sendsPerTurn = 8
    /// How long a listener pauses if there is no descriptor for its next connection, in microseconds.
    private static let pauseTime: UInt64 = 100_000
    /// At shutdown, how long clients have to take their last answers, in microseconds.
    private static let drainTimeout: UInt64 = 1_000_000
    /// How often slowed answers go on, in microseconds.
    private static let trickleInterval: UInt64 = 50_000
    /// How often to check that they have, in microseconds.
    private static let drainCheckInterval: UInt64 = 5_000

    private let mailbox: StreamMailbox
    private let responder: StreamResponder
    private let budget: StreamBudget
    private let epoll: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private let buffer: UnsafeMutableRawBufferPointer
    private var listeners: [ListeningSocket] = []
    private var paused: [ListeningSocket] = []
    private var pausedUntil: UInt64 = 0
    private var slots: [StreamConnection] = []
    private var free: [UInt32] = []
    /// The ends of the list of open connections, ordered by last activity.
    private var oldest = -1
    private var newest = -1
    private var endsBy: UInt64?
    /// Connections whose answers a rule has trickle, and when they go on.
    private var slowed: [StreamHandle] = []
    private var nextTrickle: UInt64 = 0

    init(mailbox: StreamMailbox, responder: StreamResponder, budget: StreamBudget) throws(SystemError) {
        self.mailbox = mailbox
        self.responder = responder
        self.budget = budget
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        events = .allocate(capacity: Self.eventCapacity)
        buffer = .allocate(byteCount: Self.readCapacity, alignment: 8)
        guard epoll >= 0 else { throw SystemError("epoll_create1") }
        guard control(EPOLL_CTL_ADD, mailbox.signal.descriptor, EPOLLIN.rawValue, Self.signalTag) else {
            throw SystemError("epoll_ctl")
        }
    }

    deinit {
        if epoll >= 0 { Glibc.close(epoll) }
        events.deallocate()
        buffer.deallocate()
    }

    /// Serves until the mailbox's signal ends it; outstanding answers are still sent.
    mutating func run() throws(SystemError) {
        var now = SystemClock.monotonic()
        while true {
            let ready = epoll_wait(epoll, events, Int32(Self.eventCapacity), timeout(now))
            if ready < 0 {
                guard errno == EINTR else { throw SystemError("epoll_wait") }
                continue
            }
            responder.refresh()
            for index in 0..<Int(ready) {
                let tag = events[index].data.u64
                if tag == Self.signalTag {
                    readMail()
                } else if let connection = connection(tag) {
                    serve(connection, events[index].events)
                } else if let listener = listeners.first(where: { Self.tag(of: $0) == tag }) {
                    accept(from: listener, atMost: Int(ready))
                }
            }
            now = SystemClock.monotonic()
            if !paused.isEmpty, now >= pausedUntil { wakeListeners() }
            if !slowed.isEmpty, now >= nextTrickle { trickle(now) }
            closeIdle(now)
            if let endsBy {
                closeSettled(all: now >= endsBy)
                if oldest < 0 { return }
            }
        }
    }

    // MARK: epoll

    private func control(_ operation: Int32, _ descriptor: Int32, _ what: UInt32, _ tag: UInt64) -> Bool {
        var event = epoll_event()
        event.events = what
        event.data.u64 = tag
        return epoll_ctl(epoll, operation, descriptor, &event) == 0
    }

    private static func tag(of listener: ListeningSocket) -> UInt64 { listenerTag | UInt64(listener.descriptor) }

    private static func tag(of handle: StreamHandle) -> UInt64 {
        UInt64(handle.generation) << 32 | UInt64(handle.slot)
    }

    /// The open connection with this tag; nil if it has been closed, or if the tag is not a connection's.
    private func connection(_ tag: UInt64) -> StreamConnection? {
        connection(StreamHandle(slot: UInt32(truncatingIfNeeded: tag), generation: UInt32(tag >> 32)))
    }

    private func connection(_ handle: StreamHandle) -> StreamConnection? {
        guard handle.slot < slots.count else { return nil }
        let connection = slots[Int(handle.slot)]
        return connection.isOpen && connection.generation == handle.generation ? connection : nil
    }

    /// Milliseconds until something is due; -1 if nothing is.
    private func timeout(_ now: UInt64) -> Int32 {
        // No event reports that a client has taken the last bytes.
        var due = endsBy.map { min($0, now + Self.drainCheckInterval) } ?? .max
        if !paused.isEmpty { due = min(due, pausedUntil) }
        if !slowed.isEmpty { due = min(due, nextTrickle) }
        if oldest >= 0 { due = min(due, slots[oldest].lastActivity + idleTimeout) }
        guard due < .max else { return -1 }
        return due <= now ? 0 : Int32(clamping: (due - now + 999) / 1000)
    }

    // MARK: Listening

    private mutating func readMail() {
        let isEnding = mailbox.signal.consume()
        let mail = mailbox.take()
        for order in mail.orders {
            switch order {
            case .open(let listener):
                listeners.append(listener)
                watch(listener)
            case .close(let listener): stop(listener)
            }
        }
        deliver(mail.replies)
        guard isEnding, endsBy == nil else { return }
        for listener in listeners { stop(listener) }
        responder.isEnding = true
        endsBy = SystemClock.monotonic() + Self.drainTimeout
    }

    private mutating func watch(_ listener: ListeningSocket) {
        // With a shared socket, only one of the waiting workers needs to wake.
        let what = EPOLLIN.rawValue | (listener.isInherited ? EPOLLEXCLUSIVE.rawValue : 0)
        if !control(EPOLL_CTL_ADD, listener.descriptor, what, Self.tag(of: listener)) { pause(listener) }
    }

    /// Without free descriptors, accept(2) would fail in a tight loop.
    private mutating func pause(_ listener: ListeningSocket) {
        _ = control(EPOLL_CTL_DEL, listener.descriptor, 0, 0)
        paused.append(listener)
        pausedUntil = SystemClock.monotonic() + Self.pauseTime
    }

    private mutating func wakeListeners() {
        let all = paused
        paused = []
        for listener in all { watch(listener) }
    }

    /// Accepts clients that have connected already; those of a shared socket are left to its next owner.
    private mutating func stop(_ listener: ListeningSocket) {
        listeners.removeAll { $0.descriptor == listener.descriptor }
        paused.removeAll { $0.descriptor == listener.descriptor }
        _ = control(EPOLL_CTL_DEL, listener.descriptor, 0, 0)
        guard !listener.isInherited else { return }
        accept(from: listener, atMost: 1024)
        paused.removeAll { $0.descriptor == listener.descriptor }
        Glibc.close(listener.descriptor)
    }

    /// Accepts up to as many connections as there were events: a short round makes no useless call, and a long one leaves
    /// no new clients waiting.
    private mutating func accept(from listener: ListeningSocket, atMost count: Int) {
        for _ in 0..<count {
            switch listener.accept() {
            case .connection(let descriptor, let client): open(descriptor, client)
            case .gone: continue
            case .none: return
            case .exhausted: return pause(listener)
            }
        }
    }

    private mutating func open(_ descriptor: Int32, _ client: SocketAddress) {
        guard let share = budget.open(client, responder.limits) else {
            Glibc.close(descriptor)
            return
        }
        let connection: StreamConnection
        if let slot = free.popLast() {
            connection = slots[Int(slot)]
        } else {
            connection = StreamConnection(slot: UInt32(slots.count))
            slots.append(connection)
        }
        connection.open(descriptor, client: client, share)
        append(connection, SystemClock.monotonic())
        // Most clients have sent their query by now; reading at once saves a round of epoll.
        read(connection)
    }

    // MARK: Connections

    private mutating func serve(_ connection: StreamConnection, _ events: UInt32) {
        // Both directions are closed: nobody is left to answer.
        guard events & (EPOLLHUP.rawValue | EPOLLERR.rawValue) == 0 else { return close(connection) }
        if events & EPOLLOUT.rawValue != 0 {
            guard let taken = connection.sendUnsent() else { return close(connection) }
            // The system reports room only once there is much: a client can't stay connected by reading a byte now and then.
            if taken > 0 { touch(connection) }
            advance(connection)
        }
        // Sending may have made room for more input, or finished the connection.
        guard events & EPOLLIN.rawValue != 0, connection.isOpen, mayRead(connection) else { return }
        read(connection)
    }

    private mutating func read(_ connection: StreamConnection) {
        switch connection.receive(into: buffer) {
        case .bytes(let count):
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            let (mailbox, handle) = (mailbox, connection.handle)
            if connection.session.receive(bytes, responder, replyLater: { mailbox.deferredReply(to: handle) }) {
                touch(connection)
            }
        case .end: connection.session.endInput()
        case .nothing: break
        case .broken: return close(connection)
        }
        advance(connection)
    }

    /// Sends answers and continues with waiting messages, as long as the client takes data.
    private mutating func advance(_ connection: StreamConnection) {
        let (mailbox, handle) = (mailbox, connection.handle)
        var turns = Self.sendsPerTurn
        while true {
            if !responder.output.isEmpty {
                if responder.output.rate > 0 { slow(connection, to: responder.output.rate) }
                let stands = connection.send(responder.output.bytes)
                responder.output.removeAll()
                guard stands else { return close(connection) }
            }
            guard !connection.isBlocked, turns > 0, connection.session.canProceed(responder) else { break }
            turns -= 1
            if connection.session.proceed(responder, replyLater: { mailbox.deferredReply(to: handle) }) {
                touch(connection)
            }
        }
        if connection.session.isAborted { return close(connection) }
        if connection.session.isFinished, !connection.isBlocked { return close(connection) }
        guard connection.holdsLittle(responder.limits) else { return close(connection) }
        watch(connection)
    }

    private mutating func watch(_ connection: StreamConnection) {
        var wanted: UInt32 = 0
        if !connection.isSlow, connection.isBlocked || connection.session.canProceed(responder) {
            wanted |= EPOLLOUT.rawValue
        }
        if mayRead(connection) { wanted |= EPOLLIN.rawValue }
        guard wanted != connection.watched else { return }
        let operation = connection.watched == nil ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
        guard control(operation, connection.descriptor, wanted, Self.tag(of: connection.handle)) else {
            return close(connection)
        }
        connection.watched = wanted
    }

    private func mayRead(_ connection: StreamConnection) -> Bool {
        !connection.isBlocked && connection.session.wantsInput(responder)
    }

    private mutating func close(_ connection: StreamConnection) {
        remove(connection)
        connection.close(responder)
        free.append(connection.slot)
    }

    // MARK: Answers from upstream

    /// Writes them; answers that arrived together for one connection are sent together.
    private mutating func deliver(_ replies: [StreamMailbox.Reply]) {
        var index = 0
        while index < replies.count {
            let handle = replies[index].connection
            guard let connection = connection(handle) else {
                index += 1
                continue
            }
            while index < replies.count, replies[index].connection == handle, responder.output.hasRoom {
                replies[index].copy.withReply { connection.session.finishParked($0, responder) }
                index += 1
            }
            touch(connection)
            advance(connection)
        }
    }

    // MARK: Slowed answers

    private mutating func slow(_ connection: StreamConnection, to rate: UInt32) {
        if !connection.isSlow { slowed.append(connection.handle) }
        if slowed.count == 1 { nextTrickle = SystemClock.monotonic() + Self.trickleInterval }
        connection.slow(to: rate)
    }

    /// Sends the next bytes of each.
    private mutating func trickle(_ now: UInt64) {
        nextTrickle = now + Self.trickleInterval
        let handles = slowed
        slowed = []
        for handle in handles {
            guard let connection = connection(handle) else { continue }
            guard let taken = connection.trickle(now) else {
                close(connection)
                continue
            }
            if taken > 0 { touch(connection) }
            if connection.isSlow { slowed.append(handle) } else { advance(connection) }
        }
    }

    // MARK: Idle connections

    private var idleTimeout: UInt64 { responder.limits.idleTimeout * 1000 }

    /// Closes connections idle for too long. The same limit holds for receiving or sending one message.
    private mutating func closeIdle(_ now: UInt64) {
        while oldest >= 0, slots[oldest].lastActivity + idleTimeout <= now {
            let connection = slots[oldest]
            if connection.session.parked > 0 { touch(connection) } else { close(connection) }
        }
    }

    /// At shutdown: closes connections whose clients have all their answers, or all connections.
    private mutating func closeSettled(all: Bool) {
        for connection in slots where connection.isOpen {
            if all || connection.session.isIdle && connection.hasArrived { close(connection) }
        }
    }

    private mutating func touch(_ connection: StreamConnection) {
        remove(connection)
        append(connection, SystemClock.monotonic())
    }

    private mutating func append(_ connection: StreamConnection, _ now: UInt64) {
        connection.lastActivity = now
        connection.older = newest
        connection.newer = -1
        if newest >= 0 { slots[newest].newer = Int(connection.slot) } else { oldest = Int(connection.slot) }
        newest = Int(connection.slot)
    }

    private mutating func remove(_ connection: StreamConnection) {
        let (older, newer) = (connection.older, connection.newer)
        if older >= 0 { slots[older].newer = newer } else { oldest = newer }
        if newer >= 0 { slots[newer].older = older } else { newest = older }
    }
}
