internal import DNSWire
internal import GRDB
import Lookup
internal import LookupLog
import Platform

/// Turns rows back into records.
struct LookupReader {
    private let database: Database
    private let row: SQLStatement?
    private var files: [Int64: Place] = [:]
    private var facets: [Int64: Facet] = [:]
    private var clients: [Int64: (address: SocketAddress, process: ClientProcess?)] = [:]
    /// The servers, and each number's index in this list.
    let upstreams: [String]
    private let upstreamPlaces: [Int64: Int]

    /// An index that is in no list.
    private static let unknownUpstream = Int(Int16.max)

    init(_ database: Database) {
        self.database = database
        row = try? SQLStatement(
            cached: """
                SELECT time, number, facet, client, port, flags, marks, duration, file, line, upstream, upstream_us,
                ede, ede_text, payload, question, answers, hops, message FROM lookup WHERE id = ?
                """, database)
        var upstreams: [String] = []
        var places: [Int64: Int] = [:]
        if let rows = try? SQLStatement(cached: "SELECT id, address FROM upstream ORDER BY id", database) {
            while (try? rows.step()) == true, upstreams.count < Self.unknownUpstream {
                places[rows.integer(0)] = upstreams.count
                upstreams.append(rows.text(1))
            }
        }
        self.upstreams = upstreams
        upstreamPlaces = places
    }

    /// The process in the columns `pid` and `command`.
    static func process(_ row: SQLStatement, _ first: Int32) -> ClientProcess? {
        guard let pid = row.value(first, Int32.self), pid > 0 else { return nil }
        return ClientProcess(pid: pid, command: row.text(first + 1))
    }

    /// Nil if the lookup does not exist, or is outside the time range.
    mutating func lookup(_ id: Int64, since: UInt64, until: UInt64) throws -> StoredLookup? {
        guard let row else { return nil }
        defer { row.reset() }
        row.bind(id, 1)
        guard try row.step() else { return nil }
        let time = UInt64(bitPattern: row.integer(0))
        guard time >= since, time < until, let facet = try facet(row.integer(2)),
            let client = try client(row.integer(3))
        else { return nil }
        var fields = LookupFields(client: client.address.withPort(row.value(4) ?? 0))
        fields.time = time
        fields.process = client.process
        fields.transport = facet.transport
        fields.answerKind = facet.kind
        fields.type = facet.type
        fields.recordClass = facet.recordClass
        fields.responseCode = facet.code ?? .noError
        fields.source = facet.source
        fields.flags = Header.Flags(rawValue: row.value(5) ?? 0)
        let marks = Int(row.integer(6))
        fields.isMasked = marks & HistoryInsertion.Mark.masked != 0
        let privateAnswer = (marks & HistoryInsertion.Mark.privateAnswers) / HistoryInsertion.Mark.privateAnswer
        fields.privateAnswer = Decision.PrivateAnswer(rawValue: UInt8(privateAnswer)) ?? .none
        fields.isTruncated = marks & HistoryInsertion.Mark.truncated != 0
        fields.dnssecOK = marks & HistoryInsertion.Mark.dnssecOK != 0
        let upstreamTransport =
            (marks & HistoryInsertion.Mark.upstreamTransports) / HistoryInsertion.Mark.upstreamTransport
        fields.upstreamTransport = UpstreamTransport(rawValue: UInt8(upstreamTransport)) ?? .udp
        fields.upstreamSetup = UpstreamSetup(
            rawValue: UInt16(truncatingIfNeeded: marks / HistoryInsertion.Mark.upstreamSetup))
        fields.durationMicroseconds = row.value(7) ?? 0
        if let file = row.value(8, Int64.self) { fields.place = try place(file, line: row.value(9) ?? 0) }
        if let upstream = row.value(10, Int64.self) {
            fields.upstream = upstreamPlaces[upstream] ?? Self.unknownUpstream
            fields.upstreamMicroseconds = row.value(11) ?? 0
        }
        fields.extendedError = row.value(12).map(ExtendedError.init(rawValue:))
        fields.extendedText = Array(row.bytes(13))
        fields.payloadSize = row.value(14)
        // It is an offset into the message: a number from a file must not point beyond it.
        fields.message = Array(row.bytes(18).prefix(LookupRecord.maximumMessageLength))
        let question = Int(row.value(15, UInt16.self) ?? 0)
        fields.questionLength = Header.length + question <= fields.message.count ? question : 0
        fields.answers = Int(row.value(16, UInt16.self) ?? 0)
        try readHops(Array(row.bytes(17)), &fields)
        return StoredLookup(id: id, number: UInt64(bitPattern: row.integer(1)), fields)
    }

    private mutating func facet(_ number: Int64) throws -> Facet? {
        if let facet = facets[number] { return facet }
        let row = try SQLStatement(cached: "SELECT \(Facet.columns) FROM facet WHERE id = ?", database)
        defer { row.reset() }
        row.bind(number, 1)
        guard try row.step() else { return nil }
        let facet = Facet(row, 0)
        facets[number] = facet
        return facet
    }

    private mutating func client(_ number: Int64) throws -> (address: SocketAddress, process: ClientProcess?)? {
        if let client = clients[number] { return client }
        let row = try SQLStatement(cached: "SELECT address, pid, command FROM client WHERE id = ?", database)
        defer { row.reset() }
        row.bind(number, 1)
        guard try row.step(), let address = SocketAddress(ip: row.text(0), port: 0) else { return nil }
        let client = (address, Self.process(row, 1))
        clients[number] = client
        return client
    }

    private mutating func place(_ number: Int64, line: UInt32) throws -> Place {
        if let place = files[number] { return Place(file: place.file, line: line) }
        let row = try SQLStatement(cached: "SELECT path FROM file WHERE id = ?", database)
        defer { row.reset() }
        row.bind(number, 1)
        guard try row.step() else { return .nowhere }
        let place = Place(path: row.text(0))
        files[number] = place
        return Place(file: place.file, line: line)
    }

    private mutating func readHops(_ bytes: [UInt8], _ fields: inout LookupFields) throws {
        var cursor = 0
        func next(_ count: Int) -> UInt32 {
            defer { cursor += count }
            return bytes[cursor..<cursor + count].reduce(0) { $0 << 8 | UInt32($1) }
        }
        while cursor + HistoryNumbers.hopLength <= bytes.count {
            let offset = UInt16(next(2))
            let source = UInt8(next(1))
            let file = next(4)
            let line = next(4)
            let place = file == 0 ? .nowhere : try place(Int64(file), line: line)
            if source == HistoryNumbers.view {
                fields.view = place.path
            } else if source == HistoryNumbers.fault {
                fields.faults.append(Faults.Entry(actions: .init(rawValue: offset), place: place))
            } else {
                fields.hops.append(
                    Decision.Hop(nameOffset: offset, source: SourceKind(rawValue: source) ?? .none, place: place))
            }
        }
    }
}
