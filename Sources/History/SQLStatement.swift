internal import GRDB
internal import GRDBSQLite

/// A prepared statement with plain values, not boxed: for thousands of rows.
///
/// It belongs to one connection; use it only inside GRDB's access to that one.
struct SQLStatement {
    private let statement: Statement

    init(_ database: Database, _ sql: String) throws {
        statement = try database.makeStatement(sql: sql)
    }

    /// A statement cached with the connection.
    init(cached sql: String, _ database: Database) throws {
        statement = try database.cachedStatement(sql: sql)
    }

    private var handle: OpaquePointer { statement.sqliteStatement }

    // MARK: Parameters, from 1

    func bind(_ value: Int64, _ index: Int32) { sqlite3_bind_int64(handle, index, value) }
    func bind(_ value: some FixedWidthInteger, _ index: Int32) { bind(Int64(truncatingIfNeeded: value), index) }
    func bindNull(_ index: Int32) { sqlite3_bind_null(handle, index) }
    func bind(_ text: String, _ index: Int32) { sqlite3_bind_text(handle, index, text, -1, Self.copied) }

    func bind(blob bytes: UnsafeRawBufferPointer, _ index: Int32) {
        if bytes.isEmpty { return bindNull(index) }
        sqlite3_bind_blob(handle, index, bytes.baseAddress, Int32(clamping: bytes.count), Self.copied)
    }

    /// The bytes must stay valid until the statement has run.
    func bind(keptBlob bytes: UnsafeRawBufferPointer, _ index: Int32) {
        if bytes.isEmpty { return bindNull(index) }
        sqlite3_bind_blob(handle, index, bytes.baseAddress, Int32(clamping: bytes.count), nil)
    }

    func bind(text bytes: UnsafeRawBufferPointer, _ index: Int32) {
        if bytes.isEmpty { return bindNull(index) }
        sqlite3_bind_text(
            handle, index, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(clamping: bytes.count),
            Self.copied)
    }

    /// SQLITE_TRANSIENT.
    private static let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    // MARK: Rows

    /// Returns whether there is another row; after the last one, resets the statement.
    func step() throws -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE:
            sqlite3_reset(handle)
            return false
        default:
            let database = sqlite3_db_handle(handle)
            let code = ResultCode(rawValue: sqlite3_extended_errcode(database))
            let message = sqlite3_errmsg(database).map { String(cString: $0) }
            sqlite3_reset(handle)
            throw DatabaseError(resultCode: code, message: message)
        }
    }

    /// Runs a statement that returns no rows.
    func run() throws { while try step() {} }

    func reset() { sqlite3_reset(handle) }

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }
    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    /// An integer of a smaller type; nil for NULL and for values that don't fit.
    func value<Value: FixedWidthInteger>(_ column: Int32, _: Value.Type = Value.self) -> Value? {
        isNull(column) ? nil : Value(exactly: integer(column))
    }

    /// Valid until the next step.
    func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
        let start = sqlite3_column_blob(handle, column)
        return UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(sqlite3_column_bytes(handle, column)))
    }

    func text(_ column: Int32) -> String { String(decoding: bytes(column), as: UTF8.self) }
}
