import DNSWire
import LocalData
import Lookup
import LookupLog
import Pipeline
import Platform

/// A zone on its way to a client: SOA, all records, SOA again, in as many messages as it takes.
///
/// It keeps the zone as it was when the transfer began, whatever is loaded meanwhile.
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

    /// Bytes of a message, about: large enough to be quick, small enough to be sent piece by piece.
    private static let messageSize = 16_384

    /// Nil when the zone is not there (any more).
    init?(of apex: Name, in local: ServedData, _ message: UnsafeRawBufferPointer, _ request: Lookup.Request) {
        guard let zone = local.pipeline.zones.zone(apex: apex), let soa = zone.soaRecord else { return nil }
        self.zone = zone
        self.soa = soa
        self.request = request
        questionLength = apex.wire.count + 4
        guard message.count >= Header.length + questionLength else { return nil }
        query = Array(message[..<(Header.length + questionLength)])
    }

    /// Writes the next message into `buffer`, which takes the longest; returns its length.
    ///
    /// One record may be larger than a message should be, so that there is always room for one more.
    mutating func next(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var header = Query()
        header.questionLength = questionLength
        return query.withUnsafeBytes { query in
            var builder = ResponseBuilder(buffer: buffer, query: header, message: query, reserved: 0)
            if isFirst { append(soa, &builder) }
            isFirst = false
            if zone.write(from: &cursor, to: Self.messageSize, &builder) { isFinished = append(soa, &builder) }
            // A record that fits into no message of its own can't be transferred at all.
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

    /// One line for the whole transfer, with the SOA as its answer.
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
