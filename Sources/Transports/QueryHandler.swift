import DNSWire
import Lookup
import LookupLog
import Pipeline
import Platform

/// One query from wire bytes to wire bytes: the way that all transports share.
///
/// Parse, the `Pipeline`, the end of the response (`EDNSWriter`), and the lookup's log record. It never waits: what
/// upstream has to be asked for comes back as `.needs`, and the lookup is handled again when upstream has answered.
struct QueryHandler: ~Copyable {
    /// What became of a message.
    enum Result {
        /// The buffer holds a response of this many bytes.
        case reply(Int)
        /// Not to be answered.
        case nothing
        /// Upstream has to be asked for this.
        case needs(FetchKey)
        /// A zone transfer over a stream, of the zone with this apex.
        case transfer(Name)
    }

    /// `ADDR:PORT` of the servers that answers come from, by their numbers in decisions.
    var upstreamTexts: [[UInt8]] = []
    private let ring: LookupRing?

    init(ring: LookupRing?) { self.ring = ring }

    /// Answers `message` into `buffer`, which holds at least 512 bytes; over UDP the client's limit is kept.
    func handle(
        _ message: UnsafeRawBufferPointer, _ request: Lookup.Request, _ lookup: inout Lookup, _ served: ServedData,
        into buffer: UnsafeMutableRawBufferPointer
    ) -> Result {
        lookup.begin(request)
        let verdict = lookup.query.parse(message, name: &lookup.name)
        return answer(verdict, message, &lookup, served, buffer)
    }

    /// The same for a message that has been read already.
    func handle(
        _ parsed: inout ParsedQuery, _ message: UnsafeRawBufferPointer, _ request: Lookup.Request,
        _ lookup: inout Lookup, _ served: ServedData, into buffer: UnsafeMutableRawBufferPointer
    ) -> Result {
        lookup.begin(request)
        swap(&lookup.query, &parsed.query)
        swap(&lookup.name, &parsed.name)
        return answer(parsed.verdict, message, &lookup, served, buffer)
    }

    private func answer(
        _ verdict: Query.Verdict, _ message: UnsafeRawBufferPointer, _ lookup: inout Lookup, _ served: ServedData,
        _ buffer: UnsafeMutableRawBufferPointer
    ) -> Result {
        if verdict == .drop {
            ring?.appendDropped(
                time: lookup.request.arrival.wall, client: lookup.request.client, transport: lookup.request.transport)
            return .nothing
        }
        lookup.recursionAvailable = served.recursionAvailable
        lookup.takeQuestion()
        let limit = responseLimit(message, verdict, lookup, served, buffer.count)
        let writer = EDNSWriter(lookup, served, limit: limit)
        lookup.builder.begin(
            UnsafeMutableRawBufferPointer(rebasing: buffer[..<limit]), query: lookup.query, message: message,
            reserved: writer.reserved)

        switch verdict {
        case .fail(let code):
            if served.pipeline.access.answer(&lookup) == .pass { lookup.decision.fail(code) }
        case .cookieOnly: _ = served.pipeline.access.answer(&lookup)
        case .drop: break
        case .resolve:
            switch served.pipeline.answer(&lookup) {
            case .needs:
                if let key = lookup.wanted { return .needs(key) }
            case .transfer: return .transfer(lookup.name.name)
            case .answered, .pass, .chase: break
            }
        }
        return .reply(finish(&lookup, writer, message, served))
    }

    /// Bytes that the response may have.
    private func responseLimit(
        _ message: UnsafeRawBufferPointer, _ verdict: Query.Verdict, _ lookup: borrowing Lookup, _ served: ServedData,
        _ capacity: Int
    ) -> Int {
        guard lookup.request.transport == .udp else { return capacity }
        let limit = min(Int(lookup.query.payloadSize), EDNS.payloadSize, capacity)
        // The sender may be forged: who is turned away at the door gets no more bytes than came.
        if case .fail = verdict { return min(limit, message.count) }
        return served.pipeline.access.admits(lookup.request.client) ? limit : min(limit, message.count)
    }

    /// Writes OPT, flags and counts, and the lookup's log record; returns the length of the response.
    private func finish(
        _ lookup: inout Lookup, _ writer: EDNSWriter, _ message: UnsafeRawBufferPointer, _ served: ServedData
    ) -> Int {
        lookup.decision.answerKind = AnswerKind(lookup)
        let truncated = lookup.builder.truncated
        let flags = Self.flags(lookup, truncated: truncated)
        let questions: UInt16 = lookup.query.questionLength > 0 ? 1 : 0
        if let ring {
            // The log tells what was found, also when the client has to fetch it over TCP: so before the end is written.
            lookup.builder.finish(flags: flags, questions: questions)
            ring.append(
                time: lookup.request.arrival.wall, client: lookup.request.client, transport: lookup.request.transport,
                query: lookup.query, decision: lookup.decision, response: lookup.builder.message,
                answers: Int(lookup.builder.answers), truncated: truncated,
                durationMicroseconds: Moment.microseconds(since: lookup.request.arrival))
        }
        if truncated { lookup.builder.truncate() }
        lookup.builder.release(reserved: writer.reserved)
        if lookup.query.hasEDNS { writer.write(&lookup, message, served, upstreamTexts) }
        lookup.builder.finish(flags: flags, questions: questions)
        return lookup.builder.length
    }

    private static func flags(_ lookup: borrowing Lookup, truncated: Bool) -> Header.Flags {
        var flags = Header.Flags(
            rawValue: Header.Flags.response.rawValue | lookup.query.flags.rawValue & 0x7800
                | lookup.decision.responseCode.rawValue & 0xF)
        // What the other bits mean is known for this opcode only.
        if lookup.query.flags.opcode == .query {
            if lookup.query.recursionDesired { flags.insert(.recursionDesired) }
            if lookup.query.checkingDisabled { flags.insert(.checkingDisabled) }
            if lookup.recursionAvailable { flags.insert(.recursionAvailable) }
            if lookup.decision.authoritative { flags.insert(.authoritative) }
            // RFC 6840 5.8
            if lookup.decision.authenticData && lookup.query.wantsAuthenticData { flags.insert(.authenticData) }
        }
        if truncated { flags.insert(.truncated) }
        return flags
    }
}

/// A query that has been read ahead of its answer.
struct ParsedQuery: ~Copyable {
    fileprivate var query = Query()
    fileprivate var name = LookupName()
    fileprivate var verdict = Query.Verdict.drop

    mutating func read(_ message: UnsafeRawBufferPointer) { verdict = query.parse(message, name: &name) }

    /// Brings near the memory that its answer comes from: see `Pipeline.prefetch`.
    func prefetch(_ pipeline: borrowing Pipeline, step: Int) {
        if verdict == .resolve { pipeline.prefetch(name, step: step) }
    }
}
