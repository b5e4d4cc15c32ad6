import CLinux
import DNSWire
import Glibc
import LocalData
import Lookup
import LookupLog
import Pipeline
import Platform

/// One query from wire bytes to wire bytes: the way that all transports share.
///
/// Parse, access, the local classes and types, the `SourceChain`, then the end of the response (header, OPT, TC) and
/// the lookup's log record. A serving thread owns one and reuses it, so that a query allocates nothing. It never waits:
/// what upstream has to be asked for comes back as `.miss`, and is handled again when upstream has answered.
struct QueryHandler: ~Copyable {
    /// What became of a message.
    enum Result {
        /// The buffer holds a response of this many bytes.
        case reply(Int)
        /// Not to be answered.
        case nothing
        /// Upstream has to be asked: `missedKey` says what.
        case miss
        /// A zone transfer over a stream, of the zone whose apex is `transferredName`.
        case transfer
    }

    /// Who asks, how, and when.
    struct Request {
        var client: SocketAddress
        var transport: Transport
        /// When the query came in.
        var arrival: Moment
        /// Monotonic microseconds as it is handled: later than `arrival` where it waited for upstream.
        var now: UInt64

        init(client: SocketAddress, transport: Transport, arrival: Moment) {
            self.client = client
            self.transport = transport
            self.arrival = arrival
            now = arrival.monotonic
        }
    }

    /// Set anew by the owner with each snapshot that it takes: a copy here spares every query the counting of references.
    var service: ServiceSettings
    /// `ADDR:PORT` of the servers that answers come from, by their numbers in decisions.
    var upstreamTexts: [[UInt8]] = []
    private let ring: LookupRing?
    private var name = LookupName()
    /// Names of aliases, while a chain is written.
    private var scratch = LookupName()
    private var query = Query()
    private var recursionAvailable = false
    /// Why the last answer was as it was.
    private(set) var decision = Decision()

    init(service: ServiceSettings, ring: LookupRing?) {
        self.service = service
        self.ring = ring
    }

    /// After `.miss`: what upstream is to be asked.
    var missedKey: FetchKey { FetchKey(name, question) }

    /// After `.transfer`: the apex.
    var transferredName: Name { name.name }

    /// The answer is good but runs out soon and is asked for often: fetch it again.
    var wantsPrefetch: Bool { decision.wantsPrefetch }

    private var question: Question {
        Question(
            type: query.type, mayForward: query.recursionDesired && recursionAvailable,
            dnssecOK: query.dnssecOK, checkingDisabled: query.checkingDisabled)
    }

    /// Answers `message` into `buffer`, which holds at least 512 bytes; over UDP the client's limit is kept.
    ///
    /// `upstream` says what upstream has said so far for this very query.
    mutating func handle(
        _ message: UnsafeRawBufferPointer, _ request: Request, local: ServedData,
        upstream: borrowing UpstreamState = .none, into buffer: UnsafeMutableRawBufferPointer
    ) -> Result {
        let verdict = query.parse(message, name: &name)
        return answer(verdict, message, request, local, upstream, buffer)
    }

    /// The same for a message that has been read already.
    mutating func handle(
        _ parsed: inout ParsedQuery, _ message: UnsafeRawBufferPointer, _ request: Request, local: ServedData,
        into buffer: UnsafeMutableRawBufferPointer
    ) -> Result {
        swap(&query, &parsed.query)
        swap(&name, &parsed.name)
        return answer(parsed.verdict, message, request, local, .none, buffer)
    }

    private mutating func answer(
        _ verdict: Query.Verdict, _ message: UnsafeRawBufferPointer, _ request: Request, _ local: ServedData,
        _ upstream: borrowing UpstreamState, _ buffer: UnsafeMutableRawBufferPointer
    ) -> Result {
        decision.reset()
        recursionAvailable = local.recursionAvailable
        if verdict == .drop {
            ring?.appendDropped(time: request.arrival.wall, client: request.client, transport: request.transport)
            return .nothing
        }
        let isServed = service.access.allows(request.client)
        let limit = responseLimit(message, request, verdict, isServed: isServed, buffer.count)
        let reserved = reservedLength(request, limit: limit)
        var builder = ResponseBuilder(
            buffer: UnsafeMutableRawBufferPointer(rebasing: buffer[..<limit]), query: query, message: message,
            reserved: reserved)

        if !isServed {
            decision.fail(.refused, .prohibited, "clients from this network are not served")
        } else {
            switch verdict {
            case .fail(let code): decision.fail(code)
            case .cookieOnly, .drop: break
            case .resolve:
                switch resolve(request, local, upstream, &builder) {
                case .reply: break
                case let other: return other
                }
            }
        }
        let flags = responseFlags(truncated: builder.truncated)
        // The log tells what was found, also when the client has to fetch it over TCP: so before the end is written.
        if ring != nil { builder.finish(flags: flags, questions: query.questionLength > 0 ? 1 : 0) }
        ring?.append(
            time: request.arrival.wall, client: request.client, transport: request.transport, query: query,
            decision: decision, response: builder.message, answers: Int(builder.answers),
            truncated: builder.truncated, durationMicroseconds: Moment.microseconds(since: request.arrival))
        let length = finish(&builder, flags, message, request, local.paths, reserved: reserved)
        return .reply(length)
    }

    /// Everything that is answered without looking at the transport again; `.reply` means that builder and decision
    /// are complete.
    private mutating func resolve(
        _ request: borrowing Request, _ local: ServedData, _ upstream: borrowing UpstreamState,
        _ builder: inout ResponseBuilder
    ) -> Result {
        guard query.recordClass == .in else {
            if query.recordClass == .ch {
                service.answerChaos(name, query.type, &builder, &decision)
            } else {
                decision.fail(.refused, .notSupported, "only the classes IN and CH are served")
            }
            return .reply(0)
        }
        switch query.type {
        case .axfr, .ixfr: return resolveTransfer(request, local.chain.zones, &builder)
        case .opt:
            decision.fail(.formatError)
            return .reply(0)
        case .nxname:  // RFC 9824 3.5
            decision.fail(.formatError, .invalidQueryType, "NXNAME is not a type to ask for")
            return .reply(0)
        case .tkey, .tsig, .maila, .mailb, RecordType(rawValue: 0):
            decision.fail(.notImplemented)
            return .reply(0)
        default: break
        }
        let resolution = local.chain.resolve(
            &name, question, now: request.now, fresh: upstream.answers,
            allowStale: upstream.allowStale, builder: &builder, decision: &decision, scratch: &scratch)
        if resolution == .needsUpstream {
            guard let failure = upstream.failure else { return .miss }
            decision.fail(.serverFailure, failure.error, failure.text)
        }
        return .reply(0)
    }

    /// A transfer is a stream's matter. IXFR gets the SOA alone where that says enough: the client has this zone or a
    /// newer one, or, over UDP, is to come back with TCP.
    ///
    /// - RFC: 5936 2.2.1, 4.2; 1995 2, 4; 1982 3.2.
    private mutating func resolveTransfer(
        _ request: borrowing Request, _ zones: ZoneSet, _ builder: inout ResponseBuilder
    ) -> Result {
        // Over HTTPS too an answer is one message (RFC 8484 4.2.1).
        let transport = request.transport
        let isDatagram = transport == .udp || transport == .doh
        if isDatagram, query.type == .axfr {
            decision.fail(.formatError, .notSupported, "zone transfers need TCP")
        } else if !request.client.isLoopback {
            decision.fail(.refused, .prohibited, "zones are transferred to loopback clients only")
        } else if let zone = zones.zone(apex: name) {
            let isCurrent = Int32(bitPattern: query.heldSerial &- zone.serial) >= 0
            guard isDatagram || query.type == .ixfr && isCurrent else { return .transfer }
            _ = zones.answer(
                name, nameOffset: Header.length, question: Question(type: .soa, mayForward: false), builder: &builder,
                decision: &decision)
        } else {
            decision.fail(.notAuth, .notAuthoritative, "no zone with this apex is served")
        }
        return .reply(0)
    }

    // MARK: The end of the response

    /// Bytes that the response may have.
    private func responseLimit(
        _ message: UnsafeRawBufferPointer, _ request: borrowing Request, _ verdict: Query.Verdict, isServed: Bool,
        _ capacity: Int
    ) -> Int {
        guard request.transport == .udp else { return capacity }
        var limit = min(Int(query.payloadSize), EDNS.payloadSize, capacity)
        // The sender may be forged: who is turned away at the door gets no more bytes than came.
        if case .fail = verdict { limit = min(limit, message.count) }
        if !isServed { limit = min(limit, message.count) }
        return limit
    }

    private func sendsKeepalive(_ transport: Transport) -> Bool {
        query.wantsKeepalive && (transport == .tcp || transport == .dot)
    }

    /// Bytes that are kept for the OPT record; NSID and an extended error are added only where there is room.
    private func reservedLength(_ request: borrowing Request, limit: Int) -> Int {
        guard query.hasEDNS else { return 0 }
        let wanted =
            EDNS.optLength + (query.cookieLength > 0 ? ServerCookie.optionLength : 0)
            + (sendsKeepalive(request.transport) ? 6 : 0)
        return min(wanted, limit - Header.length - query.questionLength)
    }

    private func responseFlags(truncated: Bool) -> Header.Flags {
        var flags = Header.Flags(
            rawValue: Header.Flags.response.rawValue | query.flags.rawValue & 0x7800
                | decision.responseCode.rawValue & 0xF)
        // What the other bits mean is known for this opcode only.
        if query.flags.opcode == .query {
            if query.recursionDesired { flags.insert(.recursionDesired) }
            if query.checkingDisabled { flags.insert(.checkingDisabled) }
            if recursionAvailable { flags.insert(.recursionAvailable) }
            if decision.authoritative { flags.insert(.authoritative) }
            // RFC 6840 5.8
            if decision.authenticData && query.wantsAuthenticData { flags.insert(.authenticData) }
        }
        if truncated { flags.insert(.truncated) }
        return flags
    }

    /// Writes OPT, flags and counts; returns the length of the response.
    private func finish(
        _ builder: inout ResponseBuilder, _ flags: Header.Flags, _ message: UnsafeRawBufferPointer, _ request: Request,
        _ paths: PathTexts, reserved: Int
    ) -> Int {
        if builder.truncated { builder.truncate() }
        builder.release(reserved: reserved)
        if query.hasEDNS { appendOPT(&builder, message, request, paths) }
        builder.finish(flags: flags, questions: query.questionLength > 0 ? 1 : 0)
        return builder.length
    }

    private func appendOPT(
        _ builder: inout ResponseBuilder, _ message: UnsafeRawBufferPointer, _ request: Request, _ paths: PathTexts
    ) {
        // The longest OPT we write: fixed part, cookie, keepalive, NSID, an extended error with its text, and padding.
        withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { opt in
            let base = opt.baseAddress.unsafelyUnwrapped
            base.write(UInt8(0), at: 0)
            base.write(RecordType.opt.rawValue, at: 1)
            base.write(UInt16(EDNS.payloadSize), at: 3)
            base.write(UInt8(truncatingIfNeeded: decision.responseCode.rawValue >> 4), at: 5)
            base.write(UInt8(0), at: 6)
            base.write(query.dnssecOK ? EDNS.dnssecOK : 0, at: 7)
            var length = EDNS.optLength
            let room = builder.capacity - builder.length
            if query.cookieLength > 0, length + ServerCookie.optionLength <= room {
                base.write(EDNS.Option.cookie, at: length)
                base.write(UInt16(ServerCookie.length), at: length + 2)
                service.cookie.write(
                    to: base + length + 4,
                    clientCookie: message.baseAddress.unsafelyUnwrapped + query.cookieOffset,
                    time: UInt32(truncatingIfNeeded: request.arrival.wall / 1_000_000), client: request.client)
                length += ServerCookie.optionLength
            }
            if sendsKeepalive(request.transport), length + 6 <= room {
                base.write(EDNS.Option.keepalive, at: length)
                base.write(UInt16(2), at: length + 2)
                base.write(service.keepalive, at: length + 4)
                length += 6
            }
            if query.wantsNSID, !service.identity.isEmpty, length + 4 + service.identity.count <= room {
                length = Self.append(EDNS.Option.nsid, service.identity.count, at: length, of: base) { target in
                    service.identity.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
                }
            }
            length = appendExtendedError(builder, request, paths, at: length, of: base, room: room)
            if query.wantsPadding, request.transport == .dot || request.transport == .doh {
                length = Self.pad(builder.length, length, of: base, room: min(room, opt.count))
            }
            base.write(UInt16(length - EDNS.optLength), at: 9)
            _ = builder.appendAdditional(raw: UnsafeRawBufferPointer(start: base, count: length))
        }
    }

    /// The error and its text, the reason of the answer among it; returns OPT's length. The texts are a courtesy: they
    /// give way where the packet is full.
    private func appendExtendedError(
        _ builder: borrowing ResponseBuilder, _ request: Request, _ paths: PathTexts, at length: Int,
        of base: UnsafeMutableRawPointer, room: Int
    ) -> Int {
        let error = decision.extendedError
        // That an answer is stale, its error says already.
        let isSaid = decision.source == .none || decision.source == .stale && error != nil
        let isExplained = service.explains(to: request.client) && (!isSaid || decision.hopCount > 0)
        guard error != nil || isExplained, length + 6 <= room else { return length }
        let target = base + length + 4
        let most = min(room, 512) - length - 6
        var count = 0
        if error != nil {
            let text = decision.extendedText
            if text.utf8CodeUnitCount <= most {
                (target + 2).copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
                count = text.utf8CodeUnitCount
            }
        }
        if isExplained {
            let isSecond = count > 0
            var reason = ReasonText(to: target + 2 + count, limit: most - count)
            if isSecond { reason.append(" (") }
            reason.write(
                decision, builder.message, hasNames: !builder.truncated, paths, upstream: upstreamTexts)
            if isSecond { reason.append(UInt8(ascii: ")")) }
            // Half a reason says little, but for a chain's, which is as long as it likes.
            if reason.isCut, reason.count == ReasonText.mostBytes { reason.markCut() }
            if !reason.isCut { count += reason.count }
        }
        if error == nil, count == 0 { return length }
        target.write(error?.rawValue ?? ExtendedError.other.rawValue, at: 0)
        base.write(EDNS.Option.extendedError, at: length)
        base.write(UInt16(truncatingIfNeeded: 2 + count), at: length + 2)
        return length + 6 + count
    }

    /// Makes message and OPT together a multiple of the recommended block, where there is room; returns OPT's length.
    ///
    /// - RFC: 7830 3; 8467 4.1.
    private static func pad(_ message: Int, _ length: Int, of base: UnsafeMutableRawPointer, room: Int) -> Int {
        let unpadded = message + length + 4
        let count = (EDNS.paddingBlock - unpadded % EDNS.paddingBlock) % EDNS.paddingBlock
        guard length + 4 + count <= room else { return length }
        return append(EDNS.Option.padding, count, at: length, of: base) { target in
            if count > 0 { target.initializeMemory(as: UInt8.self, repeating: 0, count: count) }
        }
    }

    private static func append(
        _ code: UInt16, _ count: Int, at length: Int, of base: UnsafeMutableRawPointer,
        write: (UnsafeMutableRawPointer) -> Void
    ) -> Int {
        base.write(code, at: length)
        base.write(UInt16(truncatingIfNeeded: count), at: length + 2)
        write(base + length + 4)
        return length + 4 + count
    }
}

/// A query that has been read ahead of its answer.
struct ParsedQuery: ~Copyable {
    fileprivate var query = Query()
    fileprivate var name = LookupName()
    fileprivate var verdict = Query.Verdict.drop

    mutating func read(_ message: UnsafeRawBufferPointer) { verdict = query.parse(message, name: &name) }

    /// Brings near the memory that its answer comes from: see `SourceChain.prefetch`.
    func prefetch(_ chain: borrowing SourceChain, step: Int) {
        if verdict == .resolve { chain.prefetch(name, step: step) }
    }
}

/// What upstream has said so far for one query that waits, and how it failed.
struct UpstreamState: Sendable {
    var answers = FreshAnswers.none
    var allowStale = false
    var failure: Failure?

    struct Failure: Sendable {
        var error: ExtendedError
        var text: StaticString
    }

    /// Not asked: what every query starts with.
    static let none = UpstreamState()
}
