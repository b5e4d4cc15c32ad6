import DNSWire
import Lookup
import LookupLog
import Pipeline
import Platform

/// Takes one query from wire bytes to response bytes: all transports use it.
///
/// Parses, runs the `Pipeline`, ends the response (`EDNSWriter`), and logs the lookup. It never waits: if upstream must
/// be asked it returns `.needs`, and the query is handled again once upstream has answered.
struct QueryHandler: ~Copyable {
    /// The outcome for a message.
    enum Result {
        /// The buffer holds a response of this many bytes.
        case reply(Int)
        /// The same, and what rules do to it on its way.
        case impaired(Int, Faults)
        /// Not to be answered.
        case nothing
        /// Upstream has to be asked for this.
        case needs(FetchKey)
        /// A zone transfer over a stream, of the zone with this apex.
        case transfer(Name)
    }

    /// `ADDR:PORT` of upstream servers, by their numbers in decisions.
    var upstreamTexts: [[UInt8]] = []
    private let ring: LookupRing?

    init(ring: LookupRing?) { self.ring = ring }

    /// Answers `message` into `buffer`, which holds at least 512 bytes; over UDP it respects the client's limit.
    ///
    /// - Parameter isResumed: upstream has answered, as `lookup` says.
    func handle(
        _ message: UnsafeRawBufferPointer, _ request: Lookup.Request, _ lookup: inout Lookup, _ served: ServedData,
        into buffer: UnsafeMutableRawBufferPointer, isResumed: Bool = false
    ) -> Result {
        lookup.begin(request, isResumed: isResumed)
        let verdict = lookup.query.parse(message, name: &lookup.name)
        return answer(verdict, message, &lookup, served, buffer)
    }

    /// The same for a parsed message.
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
        lookup.partition = served.partition
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
        let length = finish(&lookup, writer, message, served)
        return lookup.faults.isEmpty ? .reply(length) : Self.impair(length, lookup)
    }

    /// The most bytes that the response may have.
    private func responseLimit(
        _ message: UnsafeRawBufferPointer, _ verdict: Query.Verdict, _ lookup: borrowing Lookup, _ served: ServedData,
        _ capacity: Int
    ) -> Int {
        guard lookup.request.transport == .udp else { return capacity }
        let limit = min(Int(lookup.query.payloadSize), EDNS.payloadSize, capacity)
        // The source address may be forged: a rejected query gets no more bytes than it sent.
        if case .fail = verdict { return min(limit, message.count) }
        return served.pipeline.access.admits(lookup.request.client) ? limit : min(limit, message.count)
    }

    /// Writes OPT, flags and counts, and logs the lookup; returns the length of the response.
    private func finish(
        _ lookup: inout Lookup, _ writer: EDNSWriter, _ message: UnsafeRawBufferPointer, _ served: ServedData
    ) -> Int {
        lookup.decision.answerKind = AnswerKind(lookup)
        if lookup.faults.hidesAnswer(over: lookup.request.transport) { lookup.decision.answerKind = .dropped }
        let truncated = lookup.builder.truncated
        let flags = Self.flags(lookup, truncated: truncated)
        let questions: UInt16 = lookup.query.questionLength > 0 ? 1 : 0
        if let ring {
            // Log before truncation: the log shows what was found even if the client must retry over TCP.
            lookup.builder.finish(flags: flags, questions: questions)
            ring.append(
                time: lookup.request.arrival.wall, client: lookup.request.client, transport: lookup.request.transport,
                query: lookup.query, decision: lookup.decision, faults: lookup.faults, response: lookup.builder.message,
                answers: Int(lookup.builder.answers), truncated: truncated,
                durationMicroseconds: Moment.microseconds(since: lookup.request.arrival)
                    &+ lookup.faults.delay,
                view: served.view)
        }
        if truncated { lookup.builder.truncate() }
        lookup.builder.release(reserved: writer.reserved)
        if lookup.query.hasEDNS { writer.write(&lookup, message, served, upstreamTexts) }
        lookup.builder.finish(flags: flags, questions: questions)
        return lookup.builder.length
    }

    /// Spoils the finished response where rules say so.
    @inline(never)
    private static func impair(_ length: Int, _ lookup: borrowing Lookup) -> Result {
        let faults = lookup.faults
        var random = SeededRandom(faults.seed)
        let base = lookup.builder.base
        if faults.actions.contains(.wrongID) {
            base.write(UnsafeRawPointer(base).readUInt16(0) ^ UInt16.random(in: 1...UInt16.max, using: &random), at: 0)
        }
        if faults.actions.contains(.garbage) {
            for index in Header.length..<max(length, Header.length) {
                base.write(UInt8.random(in: 0...UInt8.max, using: &random), at: index)
            }
        }
        return .impaired(length, faults)
    }

    private static func flags(_ lookup: borrowing Lookup, truncated: Bool) -> Header.Flags {
        var flags = Header.Flags(
            rawValue: Header.Flags.response.rawValue | lookup.query.flags.rawValue & 0x7800
                | lookup.decision.responseCode.rawValue & 0xF)
        // The other bits are defined for this opcode only.
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

/// A query parsed ahead of its answer.
struct ParsedQuery: ~Copyable {
    fileprivate var query = Query()
    fileprivate var name = LookupName()
    fileprivate var verdict = Query.Verdict.drop

    mutating func read(_ message: UnsafeRawBufferPointer) { verdict = query.parse(message, name: &name) }

    /// Prefetches the memory that its answer will need; see `Pipeline.prefetch`.
    func prefetch(_ pipeline: borrowing Pipeline, step: Int) {
        if verdict == .resolve { pipeline.prefetch(name, step: step) }
    }
}
