import DNSWire
import Lookup
import Platform

/// All decisions of forwarding without its I/O: which server is asked when, what counts as an answer, when to give up.
///
/// It deals with questions, not with clients. A question being resolved is a *flight*; each message sent for it is an
/// *attempt*; a *channel* is a UDP socket or a connection. The caller passes in the time, in microseconds; `actions`
/// says what to do, and `outbox` has the bytes to send.
///
/// A flight ends with the first usable answer. Its other attempts stay for a while as orphans: their answers are not
/// used, but show how their servers are doing.
///
/// `ForwardCore+Servers.swift` chooses servers, `ForwardCore+Replies.swift` judges messages,
/// `ForwardCore+Attempts.swift` sends.
struct ForwardCore: ~Copyable {
    var actions: [Action] = []
    var outbox: [UInt8] = []
    private(set) var flightCount = 0
    /// The attempt that the last message belongs to: when it was sent, and to which server; nil if to none.
    var lastReply: (sent: UInt64, server: Int)?

    let settings: ForwardSettings
    let routes: [Route]
    var servers: [Server]
    var flights: [Flight] = []
    private var freeFlights: [Int] = []
    /// By the key's number.
    private var openFlightIndex = NumberIndex()
    /// Flights that wait for a turn at a server that is down; some may have ended since.
    var held: [(flight: Int, ticket: UInt64)] = []
    var nextTicket: UInt64 = 1
    var attempts: [Attempt] = []
    var freeAttempts: [Int] = []
    /// By channel number and ID.
    var attemptOfID = NumberIndex()
    var ports: SourcePorts
    var connections: StreamConnections
    private var wakes = WakeQueue()
    /// Ordered by expiry.
    var orphans: [(expiry: UInt64, attempt: Int, generation: UInt32)] = []
    private var orphansSeen = 0
    var random = RandomPool()

    static let maximumSends = 10
    private static let orphanLifetime: UInt64 = 2_000_000
    private static let maximumOrphans = 10_000

    init(_ unbounded: ForwardSettings) {
        let settings = unbounded.bounded
        self.settings = settings
        var routes: [Route] = []
        for (index, server) in settings.servers.enumerated() {
            let suffix = server.domain.canonicalWire
            if let known = routes.firstIndex(where: { $0.suffix == suffix && $0.partition == server.partition }) {
                routes[known].servers.append(index)
            } else {
                routes.append(Route(suffix: suffix, partition: server.partition, servers: [index]))
            }
        }
        // Sorted, so that the first suffix that matches is the longest.
        self.routes = routes.sorted { $0.suffix.count > $1.suffix.count }
        ports = SourcePorts(settings)
        connections = StreamConnections(settings)
        var random = RandomPool()
        servers = settings.servers.map { _ in Server(cookies: CookieJar(client: random.next())) }
    }

    // MARK: Inputs

    /// Starts a flight for `key`, or joins one.
    mutating func fetch(_ key: FetchKey, waits: Bool, deadline: UInt64, now: UInt64) -> Start {
        if let flight = openFlightIndex.find(key.number, where: { flights[$0].key == key }) {
            guard waits else { return .flight(flight) }
            guard flights[flight].waiters < settings.maximumWaiters else {
                return .failed(.other, "too many clients wait for this question")
            }
            flights[flight].waiters += 1
            if flights[flight].isLate { actions.append(.late(flight: flight)) }
            return .flight(flight)
        }
        guard flightCount < settings.maximumFlights else {
            return .failed(.other, "too many questions wait for upstream")
        }
        guard let route = routes.firstIndex(where: { key.partition == $0.partition && key.isAtOrBelow($0.suffix) }),
            let server = choose(route, excluding: 0)
        else { return .failed(.notAuthoritative, "no upstream is configured for this name") }
        // Nobody has to wait for servers that are known to be silent if there is a stale answer.
        let isDown = servers[server].health.isDown
        let flight = open(
            Flight(
                key: key, route: route, waiters: waits ? 1 : 0, now: now, deadline: deadline,
                staleAt: isDown ? now : now + settings.staleAfter))
        if isDown, !servers[server].health.takeTurn(now) {
            hold(flight, server, now)
        } else {
            ask(flight, server, now)
            sendProbes(flight, route, server, now)
        }
        schedule(flight)
        return .flight(flight)
    }

    /// Handles everything that is due at `now`.
    mutating func timer(now: UInt64) {
        while let (time, flight) = wakes.first, time <= now { wake(flight, now) }
        while orphansSeen < orphans.count, orphans[orphansSeen].expiry <= now {
            let orphan = orphans[orphansSeen]
            orphansSeen += 1
            let attempt = attempts[orphan.attempt]
            guard attempt.isOrphan, attempt.generation == orphan.generation else { continue }
            noteLate(orphan.attempt, now)
            forget(orphan.attempt, now)
        }
        if orphansSeen > 64, orphansSeen * 2 > orphans.count {
            orphans.removeFirst(orphansSeen)
            orphansSeen = 0
        }
        for number in connections.due(now) {
            // Idle, or dead without notice: its questions are asked again.
            endConnection(number, connections[number].outstanding > 0 ? .silent : nil, now)
        }
    }

    /// When `timer` must be called next; nil if nothing is due.
    var nextTimer: UInt64? {
        var next = wakes.first?.time ?? .max
        if orphansSeen < orphans.count { next = min(next, orphans[orphansSeen].expiry) }
        next = min(next, connections.nextDeadline)
        return next == .max ? nil : next
    }

    /// Fails everything in flight.
    mutating func failAll(_ error: ExtendedError, _ text: StaticString, now: UInt64) {
        for flight in flights.indices where flights[flight].isOpen { finish(flight, .failed(error, text), now) }
    }

    // MARK: Queries by the lane

    func server(_ number: Int) -> UpstreamServer { settings.servers[number] }

    /// The unfinished flights, with their questions and deadlines.
    var openFlights: [(flight: Int, key: FetchKey, deadline: UInt64)] {
        flights.indices.filter { flights[$0].isOpen }.map { ($0, flights[$0].key, flights[$0].deadline) }
    }

    /// Returns and clears the actions; the outbox stays until `clearOutbox`.
    mutating func takeActions() -> [Action] {
        let taken = actions
        actions.removeAll(keepingCapacity: false)
        return taken
    }

    /// The outbox has been sent. The next burst uses other ports.
    mutating func clearOutbox() {
        outbox.removeAll(keepingCapacity: true)
        ports.endBurst()
        connections.endBurst()
    }

    /// The flight that the last message answered, if any; the caller must release it.
    mutating func takeAnswered() -> (flight: Int, reply: UpstreamReply)? {
        guard case .finished(let flight, .answered(let reply)) = actions.last else { return nil }
        actions.removeLast()
        return (flight, reply)
    }

    func key(of flight: Int) -> FetchKey { flights[flight].key }

    func start(of flight: Int) -> UInt64 { flights[flight].started }

    func lastResort(of flight: Int) -> [UInt8] { flights[flight].fallback }

    /// Some waiters left after `late`.
    mutating func setWaiters(of flight: Int, to count: Int) { flights[flight].waiters = count }

    /// Frees a finished flight's number.
    mutating func release(_ flight: Int) {
        flights[flight].fallback = []
        freeFlights.append(flight)
    }

    /// What is known of each server.
    var knowledge: [UpstreamServer: Server] {
        Dictionary(zip(settings.servers, servers), uniquingKeysWith: { first, _ in first })
    }

    /// Takes over what is known of servers that are there still.
    mutating func adopt(_ knowledge: [UpstreamServer: Server]) {
        for (index, server) in settings.servers.enumerated() {
            if let known = knowledge[server] { servers[index] = known }
        }
    }

    func status(_ now: UInt64) -> [UpstreamStatus] {
        servers.indices.map { number in
            let server = servers[number]
            return UpstreamStatus(
                server: settings.servers[number],
                state: server.health.isDown ? .down : server.health.everHeard ? .up : .untried,
                smoothedRTT: server.health.smoothedRTT, failures: server.health.lates + server.health.refusals,
                queries: server.queries, answers: server.answers, timeouts: server.timeouts,
                errors: server.errors, level: server.ability.level,
                keepsCase: server.ability.keepsCase(now), needsStream: server.ability.prefersStream(now),
                connections: connections.status(of: number, now), lastError: server.lastError)
        }
    }

    // MARK: Flights

    private mutating func open(_ flight: Flight) -> Int {
        let number: Int
        if let free = freeFlights.popLast() {
            number = free
            flights[number] = flight
        } else {
            number = flights.count
            flights.append(flight)
        }
        openFlightIndex.insert(flight.key.number, number)
        flightCount += 1
        return number
    }

    mutating func finish(_ flight: Int, _ conclusion: Conclusion, _ now: UInt64) {
        flights[flight].isOpen = false
        openFlightIndex.remove(flights[flight].key.number, flight)
        flightCount -= 1
        wakes.remove(flight)
        var number = flights[flight].attempts
        flights[flight].attempts = -1
        while number >= 0 {
            let next = attempts[number].next
            attempts[number].flight = -1
            if attempts[number].isStream || orphans.count - orphansSeen > Self.maximumOrphans {
                forget(number, now)
            } else {
                orphans.append((now + Self.orphanLifetime, number, attempts[number].generation))
            }
            number = next
        }
        actions.append(.finished(flight: flight, conclusion))
    }

    /// Ends a flight that can expect no better answer.
    mutating func giveUp(_ flight: Int, _ now: UInt64) {
        if flights[flight].fallback.isEmpty {
            finish(flight, .failed(flights[flight].error, flights[flight].errorText), now)
        } else {
            finish(flight, .lastResort(flights[flight].fallbackReply), now)
        }
    }

    mutating func schedule(_ flight: Int) {
        guard flights[flight].isOpen else { return }
        var time = min(flights[flight].deadline, flights[flight].retryAt)
        if !flights[flight].isLate { time = min(time, flights[flight].staleAt) }
        wakes.set(flight, time)
    }

    private mutating func wake(_ flight: Int, _ now: UInt64) {
        if now >= flights[flight].deadline {
            if flights[flight].latest >= 0 { noteLate(flights[flight].latest, now) }
            giveUp(flight, now)
            return
        }
        if !flights[flight].isLate, now >= flights[flight].staleAt {
            flights[flight].isLate = true
            actions.append(.late(flight: flight))
        }
        if now >= flights[flight].retryAt { retry(flight, now) }
        schedule(flight)
    }
}
