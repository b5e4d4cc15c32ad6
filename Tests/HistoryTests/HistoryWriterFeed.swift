import Foundation
import History
import LookupLog
import TestSupport

/// A writer with a database of its own, fed as the log thread does it.
final class HistoryWriterFeed {
    let folder: TemporaryFolder
    let store: HistoryStore
    let writer: HistoryWriter
    let reports = Reports()

    init(_ limits: HistoryLimits = .ample, folder: TemporaryFolder? = nil) throws {
        let folder = try folder ?? TemporaryFolder()
        let reports = reports
        self.folder = folder
        store = try HistoryStore(path: folder.file("state/history.db")) { reports.add($0) }
        writer = HistoryWriter(store: store, limits: limits) { reports.add($0) }
    }

    /// Waits until so many lookups are in the database.
    func wait(for count: Int) throws {
        let writer = writer
        try waitUntil("\(count) lookups in the history") { writer.statistics.written >= count }
    }
}

/// What was reported, in order.
final class Reports: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []

    func add(_ line: String) { lock.withLock { lines.append(line) } }
    var all: [String] { lock.withLock { lines } }
}

extension HistoryLimits {
    /// All that a test writes, whenever it is run.
    static let ample = HistoryLimits(maximumAge: .max, maximumRate: 10_000_000)
}
