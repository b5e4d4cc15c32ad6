import DNSWire
import Lookup
import Platform

/// Which server is asked next, and how.
extension ForwardCore {
    private static let longestRetry: UInt64 = 1_000_000
    private static let afterRefusal: UInt64 = 150_000
    private static let streamRetransmitTimeout: UInt64 = 1_000_000
    private static let shortestStreamTimeout: UInt64 = 200_000
    /// Some resolvers don't answer at all over UDP what took them long, but do over TCP.
    private static let streamAfter: UInt64 = 1_500_000
    /// A server that has spoken EDNS gets a step less of it after each of these times of silence.
    private static let unlearnAfter: UInt64 = 700_000
    private static let longestHold: UInt64 = 1_000_000
    private static let maximumRefusals = 2
    private static let maximumLosses = 4
    private static let maximumResends = 100

    /// The best server of `route` that is not `excluded`: the fastest that is up, else the one that is down and has not
    /// been asked for the longest time.
    func choose(_ route: Int, excluding excluded: UInt64) -> Int? {
        var best = -1
        var bestScore = UInt64.max
        var lastResort = -1
        var lastResortAt = UInt64.max
        for server in routes[route].servers where excluded >> UInt64(server) & 1 == 0 {
            if servers[server].health.isDown {
                let at = servers[server].health.probedAt
                if at < lastResortAt { (lastResort, lastResortAt) = (server, at) }
            } else if servers[server].health.score < bestScore {
                (best, bestScore) = (server, servers[server].health.score)
            }
        }
        if best >= 0 { return best }
        return lastResort >= 0 ? lastResort : nil
    }

    mutating func ask(_ flight: Int, _ server: Int, _ now: UInt64) {
        let bit: UInt64 = 1 << UInt64(server)
        flights[flight].tried |= bit
        flights[flight].heldUntil = 0
        let transport = settings.servers[server].transport
        let level = level(of: flight, at: server, now)
        flights[flight].latest = send(flight, server, over: transport, level: level, now)
        flights[flight].asked |= bit
        if transport == .udp, flights[flight].streamed & bit == 0,
            servers[server].ability.prefersStream(now) || now >= flights[flight].started + Self.streamAfter
        {
            let wasLatest = flights[flight].latest
            send(flight, server, over: .tcp, level: level, now)
            flights[flight].latest = wasLatest
        }
        // A handshake takes its time.
        let isWaiting = attempts[flights[flight].latest].waitedForConnection
        flights[flight].retryAt =
            now
            + (isWaiting
                ? Self.streamRetransmitTimeout : timeout(of: server, transport, round: flights[flight].round))
    }

    private func timeout(of server: Int, _ transport: UpstreamTransport, round: Int) -> UInt64 {
        let health = servers[server].health
        let base: UInt64 =
            switch (transport, health.smoothedRTT) {
            case (.udp, _): health.retransmitTimeout
            // A handshake takes some round trips, too.
            case (_, 0) where connections.handshake(with: server) > 0:
                min(
                    max(connections.handshake(with: server) * 3, Self.shortestStreamTimeout),
                    Self.streamRetransmitTimeout)
            case (_, 0): Self.streamRetransmitTimeout
            default: max(health.retransmitTimeout * 3 / 2, Self.shortestStreamTimeout)
            }
        return min(base << UInt64(min(round, 5)), Self.longestRetry)
    }

    /// How much of EDNS the next query has: what the server is known to take, and less with each round of silence.
    private func level(of flight: Int, at server: Int, _ now: UInt64) -> EDNSLevel {
        guard settings.servers[server].transport == .udp else {
            // A connection that is silent is lost or slow; only if a second one is, too, it may be for what the query has.
            // Probes then find out how much of it.
            return flights[flight].round < 2 ? servers[server].ability.level : .none
        }
        // A cookie that is expected protects only if silence can't talk us out of it; TCP is the way out.
        if settings.usesCookies, servers[server].cookies.isExpected { return servers[server].ability.level }
        // Old middleboxes drop EDNS queries silently.
        if !servers[server].health.everHeard, servers[server].health.lates >= 2 { return .none }
        var level = servers[server].ability.level
        var steps = flights[flight].round
        if servers[server].ability.speaksEDNS {
            // More likely the answer takes long than that it has unlearnt it.
            steps = Int(min((now - flights[flight].started) / Self.unlearnAfter, 4))
        }
        for _ in 0..<min(steps, 4) { level = level.below(flights[flight].key.dnssecOK) }
        return level
    }

    /// Copies the question to a server not heard of for long, so that no client has to wait to learn its state; and to
    /// the chosen one at a higher level of EDNS, if that did not work before. Their answers count like any other.
    mutating func sendProbes(_ flight: Int, _ route: Int, _ chosen: Int, _ now: UInt64) {
        if servers[chosen].ability.isProbeDue(now),
            let level = servers[chosen].ability.level.above(flights[flight].key.dnssecOK)
        {
            servers[chosen].ability.noteProbe(now)
            send(flight, chosen, over: settings.servers[chosen].transport, level: level, isLevelProbe: true, now)
        }
        for server in routes[route].servers where server != chosen && isProbeDue(server, now) {
            flights[flight].tried |= 1 << UInt64(server)
            send(
                flight, server, over: settings.servers[server].transport, level: level(of: flight, at: server, now), now
            )
            flights[flight].asked |= 1 << UInt64(server)
            return
        }
    }

    private func isProbeDue(_ server: Int, _ now: UInt64) -> Bool {
        let health = servers[server].health
        // A copy over a stream may cost a handshake: only to see whether the server is there at all.
        return health.isProbeDue(now)
            && (settings.servers[server].transport == .udp || health.isDown || !health.everHeard)
    }

    // MARK: Waiting for a turn

    /// Keeps the question back: the server is down, there is no other, and others are trying it already.
    mutating func hold(_ flight: Int, _ server: Int, _ now: UInt64) {
        flights[flight].heldUntil = now + Self.longestHold
        flights[flight].retryAt = min(flights[flight].heldUntil, servers[server].health.nextTurns)
        flights[flight].ticket = nextTicket
        if held.count > 2 * settings.maximumFlights {
            let all = held
            held.removeAll(keepingCapacity: true)
            for entry in all where isHeld(entry) { held.append(entry) }
        }
        held.append((flight, nextTicket))
        nextTicket += 1
    }

    private func isHeld(_ entry: (flight: Int, ticket: UInt64)) -> Bool {
        let flight = flights[entry.flight]
        return flight.isOpen && flight.heldUntil > 0 && flight.ticket == entry.ticket
    }

    /// The server has given a sign of life: asks what waits for it.
    mutating func releaseHeld(for server: Int, _ now: UInt64) {
        let waiting = held
        held.removeAll(keepingCapacity: true)
        for entry in waiting where isHeld(entry) {
            guard routes[flights[entry.flight].route].servers.contains(server) else {
                held.append(entry)
                continue
            }
            ask(entry.flight, server, now)
            schedule(entry.flight)
        }
    }

    // MARK: After silence or failure

    /// The latest attempt is overdue: asks the next server as well.
    mutating func retry(_ flight: Int, _ now: UInt64) {
        let route = flights[flight].route
        if flights[flight].heldUntil > 0 {
            guard now < flights[flight].heldUntil, let server = choose(route, excluding: 0) else {
                flights[flight].heldUntil = 0
                return giveUp(flight, now)
            }
            if servers[server].health.isDown, !servers[server].health.takeTurn(now) {
                flights[flight].retryAt = min(flights[flight].heldUntil, max(servers[server].health.nextTurns, now + 1))
                return
            }
            return ask(flight, server, now)
        }
        if flights[flight].latest >= 0 { noteLate(flights[flight].latest, now) }
        flights[flight].retryAt = .max
        guard flights[flight].sends < Self.maximumSends else { return }
        if let server = choose(route, excluding: flights[flight].tried | flights[flight].rejected) {
            return ask(flight, server, now)
        }
        let next = choose(route, excluding: flights[flight].rejected)
        if flights[flight].rejected != 0, next.map({ servers[$0].health.isDown }) ?? true {
            // One has answered with an error, and the others are silent as they were before.
            if !askDifferently(flight, now) { giveUp(flight, now) }
            return
        }
        guard let next else { return }
        flights[flight].round += 1
        flights[flight].tried = 0
        ask(flight, next, now)
    }

    /// An attempt failed: asks the next server at once, or ends the flight.
    mutating func advance(_ flight: Int, _ now: UInt64) {
        defer { schedule(flight) }
        let next = choose(flights[flight].route, excluding: flights[flight].tried | flights[flight].rejected)
        if let next, flights[flight].sends < Self.maximumSends, isWorthAsking(next, flight, now) {
            return ask(flight, next, now)
        }
        if flights[flight].attempts >= 0 || askDifferently(flight, now) { return }
        let (refusals, losses) = (flights[flight].refusals, flights[flight].losses)
        if refusals + losses > 0, refusals < Self.maximumRefusals, losses < Self.maximumLosses,
            flights[flight].rejected == 0, flights[flight].sends < Self.maximumSends
        {
            // The server may be restarting.
            flights[flight].tried = 0
            flights[flight].latest = -1
            flights[flight].retryAt = now + Self.afterRefusal << UInt64(losses)
            return
        }
        giveUp(flight, now)
    }

    /// After an error of one server, another that is down is asked only now and then, since the client waits for it.
    private func isWorthAsking(_ server: Int, _ flight: Int, _ now: UInt64) -> Bool {
        flights[flight].rejected == 0 || !servers[server].health.isDown || servers[server].health.isProbeDue(now)
    }

    /// Asks a server that answered unusably once more in another way: with less EDNS, or over TCP. False if there is no
    /// such server.
    private mutating func askDifferently(_ flight: Int, _ now: UInt64) -> Bool {
        guard flights[flight].sends < Self.maximumSends else { return false }
        let (doubted, cut) = (flights[flight].doubted, flights[flight].cutShort)
        if doubted >= 0 {
            flights[flight].doubted = -1
            // It may be the case that the server does not take.
            flights[flight].foldedBy = doubted
            flights[flight].rejected &= ~(1 << UInt64(doubted))
            let latest = send(
                flight, doubted, over: settings.servers[doubted].transport, level: flights[flight].doubtedLevel,
                isAfterError: true, now)
            flights[flight].latest = latest
            flights[flight].retryAt = now + timeout(of: doubted, settings.servers[doubted].transport, round: 0)
            return true
        }
        guard cut >= 0 else { return false }
        flights[flight].cutShort = -1
        askOverStream(flight, cut, level: level(of: flight, at: cut, now), now)
        return true
    }

    /// Fetches over TCP what did not fit, or could not be trusted, over UDP.
    mutating func askOverStream(_ flight: Int, _ server: Int, level: EDNSLevel, _ now: UInt64) {
        flights[flight].latest = send(flight, server, over: .tcp, level: level, isSecondTry: true, now)
        flights[flight].retryAt = now + Self.streamRetransmitTimeout
        schedule(flight)
    }

    // MARK: Connections and ports that open and end

    mutating func channelOpened(_ channel: UpstreamChannel, handshake: UInt32, now: UInt64) {
        guard case .stream(let number, _) = channel else { return }
        connections.noteReady(number, handshake: handshake, now)
    }

    /// The server takes no more queries on `channel`.
    mutating func channelRetires(_ channel: UpstreamChannel) {
        guard case .stream(let number, _) = channel else { return }
        connections.retire(number, &actions)
    }

    /// The network reported an error on `channel`: a closed port, no route, the end of a connection.
    mutating func channelFailed(_ channel: UpstreamChannel, _ fault: UpstreamFault, now: UInt64) {
        switch channel {
        case .port(let port):
            let waiting = ports.waitingServer(on: port)
            ports.fail(port, &actions)
            guard let server = waiting else { return }
            servers[server].errors += 1
            servers[server].lastError = fault
            servers[server].health.noteRefusal(now)
            askAgainWithout(channel, fault, isLoss: false, now)
        case .stream(let number, _): endConnection(number, fault, now)
        }
    }

    /// A connection has ended: by the server or the network if there is a fault, else because it was idle.
    mutating func endConnection(_ number: Int, _ fault: UpstreamFault?, _ now: UInt64) {
        guard let connection = connections.end(number, now: now, &actions) else { return }
        let server = connection.server
        let channel = UpstreamChannel.stream(number, over: connection.transport)
        guard let fault else { return }
        connections.noteEnd(of: connection, fault, now)
        // A server may close an idle connection at any time; a connection that has never answered is a failure of it.
        let isLoss = connection.answers > 0
        if !isLoss, connection.outstanding > 0 || fault.isVerdict {
            servers[server].errors += 1
            servers[server].lastError = fault
            // A server that has lost its cookies and has no TCP would stay unusable.
            servers[server].cookies.forget()
            if settings.servers[server].transport != .udp { servers[server].health.noteRefusal(now) }
        }
        askAgainWithout(channel, fault, isLoss: isLoss, now)
        if isLoss, connection.transport != .tcp, now < connection.used + 2_000_000 {
            // In use until now: the next question does not have to wait for a handshake.
            connections.reopen(to: server, over: connection.transport, now: now, &actions)
        }
    }

    /// Asks again for all questions that were outstanding on `channel`.
    private mutating func askAgainWithout(
        _ channel: UpstreamChannel, _ fault: UpstreamFault, isLoss: Bool, _ now: UInt64
    ) {
        let lost = attempts.indices.filter { attempts[$0].flight != -2 && attempts[$0].channel == channel }
            .map { (number: $0, generation: attempts[$0].generation) }
        for (number, generation) in lost {
            let attempt = attempts[number]
            // Another attempt's end may have ended this one, too.
            guard attempt.flight != -2, attempt.generation == generation else { continue }
            forget(number, now)
            guard attempt.flight >= 0 else { continue }
            let flight = attempt.flight
            // It was tried beside UDP, which goes on.
            if channel.transport == .tcp, settings.servers[attempt.server].transport == .udp, !attempt.isSecondTry {
                continue
            }
            if isLoss, flights[flight].sends < Self.maximumSends, flights[flight].resends < Self.maximumResends {
                // The connection has answered others meanwhile, so this was no attempt that failed.
                flights[flight].sends -= 1
                flights[flight].resends += 1
                flights[flight].latest = send(
                    flight, attempt.server, over: channel.transport, level: attempt.level,
                    isAfterError: attempt.isAfterError, isSecondTry: attempt.isSecondTry,
                    isLevelProbe: attempt.isLevelProbe, now)
                schedule(flight)
                continue
            }
            if fault == .unreachable || fault == .unresolved {
                flights[flight].refusals += 1
            } else {
                flights[flight].losses += 1
            }
            if fault.isVerdict { flights[flight].losses = Self.maximumLosses }
            flights[flight].fail(fault.extendedError, fault.text)
            advance(flight, now)
        }
    }

    /// The exchange reports that the query with `id` gets no answer, while its connection goes on.
    mutating func refused(_ channel: UpstreamChannel, id: UInt16, _ fault: UpstreamFault, now: UInt64) {
        guard let number = attempt(of: id, on: channel) else { return }
        let attempt = attempts[number]
        servers[attempt.server].errors += 1
        servers[attempt.server].lastError = fault
        servers[attempt.server].health.noteFault()
        forget(number, now)
        guard attempt.flight >= 0 else { return }
        flights[attempt.flight].rejected |= 1 << UInt64(attempt.server)
        flights[attempt.flight].fail(fault.extendedError, fault.text)
        advance(attempt.flight, now)
    }
}
