import DNSWire
import LocalData
import Lookup
import LookupLog
import Pipeline
import Platform

/// A zone being sent to a client: SOA, all records, SOA again, in as many messages as needed.
///
/// It keeps the zone as it was at the start, even if a reload replaces it.
/// - RFC: 5936 2.2.
struct ZoneTransfer {
    private let zone: Zone
    private let soa: Zone.RecordView
    private let query: [UInt8]
    private let questionLength: Int
    private let request: Lookup.Request
    private var cursor = Zone.Cursor()
    private var isFirst = true
    private(set) var isFinished = false

    /// Approximate bytes per message: large enough to be fast, small enough to be sent piecemeal.
    private static let messageSize = 16_384

    /// Nil if the zone does not exist (any more).
    init?(of apex: Name, in local: ServedData, _ message: UnsafeRawBufferPointer, _ request: Lookup.Request) {
        guard let zone = local.pipeline.zones.zone(apex: apex), let soa = zone.soaRecord else { return nil }
        self.zone = zone
        self.soa = soa
        self.request = request
        questionLength = apex.wire.count + 4
        guard message.count >= Header.length + questionLength else { return nil }
        query = Array(message[..<(Header.length + questionLength)])
    }

    /// Writes the next message into `buffer`, which holds the longest possible one; returns its length.
    ///
    /// A single record may exceed the target size; it still fits.
    mutating func next(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var header = Query()
        header.questionLength = questionLength
        return query.withUnsafeBytes { query in
            var builder = ResponseBuilder(buffer: buffer, query: header, message: query, reserved: 0)
            if isFirst { append(soa, &builder) }
            isFirst = false
            if zone.write(from: &cursor, to: Self.messageSize, &builder) { isFinished = append(soa, &builder) }
            // A record too large for any message can't be transferred.
            if builder.answers == 0 { isFinished = true }
            var flags: Header.Flags = [.response, .authoritative]
            let asked = Header.Flags(rawValue: query.baseAddress.unsafelyUnwrapped.readUInt16(2))
            if asked.contains(.recursionDesired) { flags.insert(.recursionDesired) }
            builder.finish(flags: flags, questions: 1)
            return builder.length
        }
    }

    @discardableResult
    private func append(_ record: Zone.RecordView, _ builder: inout ResponseBuilder) -> Bool {
        record.owner.withUnsafeBytes { owner in
            record.rdata.withUnsafeBytes { rdata in
                builder.append(
                    owner: .name(owner.baseAddress.unsafelyUnwrapped, length: owner.count), type: record.type,
                    ttl: record.ttl, rdata: rdata)
            }
        }
    }

    /// Logs one line for the whole transfer, with the SOA as its answer.
    func log(to ring: LookupRing?) {
        guard let ring else { return }
        var decision = Decision()
        decision.source = .zone
        decision.place = soa.place
        decision.answerKind = .transfer
        decision.authoritative = true
        withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { buffer in
            query.withUnsafeBytes { query in
                var name = LookupName()
                var header = Query()
                _ = header.parse(query, name: &name)
                var builder = ResponseBuilder(buffer: buffer, query: header, message: query, reserved: 0)
                append(soa, &builder)
                builder.finish(flags: [.response, .authoritative], questions: 1)
                ring.append(
                    time: request.arrival.wall, client: request.client, transport: request.transport, query: header,
                    decision: decision, response: builder.message, answers: Int(builder.answers),
                    durationMicroseconds: Moment.microseconds(since: request.arrival))
            }
        }
    }
}
