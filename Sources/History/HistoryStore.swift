internal import Foundation
internal import GRDB
internal import GRDBSQLite
internal import Platform
internal import Synchronization

/// The database of lookups: opens, creates or migrates it. A `HistoryWriter` writes it, anyone may search it.
///
/// SQLite with a write-ahead log: readers and the writer don't block each other, several programs may read, and a crash
/// loses only uncommitted data.
package final class HistoryStore: Sendable {
    package let path: String
    package let isReadOnly: Bool
    private let pool: Mutex<DatabasePool>
    /// Identifies the open file.
    private let file: Mutex<FileIdentity?>

    /// Why there is no history: what, why, and how to fix it.
    package struct Problem: Error, Sendable, CustomStringConvertible {
        package let description: String
        /// A search was refused or ended because of load; the history itself is fine.
        package var isOfLoad = false
    }

    /// Opens the database at `path`; creates it (0640) and its folder (0750) if they are missing.
    ///
    /// A damaged file is renamed to `PATH.damaged-TIME` and reported, and a new one is created.
    package init(path: String, report: @Sendable (String) -> Void = { _ in }) throws(Problem) {
        self.path = path
        isReadOnly = false
        do {
            pool = Mutex(try Self.open(path))
        } catch let error as DatabaseError where Self.isDamage(error) && Self.isOurs(path) {
            let aside = try Self.setAside(path)
            report("history \(path): is damaged (\(Self.reason(error))); it is kept as \(aside), and a new one begun")
            do { pool = Mutex(try Self.open(path)) } catch { throw Self.problem(path, error) }
        } catch {
            throw Self.problem(path, error)
        }
        file = Mutex(Self.identity(path))
    }

    /// Opens the database at `path` for searches only, whether or not a daemon writes to it.
    package init(reading path: String) throws(Problem) {
        self.path = path
        isReadOnly = true
        guard access(path, F_OK) == 0 else {
            throw Problem(
                description: "history \(path): \(errno == ENOENT ? "there is none" : Self.reason(errno)); "
                    + "a daemon makes it (stub53 serve, history.path), and --history names another")
        }
        do {
            pool = Mutex(try Self.openReading(path, as: path))
        } catch let error as DatabaseError where Self.wantsToWrite(error) && access(path + "-wal", F_OK) != 0 {
            // Nothing writes to it, and we lack permission to create files beside it: open it as immutable.
            let encoded = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
            do { pool = Mutex(try Self.openReading(path, as: "file:\(encoded)?immutable=1")) } catch {
                throw Self.problem(path, error)
            }
        } catch {
            throw Self.problem(path, error)
        }
        file = Mutex(Self.identity(path))
    }

    /// Whether reading failed because SQLite needs files beside the database.
    private static func wantsToWrite(_ error: DatabaseError) -> Bool {
        error.resultCode == .SQLITE_CANTOPEN || error.resultCode == .SQLITE_READONLY
    }

    // MARK: Opening

    private static func open(_ path: String) throws -> DatabasePool {
        try makeFile(path)
        var configuration = Configuration()
        configuration.label = "history"
        configuration.foreignKeysEnabled = false
        configuration.busyMode = .timeout(2)
        configuration.prepareDatabase { database in
            guard !database.configuration.readonly else { return }
            // Takes effect only in a database without tables.
            try database.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
        }
        let pool = try DatabasePool(path: path, configuration: configuration)
        let migrator = HistorySchema.migrator
        if try pool.read(migrator.hasBeenSuperseded) { throw newer(path) }
        try migrator.migrate(pool)
        return pool
    }

    private static func openReading(_ path: String, as name: String) throws -> DatabasePool {
        var configuration = Configuration()
        configuration.label = "history"
        configuration.readonly = true
        configuration.busyMode = .timeout(2)
        let pool = try DatabasePool(path: name, configuration: configuration)
        try pool.read { database in
            let migrator = HistorySchema.migrator
            if try migrator.hasBeenSuperseded(database) { throw newer(path) }
            guard try migrator.hasCompletedMigrations(database) else {
                throw Problem(
                    description: "history \(path): is of an older stub53, or none of ours; "
                        + "start the daemon once, which brings it up to date")
            }
        }
        return pool
    }

    private static func newer(_ path: String) -> Problem {
        Problem(
            description:
                "history \(path): a newer stub53 has written it; use that one, or name another file (history.path)")
    }

    private static func makeFile(_ path: String) throws(Problem) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        var folder = ""
        for (index, part) in parts.dropLast().enumerated() {
            folder += part + "/"
            // Folders above ours get default permissions.
            if mkdir(folder, index == parts.count - 2 ? 0o750 : 0o755) != 0, errno != EEXIST, errno != EISDIR,
                access(folder, F_OK) != 0
            {
                throw Problem(
                    description: "history \(path): the folder \(folder) can't be made: \(reason(errno)); "
                        + "make it, or name another file (history.path)")
            }
        }
        // SQLite gives its other files the same mode.
        let file = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o640)
        if file >= 0 { close(file) }
    }

    static func isDamage(_ error: DatabaseError) -> Bool {
        error.resultCode == .SQLITE_CORRUPT || error.resultCode == .SQLITE_NOTADB
    }

    /// Whether the file is or was a database, or is empty. Any other file belongs to someone else and is left alone.
    private static func isOurs(_ path: String) -> Bool {
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        var head = [UInt8](repeating: 0, count: 16)
        let count = Glibc.read(file, &head, head.count)
        return count == 0 || count == 16 && head == Array("SQLite format 3\0".utf8)
    }

    private static func setAside(_ path: String) throws(Problem) -> String {
        let now = CalendarTime(seconds: Int(SystemClock.wall() / 1_000_000), .local)
        let stamp = "\(now.date.filter(\.isNumber))-\(now.time.filter(\.isNumber))"
        let aside = "\(path).damaged-\(stamp)"
        guard rename(path, aside) == 0 else {
            throw Problem(
                description: "history \(path): is damaged and can't be set aside: \(reason(errno)); move it away")
        }
        for end in ["-wal", "-shm"] { rename(path + end, aside + end) }
        return aside
    }

    static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }

    /// SQLite's description of the error.
    static func reason(_ error: any Error) -> String {
        guard let error = error as? DatabaseError else { return "\(error)" }
        return error.message ?? "\(error.resultCode)"
    }

    static func problem(_ path: String, _ error: any Error) -> Problem {
        if let problem = error as? Problem { return problem }
        let mend: String
        switch (error as? DatabaseError)?.resultCode {
        case .SQLITE_FULL?: mend = "make room on its disk, or name another file (history.path)"
        case .SQLITE_BUSY?, .SQLITE_LOCKED?:
            mend = "another program holds it; end that one, or name another file (history.path)"
        case .SQLITE_CORRUPT?, .SQLITE_NOTADB?: mend = "it is no history, or damaged; move it away or name another file"
        default: mend = "make it readable and writable for this user, or name another file (history.path)"
        }
        return Problem(description: "history \(path): \(reason(error)); \(mend)")
    }

    static func noRoom(_ path: String, _ error: SystemError) -> Problem {
        Problem(description: "history \(path): \(error); raise the limit of open files (ulimit -n, LimitNOFILE=)")
    }

    /// The file was removed or replaced: further writes would be lost.
    var isReplaced: Bool { file.withLock { $0 } != Self.identity(path) }

    private static func identity(_ path: String) -> FileIdentity? {
        var status = stat()
        return stat(path, &status) == 0
            ? FileIdentity(device: UInt64(status.st_dev), number: UInt64(status.st_ino)) : nil
    }

    private struct FileIdentity: Equatable {
        let device: UInt64
        let number: UInt64
    }

    /// Opens the file now at the path, or creates it.
    func openAgain() throws {
        try pool.withLock { pool in
            try? pool.close()
            pool = try Self.open(path)
        }
        file.withLock { $0 = Self.identity(path) }
    }

    /// Renames a file found to be damaged, and creates a new one.
    func replaceDamagedFile(_ error: DatabaseError, report: (String) -> Void) throws {
        guard Self.isOurs(path) else { throw error }
        defer { file.withLock { $0 = Self.identity(path) } }
        try pool.withLock { pool in
            // Running readers finish first; later ones find it closed.
            try? pool.close()
            let aside = try Self.setAside(path)
            pool = try Self.open(path)
            report("history \(path): is damaged (\(Self.reason(error))); it is kept as \(aside), and a new one begun")
        }
    }

    // MARK: Reading and writing

    private var current: DatabasePool { pool.withLock { $0 } }

    /// Runs `body` on a consistent snapshot of the database, within the budget.
    func read<Value>(
        within budget: SearchBudget? = nil, _ body: (Database) throws -> Value
    ) throws(Problem) -> Value {
        do {
            return try current.read { database in
                guard let budget else { return try body(database) }
                return try budget.limit(database) { try body(database) }
            }
        } catch {
            if (error as? DatabaseError)?.resultCode == .SQLITE_INTERRUPT, let end = budget?.end { throw end }
            throw Self.problem(path, error)
        }
    }

    /// Runs `body` in a transaction, which is rolled back if it throws.
    func write<Value>(_ body: (Database) throws -> Value) throws -> Value { try current.write(body) }

    func writeWithoutTransaction<Value>(_ body: (Database) throws -> Value) throws -> Value {
        try current.writeWithoutTransaction(body)
    }

    /// Bytes of the database and its write-ahead log.
    package var fileSize: Int { size(of: path) + logSize }
    /// Bytes of the write-ahead log: data not yet in the database.
    var logSize: Int { size(of: path + "-wal") }

    private func size(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// The contents of the history.
    package struct Statistics: Sendable, Hashable {
        package var lookups: Int
        /// Bytes of the files.
        package var bytes: Int
        /// Microseconds since 1970.
        package var oldest: UInt64?
        package var newest: UInt64?
        /// Lookups missing from its time range, by reason.
        package var lost: [HistoryLoss.Reason: Int]
    }

    package func statistics(_ budget: SearchBudget? = nil) throws(Problem) -> Statistics {
        let bytes = fileSize
        return try read(within: budget) { database in
            func row(_ order: String) throws -> (id: Int64, time: UInt64)? {
                let statement = try SQLStatement(
                    cached: "SELECT id, time FROM lookup ORDER BY id \(order) LIMIT 1", database)
                defer { statement.reset() }
                return try statement.step() ? (statement.integer(0), UInt64(bitPattern: statement.integer(1))) : nil
            }
            let (oldest, newest) = (try row("ASC"), try row("DESC"))
            var lost: [HistoryLoss.Reason: Int] = [:]
            let sums = try SQLStatement(cached: "SELECT reason, sum(count) FROM loss GROUP BY reason", database)
            while try sums.step() {
                if let reason = HistoryLoss.Reason(rawValue: sums.text(0)) { lost[reason] = Int(sums.integer(1)) }
            }
            // Identifiers have no gaps.
            let lookups = oldest.flatMap { oldest in newest.map { Int($0.id &- oldest.id) &+ 1 } } ?? 0
            return Statistics(
                lookups: lookups, bytes: bytes, oldest: oldest?.time, newest: newest?.time, lost: lost)
        }
    }
}

/// Lookups that were not stored.
package struct HistoryLoss: Sendable, Hashable {
    package enum Reason: String, Sendable, Hashable, CaseIterable {
        /// More than the rate limit.
        case rate
        /// The log thread never got them: serving threads were faster.
        case log
        /// Writing was slower than they arrived.
        case behind
        /// Writing failed.
        case disk
    }

    /// Approximate times of the first and the last, in microseconds since 1970.
    package var time: UInt64
    package var until: UInt64
    package var count: Int
    package var reason: Reason
    /// The last lookup stored before them.
    package var after: Int64

    package init(time: UInt64, until: UInt64, count: Int, reason: Reason, after: Int64 = 0) {
        self.time = time
        self.until = until
        self.count = count
        self.reason = reason
        self.after = after
    }
}

extension HistoryLoss.Reason {
    /// The word in lines of `LookupFormatter`.
    package var word: StaticString {
        switch self {
        case .rate: "rate"
        case .log: "log"
        case .behind: "behind"
        case .disk: "disk"
        }
    }
}
