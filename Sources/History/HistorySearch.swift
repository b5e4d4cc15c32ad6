internal import DNSWire
internal import GRDB
import Lookup
internal import LookupLog
import Platform

/// One search, on a snapshot of the database.
///
/// First the filter's conditions on names, clients and facets become sets of numbers. Then it goes through the blocks
/// from the requested end: most are skipped because none of their values is wanted; the others cost a few operations
/// per lookup. Only the lookups found are read.
struct HistorySearch {
    private let database: Database
    private var reader: LookupReader
    /// Nil: no condition.
    private var facets: IdentifierSet?
    private var clients: IdentifierSet?
    private var names: IdentifierSet?
    /// Empty: no condition. Few lookups have one, so it is only looked at in those that all else fits.
    private var views: [String] = []
    private var since: UInt64 = 0
    private var until = UInt64.max

    init(_ database: Database) {
        self.database = database
        reader = LookupReader(database)
    }

    // MARK: Conditions

    /// False if nothing can match.
    ///
    /// - Parameter after: only later lookups are wanted. If they are few, only their names are compared.
    mutating func prepare(_ filter: LookupFilter, after: Int64? = nil) throws -> Bool {
        since = filter.since ?? 0
        until = filter.until ?? .max
        facets = nil
        clients = nil
        names = nil
        views = filter.views
        if !filter.types.isEmpty || !filter.sources.isEmpty || !filter.codes.isEmpty || !filter.transports.isEmpty {
            facets = try numbers("SELECT id, \(Facet.columns) FROM facet") { Self.matches(filter, Facet($0, 1)) }
        }
        if !filter.clients.isEmpty {
            clients = try numbers("SELECT id, address, pid, command FROM client") { row in
                guard let address = SocketAddress(ip: row.text(1), port: 0) else { return false }
                return filter.matches(client: address, LookupReader.process(row, 2))
            }
        }
        if !filter.names.isEmpty { names = try numbers(of: filter.names, after: after) }
        return facets?.isEmpty != true && clients?.isEmpty != true && names?.isEmpty != true
    }

    /// Prepares the search for the navigation that `lookup` belongs to; false if nothing can match.
    mutating func prepare(navigationOf lookup: StoredLookup, window: UInt64) throws -> Bool {
        let (time, client, process, patterns) = lookup.withRecord { record in
            (record.time, record.client, record.process, Self.navigationNames(record))
        }
        since = time - min(window, time)
        until = time.addingReportingOverflow(window).overflow ? .max : time + window
        facets = nil
        views = []
        clients = try numbers("SELECT id, address, pid, command FROM client") { row in
            guard let address = SocketAddress(ip: row.text(1), port: 0) else { return false }
            // A browser may ask from several of its processes. If the process is known, other programs of that machine
            // are excluded.
            guard address.unmapped == client.withPort(0).unmapped else { return false }
            guard let process, let other = LookupReader.process(row, 2) else { return true }
            return process.command == other.command
        }
        names = patterns.isEmpty ? nil : try numbers(of: patterns)
        return clients?.isEmpty != true && names?.isEmpty != true
    }

    private static func navigationNames(_ record: LookupRecord) -> [NamePattern] {
        var wires: [[UInt8]] = []
        func add(_ offset: Int) {
            var wire: [UInt8] = []
            guard MessageReader.expandName(record.message, at: offset, into: &wire) else { return }
            wires.append(wire.map(ASCII.lowercased))
        }
        guard record.hasQuestion else { return [] }
        add(Header.length)
        for index in 0..<record.hopCount { add(Int(record.hop(index).nameOffset)) }
        // A client that connects to `acme.org` may ask for `_8443._https.acme.org`, and vice versa (RFC 9460 9.5).
        for wire in wires {
            var labels = Name(uncheckedWire: wire).labels[...]
            while let label = labels.first, label.first == UInt8(ascii: "_"), labels.count > 1 { labels.removeFirst() }
            let bare = Array(labels.map { [UInt8($0.count)] + $0 }.joined()) + [0]
            if bare != wire { wires.append(bare) }
        }
        return wires.flatMap { wire -> [NamePattern] in
            let below = Array("\u{6}_https".utf8) + wire
            return [.exact(wire: wire)] + (below.count <= Name.maximumLength ? [.below(wire: below)] : [])
        }
    }

    private static func matches(_ filter: LookupFilter, _ facet: Facet) -> Bool {
        (filter.types.isEmpty || facet.asked && filter.types.contains(facet.type))
            && (filter.sources.isEmpty || filter.sources.contains(facet.source))
            && (filter.transports.isEmpty || filter.transports.contains(facet.transport))
            && (filter.codes.isEmpty || filter.matches(facet.code, facet.kind, isPrivate: facet.isPrivate))
    }

    /// The first column of the rows that `isWanted` accepts.
    private func numbers(_ sql: String, where isWanted: (SQLStatement) -> Bool) throws -> IdentifierSet {
        let rows = try SQLStatement(cached: sql, database)
        var found: [UInt32] = []
        while try rows.step() {
            if isWanted(rows) { found.append(UInt32(truncatingIfNeeded: rows.integer(0))) }
        }
        return IdentifierSet(found)
    }

    /// So many lookups are few: looking up their names costs less than reading all names.
    private static let few: Int64 = 2000

    private func numbers(of patterns: [NamePattern], after: Int64? = nil) throws -> IdentifierSet {
        var found: [UInt32] = []
        var globs: [NamePattern] = []
        for pattern in patterns {
            let rows: SQLStatement
            switch pattern {
            case .exact(let wire):
                rows = try SQLStatement(cached: "SELECT id FROM name WHERE reversed = ?", database)
                rows.bind(HistoryNumbers.reversed(Name(uncheckedWire: wire)), 1)
            case .below(let wire):
                let start = HistoryNumbers.reversed(Name(uncheckedWire: wire))
                rows = try SQLStatement(cached: "SELECT id FROM name WHERE reversed > ? AND reversed < ?", database)
                rows.bind(start, 1)
                // The byte after the dot; for the root, which has no dot, a byte after all texts.
                rows.bind(start.isEmpty ? "\u{7F}" : start.dropLast() + "/", 2)
            case .glob:
                globs.append(pattern)
                continue
            }
            while try rows.step() { found.append(UInt32(truncatingIfNeeded: rows.integer(0))) }
        }
        if !globs.isEmpty {
            let rows: SQLStatement
            if let after, try areFew(after: after) {
                rows = try SQLStatement(
                    cached: "SELECT id, text FROM name WHERE id IN (SELECT name FROM lookup WHERE id > ?)", database)
                rows.bind(after, 1)
            } else {
                rows = try SQLStatement(cached: "SELECT id, text FROM name", database)
            }
            while try rows.step() {
                var text = rows.bytes(1)
                // The root is a single dot.
                if text.count > 1 { text = UnsafeRawBufferPointer(rebasing: text.dropLast()) }
                if globs.contains(where: { $0.matches(text: text) }) {
                    found.append(UInt32(truncatingIfNeeded: rows.integer(0)))
                }
            }
        }
        return IdentifierSet(found)
    }

    private func areFew(after: Int64) throws -> Bool {
        let newest = try SQLStatement(cached: "SELECT id FROM lookup ORDER BY id DESC LIMIT 1", database)
        defer { newest.reset() }
        return try !newest.step() || max(after, 0) >= newest.integer(0) - Self.few
    }

    static func names(_ database: Database, startingWith prefix: String, limit: Int) throws -> [String] {
        let wanted = prefix.utf8.map(ASCII.lowercased)
        let inside = NamePattern.containing("." + prefix)
        var starts: [String] = []
        var others: [String] = []
        let rows = try SQLStatement(cached: "SELECT text FROM name ORDER BY reversed", database)
        defer { rows.reset() }
        while starts.count < limit, try rows.step() {
            // As bytes, because there may be a million.
            let text = rows.bytes(0)
            if text.starts(with: wanted) {
                starts.append(rows.text(0))
            } else if others.count < limit, inside.matches(text: text) {
                others.append(rows.text(0))
            }
        }
        return Array((starts + others).prefix(limit))
    }

    // MARK: Pages

    /// A page with this lookup only. The identifier may be arbitrary.
    mutating func page(ofLookup id: Int64) throws -> HistoryPage {
        guard id > 0, id < .max else { return HistoryPage() }
        return try page(above: id - 1, below: id + 1, limit: 1, newestFirst: true)
    }

    /// The lookups with identifiers strictly between `above` and `below`.
    mutating func page(above: Int64, below: Int64, limit: Int, newestFirst: Bool) throws -> HistoryPage {
        var page = HistoryPage()
        page.isNewestFirst = newestFirst
        var reader = reader
        defer { self.reader = reader }
        var last: Int64?
        // One more than the limit shows whether there are more.
        var isMore = false
        try forEachCandidate(above: above, below: below, newestFirst: newestFirst) { id in
            guard let lookup = try reader.lookup(id, since: since, until: until) else { return true }
            if !views.isEmpty, !lookup.withRecord({ views.contains($0.view) }) { return true }
            if page.lookups.count == limit {
                isMore = true
                return false
            }
            page.lookups.append(lookup)
            last = id
            return true
        }
        if isMore { page.next = last }
        let edge = isMore ? last : nil
        page.losses = try losses(
            above: newestFirst ? edge ?? above : above, below: newestFirst ? below : edge ?? below, newestFirst)
        page.upstreams = reader.upstreams
        return page
    }

    /// Calls `body` with lookups that match all conditions except time, in order, until it returns false.
    private func forEachCandidate(
        above: Int64, below: Int64, newestFirst: Bool, _ body: (Int64) throws -> Bool
    ) throws {
        let oldest = try SQLStatement(cached: "SELECT id FROM lookup ORDER BY id LIMIT 1", database)
        defer { oldest.reset() }
        guard try oldest.step() else { return }
        // A file may have any number, so nothing here may overflow.
        let above = max(above, oldest.integer(0) &- 1)
        let blocks = try SQLStatement(cached: "SELECT first + count FROM block ORDER BY first DESC LIMIT 1", database)
        defer { blocks.reset() }
        let tail = try blocks.step() ? blocks.integer(0) : 0
        if newestFirst {
            guard try forEachInTail(above: max(above, tail &- 1), below: below, newestFirst, body) else { return }
            _ = try forEachInBlocks(above: above, below: min(below, tail), newestFirst, body)
        } else {
            guard try forEachInBlocks(above: above, below: min(below, tail), newestFirst, body) else { return }
            _ = try forEachInTail(above: max(above, tail &- 1), below: below, newestFirst, body)
        }
    }

    private func forEachInTail(
        above: Int64, below: Int64, _ newestFirst: Bool, _ body: (Int64) throws -> Bool
    ) throws -> Bool {
        let rows = try SQLStatement(
            cached: """
                SELECT id, time, facet, client, name FROM lookup WHERE id > ? AND id < ?
                ORDER BY id \(newestFirst ? "DESC" : "ASC")
                """, database)
        defer { rows.reset() }
        rows.bind(above, 1)
        rows.bind(below, 2)
        while try rows.step() {
            let time = UInt64(bitPattern: rows.integer(1))
            guard time >= since, time < until,
                facets?.contains(UInt32(truncatingIfNeeded: rows.integer(2))) != false,
                clients?.contains(UInt32(truncatingIfNeeded: rows.integer(3))) != false,
                names?.contains(UInt32(truncatingIfNeeded: rows.integer(4))) != false
            else { continue }
            guard try body(rows.integer(0)) else { return false }
        }
        return true
    }

    private func forEachInBlocks(
        above: Int64, below: Int64, _ newestFirst: Bool, _ body: (Int64) throws -> Bool
    ) throws -> Bool {
        // SQLite does not read blobs that are not selected.
        let columns = [("facets", facets), ("clients", clients), ("names", names)]
        let wanted = columns.compactMap { name, set in set.map { (name: name, set: $0) } }
        let rows = try SQLStatement(
            cached: """
                SELECT first, count\(wanted.map { ", " + $0.name }.joined()) FROM block
                WHERE first < ? AND first > ? AND latest >= ? AND earliest < ?
                ORDER BY first \(newestFirst ? "DESC" : "ASC")
                """, database)
        defer { rows.reset() }
        rows.bind(below, 1)
        rows.bind(above &- Int64(ColumnBlock.capacity), 2)
        rows.bind(Int64(clamping: since), 3)
        rows.bind(Int64(clamping: until), 4)
        let isWanted = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: ColumnBlock.capacity)
        defer { isWanted.deallocate() }
        while try rows.step() {
            let first = rows.integer(0)
            let count = Int(rows.integer(1))
            guard (1...ColumnBlock.capacity).contains(count) else { continue }
            let range = UnsafeMutableBufferPointer(rebasing: isWanted[..<count])
            range.update(repeating: 1)
            var column: Int32 = 2
            let some = wanted.allSatisfy { _, set in
                defer { column += 1 }
                return ColumnBlock.View(rows.bytes(column), count: count)?.narrow(range, to: set) ?? false
            }
            guard some else { continue }
            for step in 0..<count {
                let row = newestFirst ? count - 1 - step : step
                let id = first &+ Int64(row)
                guard range[row] == 1, id > above, id < below else { continue }
                guard try body(id) else { return false }
            }
        }
        return true
    }

    /// A page without lookups.
    func losses(above: Int64, below: Int64, newestFirst: Bool) throws -> HistoryPage {
        HistoryPage(losses: try losses(above: above, below: below, newestFirst), isNewestFirst: newestFirst)
    }

    private func losses(above: Int64, below: Int64, _ newestFirst: Bool) throws -> [HistoryLoss] {
        let rows = try SQLStatement(
            cached: """
                SELECT time, until, count, reason, after FROM loss
                WHERE after >= ? AND after < ? AND until >= ? AND time < ?
                ORDER BY after \(newestFirst ? "DESC" : "ASC"), id \(newestFirst ? "DESC" : "ASC") LIMIT 1000
                """, database)
        defer { rows.reset() }
        rows.bind(above, 1)
        rows.bind(below, 2)
        rows.bind(Int64(clamping: since), 3)
        rows.bind(Int64(clamping: until), 4)
        var losses: [HistoryLoss] = []
        while try rows.step() {
            let count = Int(clamping: rows.integer(2))
            guard let reason = HistoryLoss.Reason(rawValue: rows.text(3)), count > 0 else { continue }
            losses.append(
                HistoryLoss(
                    time: UInt64(bitPattern: rows.integer(0)), until: UInt64(bitPattern: rows.integer(1)),
                    count: count, reason: reason, after: rows.integer(4)))
        }
        return losses
    }
}
