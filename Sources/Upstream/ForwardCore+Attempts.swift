import DNSWire
import Lookup
import Platform

/// Messages that are sent, and the memory of them.
extension ForwardCore {
    private static let blank = [UInt8](repeating: 0, count: UpstreamQueries.maximumLength)

    @discardableResult
    mutating func send(
        _ flight: Int, _ server: Int, over transport: UpstreamTransport, level: EDNSLevel, isAfterError: Bool = false,
        isSecondTry: Bool = false, isLevelProbe: Bool = false, _ now: UInt64
    ) -> Int {
        let channel: UpstreamChannel
        var waitsForConnection = false
        if transport == .udp {
            var avoided = -1
            let latest = flights[flight].latest
            if latest >= 0, case .port(let port) = attempts[latest].channel { avoided = port }
            channel = .port(ports.take(for: server, avoiding: avoided, random: random.next(), now: now, &actions))
        } else {
            // TCP retransmits by itself, unless the connection is dead.
            if !isLevelProbe, let known = attempt(of: flight, at: server, over: transport) {
                guard isSilent(known), case .stream(let silent, _) = attempts[known].channel else {
                    if isSecondTry { attempts[known].isSecondTry = true }
                    return known
                }
                connections.doubt(silent)
            }
            let mine = flights[flight].attempts
            let number = connections.take(for: server, over: transport, now: now, &actions) {
                [attempts] connection in
                var number = isLevelProbe ? -1 : mine
                while number >= 0 {
                    if attempts[number].channel == .stream(connection, over: transport) { return true }
                    number = attempts[number].next
                }
                return false
            }
            channel = connections.channel(number)
            waitsForConnection = !connections[number].isReady
            flights[flight].streamed |= 1 << UInt64(server)
            if !isLevelProbe, let known = attempt(of: flight, on: channel) {
                connections.release(number, now, &actions)
                return known
            }
        }
        servers[server].queries += 1
        servers[server].health.noteSent(now)
        flights[flight].sends += 1

        let bits = random.next()
        var id = UInt16(truncatingIfNeeded: bits)
        while attempt(of: id, on: channel) != nil { id = UInt16(truncatingIfNeeded: random.next()) }
        let usesCase =
            settings.randomizesCase && transport == .udp && flights[flight].foldedBy < 0 && flights[flight].round < 2
            && servers[server].ability.keepsCase(now)
        let caseMask = usesCase ? random.next() : 0
        let number = add(
            Attempt(
                flight: flight, server: server, channel: channel, id: id, caseMask: caseMask, sent: now, level: level,
                isAfterError: isAfterError, isSecondTry: isSecondTry, isLevelProbe: isLevelProbe,
                isRepeat: flights[flight].asked >> UInt64(server) & 1 == 1, waitedForConnection: waitsForConnection,
                next: flights[flight].attempts))
        flights[flight].attempts = number
        attemptOfID.insert(channel.number << 16 | UInt64(id), number)

        let start = outbox.count
        outbox.append(contentsOf: Self.blank)
        let jar = settings.usesCookies && transport.isPlain ? servers[server].cookies : nil
        let key = flights[flight].key
        let length = outbox.withUnsafeMutableBytes { bytes in
            let base = bytes.baseAddress.unsafelyUnwrapped + start
            return servers[server].templates.write(
                key, id: id, caseMask: caseMask, level: level, jar: jar, isPadded: !transport.isPlain, to: base)
        }
        outbox.removeLast(outbox.count - start - length)
        actions.append(
            .send(OutgoingMessage(channel: channel, server: server, bytes: start..<(start + length))))
        return number
    }

    /// Nothing has arrived on the attempt's connection since it was sent, and that is long ago: another one is tried.
    private func isSilent(_ number: Int) -> Bool {
        guard case .stream(let connection, _) = attempts[number].channel else { return false }
        // A query that waited for its connection was sent only when that was ready.
        let hasNever = connections[connection].isReady && connections[connection].answers == 0
        return attempts[number].wasLate && (hasNever || connections[connection].silentSince <= attempts[number].sent)
    }

    private func attempt(of flight: Int, on channel: UpstreamChannel) -> Int? {
        var number = flights[flight].attempts
        while number >= 0, attempts[number].channel != channel { number = attempts[number].next }
        return number >= 0 ? number : nil
    }

    /// The flight's newest attempt at `server` over `transport`.
    private func attempt(of flight: Int, at server: Int, over transport: UpstreamTransport) -> Int? {
        var number = flights[flight].attempts
        while number >= 0 {
            let attempt = attempts[number]
            if attempt.server == server, attempt.channel.transport == transport, !attempt.isLevelProbe { return number }
            number = attempt.next
        }
        return nil
    }

    private mutating func add(_ attempt: Attempt) -> Int {
        if let free = freeAttempts.popLast() {
            let generation = attempts[free].generation &+ 1
            attempts[free] = attempt
            attempts[free].generation = generation
            return free
        }
        attempts.append(attempt)
        return attempts.count - 1
    }

    func attempt(of id: UInt16, on channel: UpstreamChannel) -> Int? {
        let key = channel.number << 16 | UInt64(id)
        return attemptOfID.find(key) { attempts[$0].channel.number << 16 | UInt64(attempts[$0].id) == key }
    }

    /// Ends the attempt: its ID is free, and a late answer is ignored.
    mutating func forget(_ number: Int, _ now: UInt64) {
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
        case .stream(let connection, _): connections.release(connection, now, &actions)
        }
    }
}
