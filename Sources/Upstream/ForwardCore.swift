import DNSWire
import Lookup
import Platform

/// All decisions of forwarding without its I/O: which server is asked when, what counts as an answer, when to give up.
///
/// It deals with questions, not with clients. A question being resolved is a *flight*; each message sent for it is an
/// *attempt*; a *channel* is a UDP socket or a server's TCP connection. The caller passes in the time, in microseconds;
/// `actions` says what to do, and `outbox` has the bytes to send.
///
/// A flight ends with the first usable answer. Its other attempts stay for a while as orphans: their answers are not
/// used, but show how their servers are doing.
struct ForwardCore: ~Copyable {
    private(set) var actions: [Action] = []
    private(set) var outbox: [UInt8] = []
    private(set) var flightCount = 0
    /// The attempt that the last message belongs to: when it was sent, and to which server; nil if to none.
    private(set) var lastReply: (sent: UInt64, server: Int)?

    private let settings: ForwardSettings
    private let routes: [Route]
    private var servers: [Server]
    private var flights: [Flight] = []
    private var freeFlights: [Int] = []
    /// By the key's number.
    private var openFlightIndex = NumberIndex()
    private var attempts: [Attempt] = []
    private var freeAttempts: [Int] = []
    /// By channel number and ID.
    private var attemptOfID = NumberIndex()
    private var ports: SourcePorts
    private var wakes = WakeQueue()
    /// Ordered by expiry.
    private var orphans: [(expiry: UInt64, attempt: Int, generation: UInt32)] = []
    private var orphansSeen = 0
    private var random = RandomPool()

    private static let blank = [UInt8](repeating: 0, count: UpstreamQuery.maximumLength)
    private static let maximumSends = 10
    /// An error message is never longer, in bytes.
    private static let longestFallback = 4_096
    private static let longestRetry: UInt64 = 2_000_000
    private static let afterRefusal: UInt64 = 150_000
    private static let streamRetransmitTimeout: UInt64 = 1_000_000
    private static let streamSilence: UInt64 = 3_000_000
    private static let orphanLifetime: UInt64 = 2_000_000
    private static let maximumOrphans = 10_000

    init(_ unbounded: ForwardSettings) {
        let settings = unbounded.bounded
        self.settings = settings
        var routes: [Route] = []
        for (index, server) in settings.servers.enumerated() {
            let suffix = server.domain.canonicalWire
            if let known = routes.firstIndex(where: { $0.suffix == suffix }) {
                routes[known].servers.append(index)
            } else {
                routes.append(Route(suffix: suffix, servers: [index]))
            }
        }
        // Sorted, so that the first suffix that matches is the longest.
        self.routes = routes.sorted { $0.suffix.count > $1.suffix.count }
        ports = SourcePorts(settings)
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
        guard let route = routes.firstIndex(where: { key.isAtOrBelow($0.suffix) }) else {
            return .failed(.notAuthoritative, "no upstream is configured for this name")
        }
        guard let server = choose(route, tried: 0, now) else {
            let refused = routes[route].servers.contains { servers[$0].health.refusals > 0 }
            return refused
                ? .failed(.networkError, "no upstream can be reached")
                : .failed(.noReachableAuthority, "no upstream answers")
        }
        let flight = open(
            Flight(
                key: key, deadline: max(deadline, now), staleAt: now + settings.staleAfter, retryAt: .max,
                route: route, waiters: waits ? 1 : 0))
        ask(flight, server, now)
        sendProbe(flight, route, server, now)
        schedule(flight)
        return .flight(flight)
    }

    /// Handles a message from `channel`. `accept` says whether an answer is usable; its question has been compared
    /// already.
    mutating func received(
        _ message: UnsafeRawBufferPointer, on channel: UpstreamChannel, now: UInt64,
        accept: (FetchKey, UnsafeRawBufferPointer, MessageReader.Summary) -> Bool
    ) {
        lastReply = nil
        guard message.count >= Header.length, let base = message.baseAddress else { return }
        let flags = Header.Flags(rawValue: base.readUInt16(2))
        guard flags.contains(.response), flags.opcode == .query,
            let number = attempt(of: base.readUInt16(0), on: channel)
        else { return }
        let attempt = attempts[number]
        if attempt.flight < 0 {
            // A late answer proves the server alive. Its question is gone, so nothing else can be checked.
            if attempt.isOrphan { noteReply(attempt, rtt: true, now) }
            forget(number, now)
            return
        }
        let flight = attempt.flight
        var code = flags.responseCode
        let hasQuestion = UpstreamQuery.echoes(message, flights[flight].key, caseMask: attempt.caseMask)
        // Servers that don't understand a query may return just the header.
        let bareError = message.count == Header.length && base.readUInt16(4) == 0 && code != .noError
        guard hasQuestion || bareError else { return }

        let summary = MessageReader.walk(message)
        var hasCookie = false
        if let opt = summary?.opt {
            code = ResponseCode(rawValue: code.rawValue | UInt16(opt.ttl >> 24) << 4)
            if attempt.edns, settings.usesCookies,
                let cookie = UpstreamQuery.option(EDNS.Option.cookie, opt, message)
            {
                guard servers[attempt.server].cookies.take(cookie) else { return }
                hasCookie = true
            }
        }
        let isStream = attempt.isStream
        if attempt.edns, settings.usesCookies, !hasCookie, servers[attempt.server].cookies.isExpected {
            // Over UDP it may be forged, so it does not count (RFC 7873 5.3). Over TCP it does not: the server has no
            // cookies any more.
            guard isStream else { return askAgain(number, now) }
            servers[attempt.server].cookies.forget()
        }
        noteReply(attempt, rtt: code == .noError || code == .nxDomain, now)
        let reply = UpstreamReply(
            server: attempt.server, address: settings.servers[attempt.server].address,
            transport: attempt.channel.transport,
            microseconds: UInt32(clamping: now - min(now, attempt.sent)))

        if flags.contains(.truncated), !isStream {
            forget(number, now)
            // A truncated answer is fetched over TCP from the same server.
            flights[flight].latest = send(
                flight, attempt.server, over: .tcp, edns: attempt.edns, isSecondTry: attempt.isSecondTry, now)
            flights[flight].retryAt = now + Self.streamRetransmitTimeout
            schedule(flight)
            return
        }
        switch code {
        case .noError, .nxDomain, .yxDomain:
            guard let summary, hasQuestion, accept(flights[flight].key, message, summary) else {
                servers[attempt.server].errors += 1
                servers[attempt.server].health.noteFault()
                flights[flight].error = .invalidData
                flights[flight].errorText = "upstream's answer can't be used"
                break
            }
            forget(number, now)
            finish(flight, .answered(reply), now)
            return
        case .formatError where attempt.edns && summary?.opt == nil:
            servers[attempt.server].health.notePlainOnly(now)
            forget(number, now)
            flights[flight].latest = send(
                flight, attempt.server, over: attempt.channel.transport, edns: false, isSecondTry: true, now)
            schedule(flight)
            return
        case .badCookie where attempt.edns && !isStream:
            // The server sent the cookie that it wants.
            return askAgain(number, now)
        case .serverFailure:
            servers[attempt.server].errors += 1
            if summary != nil, hasQuestion { keep(message, from: reply, for: flight) }
            flights[flight].errorText = "upstream failed to resolve the name"
        default:
            servers[attempt.server].errors += 1
            servers[attempt.server].health.noteFault()
            // The client gets to read why.
            if code == .refused, hasQuestion, let opt = summary?.opt, flights[flight].fallback.isEmpty,
                UpstreamQuery.option(EDNS.Option.extendedError, opt, message) != nil
            {
                keep(message, from: reply, for: flight)
            }
            flights[flight].errorText =
                code == .refused ? "upstream refused the question" : "upstream answered an error"
        }
        flights[flight].wasRejected = true
        forget(number, now)
        advance(flight, now)
    }

    /// Keeps an error message, in case nothing better arrives.
    private mutating func keep(_ message: UnsafeRawBufferPointer, from reply: UpstreamReply, for flight: Int) {
        guard message.count <= Self.longestFallback else { return }
        flights[flight].fallback = Array(message)
        flights[flight].fallbackReply = reply
    }

    /// Asks the same server again because of its cookie: over UDP once, then over TCP (RFC 7873 5.3).
    private mutating func askAgain(_ number: Int, _ now: UInt64) {
        let attempt = attempts[number]
        forget(number, now)
        flights[attempt.flight].latest = send(
            attempt.flight, attempt.server, over: attempt.isSecondTry ? .tcp : .udp, edns: true, isSecondTry: true, now)
        if attempt.isSecondTry { flights[attempt.flight].retryAt = now + Self.streamRetransmitTimeout }
        schedule(attempt.flight)
    }

    /// The network reported an error on `channel`: a closed port, no route, or the end of a stream.
    mutating func channelFailed(_ channel: UpstreamChannel, now: UInt64) {
        let server: Int
        var wasReused = false
        switch channel {
        case .port(let port):
            let waiting = ports.waitingServer(on: port)
            ports.fail(port, &actions)
            guard let waiting else { return }
            server = waiting
        case .stream(let number):
            server = number
            actions.append(.close(channel))
            wasReused = servers[server].streamHasAnswered
            servers[server].streamIsOpen = false
            servers[server].streamHasAnswered = false
            servers[server].streamSilentSince = now
            if !wasReused { servers[server].cookies.forget() }
            guard servers[server].streamOutstanding > 0 else { return }
        }
        if !wasReused {
            servers[server].errors += 1
            servers[server].health.noteRefusal(now)
        }
        let lost = attempts.indices.filter { attempts[$0].flight != -2 && attempts[$0].channel == channel }
            .map { (number: $0, generation: attempts[$0].generation) }
        for (number, generation) in lost {
            let attempt = attempts[number]
            // Another attempt's end may have ended this one, too.
            guard attempt.flight != -2, attempt.generation == generation else { continue }
            forget(number, now)
            guard attempt.flight >= 0 else { continue }
            if wasReused, !attempt.isSecondTry {
                // The server may close an idle connection at any time; the question is sent again over a new one.
                flights[attempt.flight].latest = send(
                    attempt.flight, server, over: .tcp, edns: attempt.edns, isSecondTry: true, now)
                schedule(attempt.flight)
                continue
            }
            flights[attempt.flight].refusals += 1
            flights[attempt.flight].error = .networkError
            flights[attempt.flight].errorText = "upstream could not be reached"
            advance(attempt.flight, now)
        }
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
        for server in servers.indices where now >= streamDeadline(servers[server]) {
            // Idle, or dead without notice: its questions are asked again.
            channelFailed(.stream(server: server), now: now)
        }
    }

    /// When `timer` must be called next; nil if nothing is due.
    var nextTimer: UInt64? {
        var next = wakes.first?.time ?? .max
        if orphansSeen < orphans.count { next = min(next, orphans[orphansSeen].expiry) }
        for server in servers { next = min(next, streamDeadline(server)) }
        return next == .max ? nil : next
    }

    /// When to close the server's connection.
    private func streamDeadline(_ server: Server) -> UInt64 {
        guard server.streamIsOpen else { return .max }
        return server.streamOutstanding == 0
            ? server.streamUsed + settings.streamIdle : server.streamSilentSince + Self.streamSilence
    }

    /// Fails everything in flight.
    mutating func failAll(_ error: ExtendedError, _ text: StaticString, now: UInt64) {
        for flight in flights.indices where flights[flight].isOpen { finish(flight, .failed(error, text), now) }
    }

    // MARK: Queries by the lane

    func address(of server: Int) -> SocketAddress { settings.servers[server].address }

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
    }

    /// The flight that the last message answered, if any; the caller must release it.
    mutating func takeAnswered() -> (flight: Int, reply: UpstreamReply)? {
        guard case .finished(let flight, .answered(let reply)) = actions.last else { return nil }
        actions.removeLast()
        return (flight, reply)
    }

    func key(of flight: Int) -> FetchKey { flights[flight].key }

    func lastResort(of flight: Int) -> [UInt8] { flights[flight].fallback }

    /// Some waiters left after `late`.
    mutating func setWaiters(of flight: Int, to count: Int) { flights[flight].waiters = count }

    /// Frees a finished flight's number.
    mutating func release(_ flight: Int) {
        flights[flight].fallback = []
        freeFlights.append(flight)
    }

    func status() -> [UpstreamStatus] {
        zip(settings.servers, servers).map { settings, server in
            UpstreamStatus(
                server: settings,
                state: server.health.isDown ? .down : server.health.everHeard ? .up : .untried,
                smoothedRTT: server.health.smoothedRTT, failures: server.health.lates + server.health.refusals,
                queries: server.queries, answers: server.answers, timeouts: server.timeouts,
                errors: server.errors)
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

    private mutating func finish(_ flight: Int, _ conclusion: Conclusion, _ now: UInt64) {
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
    private mutating func giveUp(_ flight: Int, _ now: UInt64) {
        if flights[flight].fallback.isEmpty {
            finish(flight, .failed(flights[flight].error, flights[flight].errorText), now)
        } else {
            finish(flight, .lastResort(flights[flight].fallbackReply), now)
        }
    }

    private mutating func schedule(_ flight: Int) {
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

    /// The latest attempt is overdue: asks the next server as well.
    private mutating func retry(_ flight: Int, _ now: UInt64) {
        if flights[flight].latest >= 0 { noteLate(flights[flight].latest, now) }
        flights[flight].retryAt = .max
        guard flights[flight].sends < Self.maximumSends else { return }
        let route = flights[flight].route
        if let server = choose(route, tried: flights[flight].tried, now) {
            ask(flight, server, now)
            return
        }
        if flights[flight].wasRejected {
            // All were asked, and one answered with an error: it is not asked again.
            giveUp(flight, now)
            return
        }
        flights[flight].round += 1
        flights[flight].tried = 0
        if let server = choose(route, tried: 0, now) {
            ask(flight, server, now)
        } else {
            // All are down; waits for the first that may be tried again.
            let soonest = routes[route].servers.map { servers[$0].health.lastResortAt(now) }.min() ?? now
            flights[flight].retryAt = max(soonest, now + 50_000)
        }
    }

    /// An attempt failed: asks the next server at once, or ends the flight.
    private mutating func advance(_ flight: Int, _ now: UInt64) {
        defer { schedule(flight) }
        if flights[flight].sends < Self.maximumSends,
            let server = choose(flights[flight].route, tried: flights[flight].tried, now)
        {
            ask(flight, server, now)
            return
        }
        if flights[flight].attempts >= 0 { return }
        if flights[flight].error == .networkError, flights[flight].refusals < 2, flights[flight].fallback.isEmpty {
            // The server may be restarting.
            flights[flight].tried = 0
            flights[flight].latest = -1
            flights[flight].retryAt = now + Self.afterRefusal
            return
        }
        giveUp(flight, now)
    }

    // MARK: Servers

    /// The best untried server of `route`: the fastest that is up, else one that is down and due for a probe.
    private func choose(_ route: Int, tried: UInt64, _ now: UInt64) -> Int? {
        var best = -1
        var bestScore = UInt64.max
        var lastResort = -1
        var lastResortAt = UInt64.max
        for server in routes[route].servers where tried >> UInt64(server) & 1 == 0 {
            if servers[server].health.isDown {
                let at = servers[server].health.lastResortAt(now)
                if at <= now, at < lastResortAt { (lastResort, lastResortAt) = (server, at) }
            } else if servers[server].health.score < bestScore {
                (best, bestScore) = (server, servers[server].health.score)
            }
        }
        if best >= 0 { return best }
        return lastResort >= 0 ? lastResort : nil
    }

    private mutating func ask(_ flight: Int, _ server: Int, _ now: UInt64) {
        flights[flight].tried |= 1 << UInt64(server)
        let transport = settings.servers[server].transport
        let edns = servers[server].health.usesEDNS(now)
        flights[flight].latest = send(flight, server, over: transport, edns: edns, isSecondTry: false, now)
        let retransmitTimeout = servers[server].health.retransmitTimeout
        let base = transport == .tcp ? max(retransmitTimeout, Self.streamRetransmitTimeout) : retransmitTimeout
        flights[flight].retryAt = now + min(base << UInt64(min(flights[flight].round, 5)), Self.longestRetry)
    }

    /// Copies the question to a server not heard of for long, so that no client has to wait to learn its state. Its
    /// answer counts like any other.
    private mutating func sendProbe(_ flight: Int, _ route: Int, _ chosen: Int, _ now: UInt64) {
        for server in routes[route].servers
        where server != chosen && servers[server].health.isProbeDue(now) && settings.servers[server].transport == .udp {
            flights[flight].tried |= 1 << UInt64(server)
            send(
                flight, server, over: .udp, edns: servers[server].health.usesEDNS(now), isSecondTry: false, now)
            return
        }
    }

    private mutating func noteReply(_ attempt: Attempt, rtt: Bool, _ now: UInt64) {
        lastReply = (attempt.sent, attempt.server)
        servers[attempt.server].answers += 1
        servers[attempt.server].health.noteArrival(now)
        if rtt, !attempt.isStream { servers[attempt.server].health.noteRTT(sent: attempt.sent, now) }
        if attempt.isStream {
            servers[attempt.server].streamHasAnswered = true
            servers[attempt.server].streamSilentSince = now
        }
    }

    private mutating func noteLate(_ number: Int, _ now: UInt64) {
        guard attempts[number].flight != -2, !attempts[number].wasLate else { return }
        attempts[number].wasLate = true
        servers[attempts[number].server].timeouts += 1
        servers[attempts[number].server].health.noteLate(sent: attempts[number].sent, now)
        let server = attempts[number].server
        // Without TCP, a server that has lost its cookies would stay unusable.
        if attempts[number].isStream, !servers[server].streamHasAnswered { servers[server].cookies.forget() }
    }

    // MARK: Attempts

    @discardableResult
    private mutating func send(
        _ flight: Int, _ server: Int, over transport: UpstreamTransport, edns: Bool, isSecondTry: Bool, _ now: UInt64
    ) -> Int {
        // TCP retransmits by itself.
        if transport == .tcp, let attempt = attempt(of: flight, on: .stream(server: server)) { return attempt }
        let channel: UpstreamChannel
        switch transport {
        case .tcp:
            channel = .stream(server: server)
            if !servers[server].streamIsOpen { actions.append(.open(channel, server: server)) }
            servers[server].streamIsOpen = true
            if servers[server].streamOutstanding == 0 { servers[server].streamSilentSince = now }
            servers[server].streamOutstanding += 1
            servers[server].streamUsed = now
        case .udp:
            var avoided = -1
            let latest = flights[flight].latest
            if latest >= 0, case .port(let port) = attempts[latest].channel { avoided = port }
            channel = .port(ports.take(for: server, avoiding: avoided, random: random.next(), now: now, &actions))
        }
        servers[server].queries += 1
        servers[server].health.noteSent(now)
        flights[flight].sends += 1

        let bits = random.next()
        var id = UInt16(truncatingIfNeeded: bits)
        while attempt(of: id, on: channel) != nil {
            id = UInt16(truncatingIfNeeded: random.next())
        }
        let caseMask = settings.randomizesCase ? random.next() : 0
        let number = newAttempt(
            Attempt(
                flight: flight, server: server, channel: channel, id: id, caseMask: caseMask, sent: now, edns: edns,
                isSecondTry: isSecondTry, next: flights[flight].attempts, generation: 0))
        flights[flight].attempts = number
        attemptOfID.insert(channel.number << 16 | UInt64(id), number)

        let start = outbox.count
        outbox.append(contentsOf: Self.blank)
        let cookie = settings.usesCookies ? servers[server].cookies : nil
        let key = flights[flight].key
        let length = outbox.withUnsafeMutableBytes { bytes in
            let base = bytes.baseAddress.unsafelyUnwrapped + start
            return UpstreamQuery.write(key, id: id, caseMask: caseMask, edns: edns, cookie: cookie, to: base)
        }
        outbox.removeLast(outbox.count - start - length)
        actions.append(
            .send(OutgoingMessage(channel: channel, server: server, bytes: start..<(start + length))))
        return number
    }

    private func attempt(of flight: Int, on channel: UpstreamChannel) -> Int? {
        var number = flights[flight].attempts
        while number >= 0, attempts[number].channel != channel { number = attempts[number].next }
        return number >= 0 ? number : nil
    }

    private mutating func newAttempt(_ attempt: Attempt) -> Int {
        if let free = freeAttempts.popLast() {
            let generation = attempts[free].generation &+ 1
            attempts[free] = attempt
            attempts[free].generation = generation
            return free
        }
        attempts.append(attempt)
        return attempts.count - 1
    }

    private func attempt(of id: UInt16, on channel: UpstreamChannel) -> Int? {
        let key = channel.number << 16 | UInt64(id)
        return attemptOfID.find(key) { attempts[$0].channel.number << 16 | UInt64(attempts[$0].id) == key }
    }

    /// Ends the attempt: its ID is free, and a late answer is ignored.
    private mutating func forget(_ number: Int, _ now: UInt64) {
        let attempt = attempts[number]
        attemptOfID.remove(attempt.channel.number << 16 | UInt64(attempt.id), number)
        if attempt.flight >= 0 {
            if flights[attempt.flight].latest == number { flights[attempt.flight].latest = -1 }
            var link = flights[attempt.flight].attempts
            if link == number {
                flights[attempt.flight].attempts = attempt.next
            } else {
                while link >= 0, attempts[link].next != number { link = attempts[link].next }
                if link >= 0 { attempts[link].next = attempt.next }
            }
        }
        attempts[number].flight = -2
        freeAttempts.append(number)
        switch attempt.channel {
        case .port(let port): ports.release(port, &actions)
        case .stream(let server):
            servers[server].streamOutstanding -= 1
            servers[server].streamUsed = now
        }
    }
}
