import DNSWire
import Lookup
import Platform

/// What counts as an answer.
extension ForwardCore {
    /// An error message is never longer, in bytes.
    private static let longestFallback = 4_096

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
        if case .stream(let connection, _) = channel { connections.noteArrival(connection, now) }
        guard attempt.flight >= 0 else { return receivedLate(message, flags, number, now) }
        let key = flights[attempt.flight].key
        let echo = UpstreamQueries.echo(of: message, key, caseMask: attempt.caseMask)
        // Servers that don't understand a query may return just the header.
        let isBareError =
            message.count == Header.length && base.readUInt16(4) == 0 && flags.responseCode != .noError
        guard echo != .other || isBareError else { return }
        var reply = Reply(message: message, flags: flags, summary: MessageReader.walk(message))
        reply.hasQuestion = echo != .other
        guard takeCookie(of: reply, number, now) else { return }
        if echo == .otherCase, attempt.caseMask != 0 { return receivedOtherCase(number, now) }
        noteReply(attempt, rtt: reply.code == .noError || reply.code == .nxDomain, now)

        if flags.contains(.truncated), !attempt.isStream {
            forget(number, now)
            // A truncated answer is fetched over TCP from the same server.
            return askOverStream(attempt.flight, attempt.server, level: attempt.level, now)
        }
        judge(reply, number, now, accept)
    }

    private struct Reply {
        let message: UnsafeRawBufferPointer
        let flags: Header.Flags
        /// Nil if the message is malformed.
        let summary: MessageReader.Summary?
        var hasQuestion = false

        var code: ResponseCode {
            guard let opt = summary?.opt else { return flags.responseCode }
            return ResponseCode(rawValue: flags.responseCode.rawValue | UInt16(opt.ttl >> 24) << 4)
        }

        /// Something is missing that the answer may rest on.
        var isCut: Bool { summary.map { !$0.hasAuthority || !$0.isSound } ?? true }

        /// A referral, or nothing at all, from a server that does not resolve for us: it has no records for the
        /// question, does not say that there are none, and has asked nobody.
        var isLame: Bool {
            guard let summary, code == .noError, summary.answers == 0,
                !flags.contains(.authoritative), !flags.contains(.recursionAvailable)
            else { return false }
            var cursor = summary.records
            for _ in 0..<summary.authority {
                guard let record = MessageReader.record(message, at: cursor) else { return true }
                if record.type == .soa { return false }
                cursor = record.end
            }
            return true
        }
    }

    private func setup(_ attempt: Attempt) -> UpstreamSetup {
        guard case .stream(let connection, _) = attempt.channel else { return .none }
        return attempt.waitedForConnection
            ? UpstreamSetup(microseconds: connections[connection].handshake) : .reused
    }

    private mutating func judge(
        _ reply: Reply, _ number: Int, _ now: UInt64,
        _ accept: (FetchKey, UnsafeRawBufferPointer, MessageReader.Summary) -> Bool
    ) {
        let attempt = attempts[number]
        let (flight, server) = (attempt.flight, attempt.server)
        let isGood = reply.code == .noError || reply.code == .nxDomain || reply.code == .yxDomain
        // The same question is still on its way to this server at the level that it takes.
        if attempt.isLevelProbe, !isGood { return forget(number, now) }
        let origin = UpstreamReply(
            server: server, address: settings.servers[server].address, transport: attempt.channel.transport,
            microseconds: UInt32(clamping: now - min(now, attempt.sent)), setup: setup(attempt),
            isReduced: attempt.level < servers[server].ability.level)
        switch reply.code {
        case .noError, .nxDomain, .yxDomain:
            if let refusal = unusable(reply, attempt) {
                flights[flight].fail(.invalidData, refusal)
            } else if let summary = reply.summary, accept(flights[flight].key, reply.message, summary) {
                noteUse(of: attempt, hasOPT: summary.opt != nil, now)
                forget(number, now)
                return finish(flight, .answered(origin), now)
            } else {
                flights[flight].fail(.invalidData, "upstream's answer can't be used")
                if reply.isCut, !attempt.isStream {
                    // Longer than what we can take, or cut on its way: TCP has all of it.
                    if reply.message.count > EDNS.payloadSize {
                        forget(number, now)
                        return askOverStream(flight, server, level: attempt.level, now)
                    }
                    flights[flight].cutShort = server
                }
            }
            servers[server].health.noteFault()
        case .formatError where attempt.level > .none, .badVersion where attempt.level > .none:
            let level = reply.summary?.opt == nil ? .none : attempt.level.below(flights[flight].key.dnssecOK)
            forget(number, now)
            flights[flight].latest = send(
                flight, server, over: attempt.channel.transport, level: level, isAfterError: true, now)
            return schedule(flight)
        case .badCookie where attempt.level == .full && !attempt.isStream:
            // The server sent the cookie that it wants.
            return askAgain(number, now)
        case .serverFailure:
            keepError(reply, origin, flight)
            flights[flight].fail(.noReachableAuthority, "upstream failed to resolve the name")
            doubt(attempt, reply)
        default:
            keepError(reply, origin, flight)
            servers[server].health.noteFault()
            flights[flight].fail(
                .noReachableAuthority,
                reply.code == .refused ? "upstream refused the question" : "upstream answered an error")
            doubt(attempt, reply)
        }
        forget(number, now)
        servers[server].errors += 1
        flights[flight].rejected |= 1 << UInt64(server)
        advance(flight, now)
    }

    /// Why a message with a good RCODE is no answer; nil if it may be one.
    private func unusable(_ reply: Reply, _ attempt: Attempt) -> StaticString? {
        if attempt.isStream, reply.flags.contains(.truncated) { return "upstream's answer over TCP is truncated" }
        if !reply.hasQuestion { return "upstream's answer can't be used" }
        if reply.isLame { return "upstream does not resolve names for this resolver" }
        return nil
    }

    /// Keeps an error message for the client, in case nothing better arrives: SERVFAIL, or another that has a reason.
    private mutating func keepError(_ reply: Reply, _ origin: UpstreamReply, _ flight: Int) {
        guard let summary = reply.summary, reply.hasQuestion, reply.message.count <= Self.longestFallback else {
            return
        }
        let hasReason =
            summary.opt.map { MessageReader.option(EDNS.Option.extendedError, $0, reply.message) != nil } ?? false
        let worth = (hasReason ? 2 : 0) + (reply.code == .serverFailure ? 1 : 0)
        guard worth > flights[flight].fallbackWorth else { return }
        flights[flight].fallbackWorth = worth
        flights[flight].fallback = Array(reply.message)
        flights[flight].fallbackReply = origin
    }

    /// An error may be due to EDNS if the server has not shown that it speaks it, or has left OPT out of this one.
    private mutating func doubt(_ attempt: Attempt, _ reply: Reply) {
        guard attempt.level > .none,
            reply.summary?.opt == nil || !servers[attempt.server].ability.speaksEDNS
        else { return }
        flights[attempt.flight].doubted = attempt.server
        flights[attempt.flight].doubtedLevel =
            reply.summary?.opt == nil ? .none : attempt.level.below(flights[attempt.flight].key.dnssecOK)
    }

    /// The answer is used: what was tried to get it tells what the server can take.
    private mutating func noteUse(of attempt: Attempt, hasOPT: Bool, _ now: UInt64) {
        let server = attempt.server
        servers[server].ability.noteAnswer(
            at: attempt.level, hasOPT: hasOPT, afterError: attempt.isAfterError, now)
        guard settings.servers[server].transport == .udp else { return }
        if attempt.caseMask != 0 {
            servers[server].ability.noteKeptCase()
        } else if flights[attempt.flight].foldedBy == server {
            // It was asked without random case because its reply had changed it, and has been answered so.
            servers[server].ability.noteFoldedCase(now)
        }
        if !attempt.isStream {
            servers[server].ability.noteDatagram()
            servers[server].onlyOverStream = 0
        } else if !attempt.isSecondTry {
            servers[server].onlyOverStream += 1
            if servers[server].onlyOverStream >= 2 { servers[server].ability.noteAnsweredOnlyOverStream(now) }
        }
    }

    /// Only the case of the question differs: a forgery, or a server that does not keep it. TCP can't be forged so
    /// easily; if it fails, too, the question is asked without random case.
    private mutating func receivedOtherCase(_ number: Int, _ now: UInt64) {
        let attempt = attempts[number]
        forget(number, now)
        flights[attempt.flight].foldedBy = attempt.server
        askOverStream(attempt.flight, attempt.server, level: attempt.level, now)
    }

    /// An answer whose question is gone proves the server alive; nothing else can be checked.
    private mutating func receivedLate(
        _ message: UnsafeRawBufferPointer, _ flags: Header.Flags, _ number: Int, _ now: UInt64
    ) {
        let attempt = attempts[number]
        if attempt.isOrphan {
            noteReply(attempt, rtt: true, now)
            if attempt.level > servers[attempt.server].ability.level || !servers[attempt.server].ability.speaksEDNS,
                flags.responseCode == .noError || flags.responseCode == .nxDomain,
                let opt = MessageReader.walk(message)?.opt, isOwnCookie(opt, message, attempt)
            {
                servers[attempt.server].ability.noteAnswer(
                    at: max(attempt.level, servers[attempt.server].ability.level), hasOPT: true, afterError: false, now)
            }
        }
        forget(number, now)
    }

    // MARK: Cookies

    /// Whether the reply may be used as far as cookies are concerned.
    ///
    /// - RFC: 7873 5.3.
    private mutating func takeCookie(of reply: Reply, _ number: Int, _ now: UInt64) -> Bool {
        let attempt = attempts[number]
        guard attempt.level == .full, settings.usesCookies, attempt.channel.transport.isPlain else { return true }
        if let opt = reply.summary?.opt, let cookie = MessageReader.option(EDNS.Option.cookie, opt, reply.message) {
            // A forger can't answer over TCP; there, a malformed cookie is only a fault of the server.
            return servers[attempt.server].cookies.take(cookie) || attempt.isStream
        }
        guard servers[attempt.server].cookies.isExpected else { return true }
        // Over UDP it may be forged, so it does not count. Over TCP it does not: the server has no cookies any more.
        guard attempt.isStream else {
            askAgain(number, now)
            return false
        }
        servers[attempt.server].cookies.forget()
        return true
    }

    /// Whether a late reply has our cookie, or none: with another, it would not be taken.
    private mutating func isOwnCookie(
        _ opt: MessageReader.Record, _ message: UnsafeRawBufferPointer, _ attempt: Attempt
    ) -> Bool {
        guard attempt.level == .full, settings.usesCookies, attempt.channel.transport.isPlain,
            let cookie = MessageReader.option(EDNS.Option.cookie, opt, message)
        else { return true }
        return servers[attempt.server].cookies.take(cookie)
    }

    /// Asks the same server again because of its cookie: over UDP once, then over TCP (RFC 7873 5.3).
    private mutating func askAgain(_ number: Int, _ now: UInt64) {
        let attempt = attempts[number]
        forget(number, now)
        if attempt.isSecondTry { return askOverStream(attempt.flight, attempt.server, level: attempt.level, now) }
        flights[attempt.flight].latest = send(
            attempt.flight, attempt.server, over: .udp, level: attempt.level, isSecondTry: true, now)
        schedule(attempt.flight)
    }

    // MARK: The server's state

    private mutating func noteReply(_ attempt: Attempt, rtt: Bool, _ now: UInt64) {
        let server = attempt.server
        lastReply = (attempt.sent, server)
        servers[server].answers += 1
        servers[server].health.noteArrival(now)
        let isUsual = attempt.isStream == (settings.servers[server].transport != .udp)
        if rtt, isUsual, !attempt.waitedForConnection { servers[server].health.noteRTT(sent: attempt.sent, now) }
        if !held.isEmpty { releaseHeld(for: server, now) }
    }

    mutating func noteLate(_ number: Int, _ now: UInt64) {
        let attempt = attempts[number]
        guard attempt.flight != -2, !attempt.wasLate else { return }
        attempts[number].wasLate = true
        let server = attempt.server
        servers[server].timeouts += 1
        if !attempt.isLevelProbe {
            servers[server].health.noteLate(sent: attempt.sent, isRepeat: attempt.isRepeat, now)
        }
        // Without TCP, a server that has lost its cookies would stay unusable.
        if case .stream(let connection, _) = attempt.channel, connections[connection].answers == 0 {
            servers[server].cookies.forget()
        }
    }
}
