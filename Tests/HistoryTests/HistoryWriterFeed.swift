import Foundation
import History
import LookupLog
import TestSupport

/// A writer with its own database, fed like by the log thread.
final class HistoryWriterFeed {
    let folder: TemporaryFolder
    let store: HistoryStore
    let writer: HistoryWriter
    let reports = Reports()
    /// How many lookups `note` got.
    var noted = 0

    init(_ limits: HistoryLimits = .ample, folder: TemporaryFolder? = nil) throws {
        let folder = try folder ?? TemporaryFolder()
        let reports = reports
        self.folder = folder
        store = try HistoryStore(path: folder.file("state/history.db")) { reports.add($0) }
        writer = try HistoryWriter(store: store, limits: limits) { reports.add($0) }
    }

    /// Waits until `count` lookups are in the database.
    func wait(for count: Int) throws {
        let writer = writer
        try waitUntil("\(count) lookups in the history") { writer.statistics.written >= count }
    }

    /// Ends the writer once everything is written or lost: its own limit of two seconds may be too short on a busy
    /// machine.
    func finish() throws {
        let (writer, noted) = (writer, noted)
        try waitUntil("nothing waits to be written") {
            let statistics = writer.statistics
            return statistics.written + statistics.lost.values.reduce(0, +) >= noted
        }
        writer.finish()
    }
}

/// The reported messages, in order.
final class Reports: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []

    func add(_ line: String) { lock.withLock { lines.append(line) } }
    var all: [String] { lock.withLock { lines } }
}

extension HistoryLimits {
    /// Limits that no test reaches, whatever the current time.
    static let ample = HistoryLimits(maximumAge: .max, maximumRate: 10_000_000)
}
