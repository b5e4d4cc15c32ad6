internal import DNSWire
internal import GRDB
internal import Lookup
internal import LookupLog
import Platform

/// Writes records as rows, on the thread of the `HistoryWriter`. Keeps the numbers of frequent texts and the columns of
/// the block that is not yet full.
///
/// Valid as long as its transactions succeed. After a failed one it is replaced by a new one, which reads all of this
/// again.
final class HistoryInsertion {
    /// The next lookup's identifier.
    private(set) var next: Int64
    private var tail: HistoryTail
    private let insert: SQLStatement
    private let insertBlock: SQLStatement
    private let insertLoss: SQLStatement
    private var numbers: HistoryNumbers

    init(_ database: Database) throws {
        insert = try SQLStatement(
            database, "INSERT INTO lookup VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
        insertBlock = try SQLStatement(database, "INSERT INTO block VALUES (?,?,?,?,?,?,?)")
        insertLoss = try SQLStatement(
            database, "INSERT INTO loss (after, time, until, count, reason) VALUES (?,?,?,?,?)")
        numbers = try HistoryNumbers(database)
        tail = try HistoryTail(database)
        next = tail.next
    }

    /// Deleted rows may have been the last users of a number.
    func forgetNumbers() { numbers.forget() }

    /// The lookups that are in no block yet.
    var tailColumns: HistoryTail { tail }

    func append(_ loss: HistoryLoss) throws {
        insertLoss.bind(next - 1, 1)
        insertLoss.bind(Int64(bitPattern: loss.time), 2)
        insertLoss.bind(Int64(bitPattern: loss.until), 3)
        insertLoss.bind(Int64(loss.count), 4)
        insertLoss.bind(loss.reason.rawValue, 5)
        try insertLoss.run()
    }

    /// Bits of the column `marks`, which files of earlier versions have too.
    enum Mark {
        static let masked = 1
        static let truncated = 2
        static let dnssecOK = 4
        /// Three bits: the raw value of `UpstreamTransport`.
        static let upstreamTransport = 8
        static let upstreamTransports = 7 * upstreamTransport
        /// Two bits: the raw value of `Decision.PrivateAnswer`.
        static let privateAnswer = 64
        static let privateAnswers = 3 * privateAnswer
        /// Sixteen bits: the raw value of `UpstreamSetup`.
        static let upstreamSetup = 256
    }

    /// - Parameter upstreams: the servers that the record's index refers to.
    func append(_ record: LookupRecord, number: UInt64, upstreams: [String]) throws {
        let id = next
        let facet = try numbers.facet(Facet(record))
        let client = try numbers.client(record)
        let name = record.hasQuestion ? try numbers.name(in: record.message, at: Header.length) : 0
        insert.bind(id, 1)
        insert.bind(Int64(bitPattern: record.time), 2)
        insert.bind(Int64(bitPattern: number), 3)
        insert.bind(facet, 4)
        insert.bind(client, 5)
        insert.bind(name, 6)
        insert.bind(record.client.port, 7)
        insert.bind(record.flags.rawValue, 8)
        var marks = 0
        if record.isMasked { marks |= Mark.masked }
        if record.isTruncated { marks |= Mark.truncated }
        if record.dnssecOK { marks |= Mark.dnssecOK }
        marks |= Int(record.upstreamTransport.rawValue) * Mark.upstreamTransport & Mark.upstreamTransports
        marks |= Int(record.privateAnswer.rawValue) * Mark.privateAnswer
        marks |= Int(record.upstreamSetup.rawValue) * Mark.upstreamSetup
        insert.bind(marks, 9)
        insert.bind(record.durationMicroseconds, 10)
        let place = record.place
        if place.isNowhere {
            insert.bindNull(11)
            insert.bindNull(12)
        } else {
            insert.bind(try numbers.file(place), 11)
            insert.bind(place.line, 12)
        }
        if let index = record.upstream {
            // 0: a server without a name.
            insert.bind(upstreams.indices.contains(index) ? try numbers.upstream(upstreams[index]) : 0, 13)
        } else {
            insert.bindNull(13)
        }
        bind(record.upstream == nil ? 0 : record.upstreamMicroseconds, 14, isThere: record.upstream != nil)
        bind(record.extendedError?.rawValue ?? 0, 15, isThere: record.extendedError != nil)
        insert.bind(text: record.extendedText, 16)
        bind(record.payloadSize ?? 0, 17, isThere: record.payloadSize != nil)
        bind(UInt16(record.questionLength), 18, isThere: record.hasQuestion)
        bind(UInt16(record.answers), 19, isThere: !record.isDropped)
        if record.hopCount + record.faultCount > 0 || !record.view.isEmpty {
            let hops = try numbers.hops(record)
            hops.withUnsafeBytes { insert.bind(blob: $0, 20) }
        } else {
            insert.bindNull(20)
        }
        insert.bind(keptBlob: record.message, 21)
        try insert.run()
        next += 1
        tail.append(record.time, facet: facet, client: client, name: name, bytes: record.bytes.count)
        if tail.isFull { try closeBlock() }
    }

    private func bind(_ value: some FixedWidthInteger, _ index: Int32, isThere: Bool) {
        if isThere { insert.bind(value, index) } else { insert.bindNull(index) }
    }

    private func closeBlock() throws {
        insertBlock.bind(tail.first, 1)
        insertBlock.bind(tail.count, 2)
        insertBlock.bind(Int64(bitPattern: tail.earliest), 3)
        insertBlock.bind(Int64(bitPattern: tail.latest), 4)
        for (index, column) in [tail.facets, tail.clients, tail.names].enumerated() {
            ColumnBlock.pack(column).withUnsafeBytes { insertBlock.bind(blob: $0, Int32(5 + index)) }
        }
        try insertBlock.run()
        tail = HistoryTail(first: next)
    }
}

/// The lookups at the end of the table that are in no block yet, as columns.
struct HistoryTail {
    let first: Int64
    private(set) var facets: [UInt32] = []
    private(set) var clients: [UInt32] = []
    private(set) var names: [UInt32] = []
    private(set) var earliest = UInt64.max
    private(set) var latest: UInt64 = 0
    private var bytes = 0

    /// A block is closed early at this many bytes of records, because it is deleted as a whole.
    private static let mostBytes = 2 << 20

    init(first: Int64) { self.first = first }

    init(_ database: Database) throws {
        func one(_ sql: String) throws -> Int64 {
            let statement = try SQLStatement(database, sql)
            defer { statement.reset() }
            return try statement.step() ? statement.integer(0) : 0
        }
        let blocks = try one("SELECT first + count FROM block ORDER BY first DESC LIMIT 1")
        let lookups = try one("SELECT id + 1 FROM lookup ORDER BY id DESC LIMIT 1")
        let past = max(
            try one("SELECT after + 1 FROM loss ORDER BY after DESC LIMIT 1"),
            try one("SELECT value + 1 FROM state WHERE name = 'last'"), 1)
        // In an intact file all numbers are far below this, so adding one can't overflow.
        guard max(blocks, lookups, past) < 1 << 60 else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "it holds numbers beyond all counting")
        }
        guard lookups > blocks else {
            self.init(first: max(blocks, past))
            return
        }
        let rows = try SQLStatement(
            database, "SELECT id, time, facet, client, name FROM lookup WHERE id >= ? ORDER BY id")
        rows.bind(blocks, 1)
        var found: HistoryTail?
        while try rows.step() {
            let id = rows.integer(0)
            let time = UInt64(bitPattern: rows.integer(1))
            // Retention deletes from the front.
            var next = found?.next ?? id
            if found == nil { found = HistoryTail(first: id) }
            guard id &- next <= ColumnBlock.capacity else {
                throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "its lookups are not in a row")
            }
            // A row deleted from the middle, by other software, keeps its place.
            while next < id {
                found?.append(time, facet: 0, client: 0, name: 0, bytes: 0)
                next += 1
            }
            found?.append(
                time, facet: UInt32(truncatingIfNeeded: rows.integer(2)),
                client: UInt32(truncatingIfNeeded: rows.integer(3)), name: UInt32(truncatingIfNeeded: rows.integer(4)),
                bytes: 0)
        }
        self = found ?? HistoryTail(first: max(blocks, past))
    }

    var count: Int { facets.count }
    var next: Int64 { first + Int64(count) }
    var isFull: Bool { count >= ColumnBlock.capacity || bytes >= Self.mostBytes }

    mutating func append(_ time: UInt64, facet: UInt32, client: UInt32, name: UInt32, bytes: Int) {
        facets.append(facet)
        clients.append(client)
        names.append(name)
        earliest = min(earliest, time)
        latest = max(latest, time)
        self.bytes += bytes
    }
}
