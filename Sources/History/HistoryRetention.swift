internal import GRDB
internal import LookupLog

/// Limits of the history.
package struct HistoryLimits: Sendable, Hashable {
    /// Bytes of the files together.
    package var maximumSize: Int
    /// Seconds.
    package var maximumAge: UInt64
    /// Lookups per second.
    package var maximumRate: Int

    package init(maximumSize: Int = 512 << 20, maximumAge: UInt64 = 30 * 86_400, maximumRate: Int = 10_000) {
        self.maximumSize = maximumSize
        self.maximumAge = maximumAge
        self.maximumRate = maximumRate
    }
}

/// Deletes the oldest lookups beyond the limits, in small steps, on the thread of the `HistoryWriter`.
///
/// Freed pages are reused. If the file is still too large, its end is returned to the file system.
struct HistoryRetention {
    var limits: HistoryLimits
    /// Lookups deleted since unused texts were last removed.
    private var deleted = 0

    /// The write-ahead log's share of the size limit, in bytes.
    var logLimit: Int { min(4 << 20, limits.maximumSize / 4) }
    /// The most lookups deleted per step.
    private static let step: Int64 = 4096
    /// The most pages returned per step.
    private static let pagesPerStep = 512
    /// The most texts deleted per step.
    private static let mostTexts = 20_000

    init(_ limits: HistoryLimits) { self.limits = limits }

    /// Makes SQLite checkpoint the write-ahead log in time, and truncate it then.
    func prepare(_ database: Database) throws {
        let (size, _, _) = try pages(database)
        for pragma in ["journal_size_limit = \(logLimit)", "wal_autocheckpoint = \(logLimit / max(size, 1) / 2)"] {
            try SQLStatement(database, "PRAGMA \(pragma)").run()
        }
    }

    /// Truncates the write-ahead log after a large transaction.
    func truncateLog(_ database: Database) throws {
        try SQLStatement(database, "PRAGMA wal_checkpoint(TRUNCATE)").run()
    }

    /// Deletes lookups that are too old or too many; returns whether there is more to do.
    ///
    /// - Parameter now: microseconds since 1970; nil: not known for sure, so that nothing is too old.
    mutating func step(_ database: Database, now: UInt64?) throws -> Bool {
        let (age, isForEver) = limits.maximumAge.multipliedReportingOverflow(by: 1_000_000)
        let cutoff = isForEver ? 0 : now.map { $0 - min($0, age) } ?? 0
        let byAge = try deleteOlder(database, than: cutoff)
        let bySize = try isTooLarge(database) ? try deleteOldestBlock(database) : false
        return byAge || bySize
    }

    /// The time last believed, else the newest lookup's, in microseconds since 1970; nil: there is none.
    func believed(_ database: Database) throws -> UInt64? {
        let stored =
            try Self.one(database, "SELECT value FROM state WHERE name = 'clock'")
            ?? Self.one(database, "SELECT time FROM lookup ORDER BY id DESC LIMIT 1")
        return stored.map { UInt64(clamping: $0) }
    }

    func setBelieved(_ database: Database, _ time: UInt64) throws {
        try Self.run(database, "INSERT OR REPLACE INTO state VALUES ('clock', ?)", Int64(clamping: time))
    }

    /// Whether the pages in use exceed the limit minus the log's share.
    private func isTooLarge(_ database: Database) throws -> Bool {
        let (size, pages, free) = try pages(database)
        // Slightly below the limit, so that pages are freed before new ones are needed.
        return (pages - free) * size > (limits.maximumSize - logLimit) / 16 * 15
    }

    private func pages(_ database: Database) throws -> (size: Int, all: Int, free: Int) {
        func value(_ name: String) throws -> Int {
            let statement = try SQLStatement(cached: "PRAGMA \(name)", database)
            defer { statement.reset() }
            return try statement.step() ? Int(statement.integer(0)) : 0
        }
        return (try value("page_size"), try value("page_count"), try value("freelist_count"))
    }

    private mutating func deleteOlder(_ database: Database, than cutoff: UInt64) throws -> Bool {
        guard let first = try Self.one(database, "SELECT id FROM lookup ORDER BY id LIMIT 1") else {
            try Self.run(database, "DELETE FROM loss WHERE until < ?", Int64(clamping: cutoff))
            return false
        }
        // The first lookup that is young enough, among the next few.
        let last = first &+ Self.step
        let end = try Self.one(
            database, "SELECT id FROM lookup WHERE id < ? AND time >= ? ORDER BY id LIMIT 1", last,
            Int64(clamping: cutoff))
        let count = try delete(database, below: end ?? last)
        return count == Self.step
    }

    private mutating func deleteOldestBlock(_ database: Database) throws -> Bool {
        guard let end = try Self.one(database, "SELECT first + count FROM block ORDER BY first LIMIT 1") else {
            return false
        }
        return try delete(database, below: end) > 0
    }

    /// A file may have any number, so nothing here may overflow.
    private mutating func delete(_ database: Database, below id: Int64) throws -> Int64 {
        guard let first = try Self.one(database, "SELECT id FROM lookup ORDER BY id LIMIT 1"), first < id else {
            // A block without lookups.
            try Self.run(database, "DELETE FROM block WHERE first + count <= ?", id)
            return 0
        }
        let last = try Self.one(database, "SELECT id FROM lookup ORDER BY id DESC LIMIT 1") ?? first
        if last < id { try Self.run(database, "INSERT OR REPLACE INTO state VALUES ('last', ?)", last) }
        try Self.run(database, "DELETE FROM lookup WHERE id < ?", id)
        try Self.run(database, "DELETE FROM block WHERE first + count <= ?", id)
        try Self.run(database, "DELETE FROM loss WHERE after < ?", id &- 1)
        let count = min(id, last &+ 1) &- first
        deleted &+= Int(count)
        return count
    }

    /// Returns free pages at the end of a file that is too large to the file system; returns whether there is more to
    /// do.
    func returnFreePages(_ database: Database) throws -> Bool {
        let (size, pages, free) = try pages(database)
        let most = (limits.maximumSize - logLimit) / max(size, 1)
        guard free > 0, pages > most else { return false }
        let count = min(free, pages - most, Self.pagesPerStep)
        // SQLite returns a row for each page.
        let statement = try SQLStatement(database, "PRAGMA incremental_vacuum(\(count))")
        try statement.run()
        return try count == Self.pagesPerStep && self.pages(database).all < pages
    }

    // MARK: Texts

    /// Whether enough was deleted to make a search for unused texts worthwhile.
    func wantsCleaning(_ database: Database) throws -> Bool {
        guard deleted > 0 else { return false }
        let kept = try Self.one(database, "SELECT coalesce(max(id) - min(id) + 1, 0) FROM lookup") ?? 0
        return deleted >= max(Int(kept) / 4, 1)
    }

    /// Deletes names, clients and facets that no lookup uses. `tail`: the lookups that are in no block.
    mutating func clean(_ database: Database, _ tail: HistoryTail) throws {
        let columns = [
            ("facet", "facets", tail.facets), ("client", "clients", tail.clients), ("name", "names", tail.names),
        ]
        var isWhole = true
        for (table, column, rest) in columns {
            var used = Set(rest)
            let blocks = try SQLStatement(database, "SELECT count, \(column) FROM block")
            while try blocks.step() {
                ColumnBlock.View(blocks.bytes(1), count: Int(blocks.integer(0)))?.forEachValue { used.insert($0) }
            }
            let rows = try SQLStatement(database, "SELECT id FROM \(table)")
            var unused: [Int64] = []
            while unused.count < Self.mostTexts, try rows.step() {
                if !used.contains(UInt32(truncatingIfNeeded: rows.integer(0))) { unused.append(rows.integer(0)) }
            }
            rows.reset()
            if unused.count == Self.mostTexts { isWhole = false }
            let delete = try SQLStatement(database, "DELETE FROM \(table) WHERE id = ?")
            for id in unused {
                delete.bind(id, 1)
                try delete.run()
            }
        }
        if isWhole { deleted = 0 }
    }

    // MARK: Statements

    private static func one(_ database: Database, _ sql: String, _ values: Int64...) throws -> Int64? {
        let statement = try SQLStatement(cached: sql, database)
        defer { statement.reset() }
        for (index, value) in values.enumerated() { statement.bind(value, Int32(index + 1)) }
        return try statement.step() && !statement.isNull(0) ? statement.integer(0) : nil
    }

    private static func run(_ database: Database, _ sql: String, _ values: Int64...) throws {
        let statement = try SQLStatement(cached: sql, database)
        for (index, value) in values.enumerated() { statement.bind(value, Int32(index + 1)) }
        try statement.run()
    }
}
