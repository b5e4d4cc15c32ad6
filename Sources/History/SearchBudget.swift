internal import GRDB
internal import GRDBSQLite
internal import Platform
internal import Synchronization

/// The limit of a search: it must end when its time is up or its client no longer waits.
package final class SearchBudget: Sendable {
    /// Nil: no time limit.
    let seconds: Int?
    /// Whether the client is still there.
    private let isWanted: @Sendable () -> Bool
    /// Nanoseconds of `SystemClock.coarse`.
    private let deadline = Atomic<UInt64>(.max)
    private let isGivenUp = Atomic<Bool>(false)

    /// Steps of SQLite's virtual machine between two checks: about a few rows.
    private static let steps: Int32 = 1000

    init(seconds: Int?, isWanted: @escaping @Sendable () -> Bool = { true }) {
        self.seconds = seconds
        self.isWanted = isWanted
    }

    /// Starts the time limit.
    func begin() {
        guard let seconds else { return }
        deadline.store(SystemClock.coarse() + UInt64(seconds) * 1_000_000_000, ordering: .relaxed)
    }

    func giveUp() { isGivenUp.store(true, ordering: .relaxed) }

    /// Why the search must end; nil: it may continue.
    package var end: HistoryStore.Problem? {
        if isGivenUp.load(ordering: .relaxed) || !isWanted() { return Self.unwanted }
        guard let seconds, SystemClock.coarse() > deadline.load(ordering: .relaxed) else { return nil }
        return HistoryStore.Problem(
            description: "the search took longer than \(seconds) s and was ended; "
                + "ask for a shorter time, or for fewer names with *",
            isOfLoad: true)
    }

    private static let unwanted = HistoryStore.Problem(
        description: "nobody waits for the search any more", isOfLoad: true)

    /// Runs `body`; SQLite interrupts its statements once the search must end.
    func limit<Value>(_ database: Database, _ body: () throws -> Value) throws -> Value {
        let connection = database.sqliteConnection
        sqlite3_progress_handler(
            connection, Self.steps,
            { budget in
                guard let budget else { return 0 }
                return Unmanaged<SearchBudget>.fromOpaque(budget).takeUnretainedValue().end == nil ? 0 : 1
            }, Unmanaged.passUnretained(self).toOpaque())
        // The end of the transaction must not be interrupted.
        defer { sqlite3_progress_handler(connection, 0, nil, nil) }
        return try body()
    }
}
