import Foundation
import GRDB
import LookupLog
import Platform
import TestSupport
import Testing

@testable import History

@Suite("The history survives")
struct SurvivalTests {
    private static func some(_ count: Int, seed: UInt64) -> [LookupFields] {
        var random = RandomLookups(seed: seed)
        return (0..<count).map { _ in random.next() }
    }

    @Test("Killing the process during writing loses only what was not yet written")
    func killed() async throws {
        let folder = try TemporaryFolder()
        let path = folder.file("state/history.db")
        let result = await #expect(processExitsWith: .signal(SIGKILL), observing: [\.standardOutputContent]) {
            [path = path as String] in
            let store = try HistoryStore(path: path)
            let writer = try HistoryWriter(store: store, limits: .ample)
            let all = SurvivalTests.some(6000, seed: 11)
            var number: UInt64 = 0
            // All transactions but the last have ended; the kill comes during one of those.
            while writer.statistics.written < 5 * all.count {
                for fields in all {
                    number += 1
                    StoredLookup(id: 0, number: number, fields).withRecord { writer.note($0, id: number) }
                }
                writer.flush()
            }
            FileHandle.standardOutput.write(Data("written \(writer.statistics.written)\n".utf8))
            kill(getpid(), SIGKILL)
        }
        let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        let written = try #require(output.split(separator: "\n").compactMap { Int($0.dropFirst(8)) }.last)
        let reports = Reports()
        let store = try HistoryStore(path: path) { reports.add($0) }
        #expect(try store.write { try String.fetchAll($0, sql: "PRAGMA integrity_check") } == ["ok"])
        let count = try store.statistics().lookups
        #expect(count >= written)
        #expect(reports.all == [])
        // New lookups are appended after them.
        let writer = try HistoryWriter(store: store, limits: .ample)
        StoredLookup(id: 0, number: 1, RandomLookups.masked("after.example.")).withRecord { writer.note($0, id: 1) }
        writer.finish()
        let page = try store.search(try LookupFilter(words: "after.example"), limit: 10)
        #expect(page.lookups.map(\.id) == [Int64(count + 1)])
        #expect(try store.search(LookupFilter(), limit: 100_000).lookups.count == count + 1)
    }

    @Test("A writer that ends before all was written says so; one that has written all does not")
    func cutOff() throws {
        for isFull in [false, true] {
            let feed = try HistoryWriterFeed()
            feed.note(Self.some(1000, seed: 14)[...])
            try feed.wait(for: 1000)
            if isFull {
                try feed.store.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 1") }
                feed.note(Self.some(8000, seed: 15)[...], from: 1001)
                try waitUntil("writing fails") { feed.writer.statistics.isFailing }
            }
            feed.writer.finish()
            #expect(feed.writer.isCutOff == isFull)
        }
    }

    @Test("A full disk only loses lookups: it is reported once, counted, and over when there is room")
    func full() throws {
        let feed = try HistoryWriterFeed()
        let all = Self.some(8000, seed: 12)
        feed.note(all.prefix(1000))
        try feed.wait(for: 1000)
        func limit(_ pages: Int) throws {
            try feed.store.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = \(pages)") }
        }
        try limit(1)
        // More than can wait for room.
        var number: UInt64 = 1001
        while feed.writer.statistics.lost[.disk] == nil {
            feed.note(all, from: number)
            number += 8000
        }
        #expect(feed.reports.all.count == 1)
        #expect(feed.reports.all.first?.contains("database or disk is full; lookups are answered") == true)
        #expect(feed.writer.statistics.isFailing)
        #expect(try feed.store.search(LookupFilter(), limit: 10).lookups.count == 10)
        try limit(1_000_000)
        let writer = feed.writer
        try waitUntil("it is written again") { !writer.statistics.isFailing }
        feed.note(all.suffix(10), from: number)
        try feed.finish()
        let lost = feed.writer.statistics.lost[.disk] ?? 0
        #expect(feed.reports.all.count == 2)
        #expect(feed.reports.all.last?.contains("writing again; \(lost) lookups are missing") == true)
        let statistics = try feed.store.statistics()
        #expect(statistics.lookups + lost == Int(number) + 9)
        #expect(statistics.lost == [.disk: lost])
    }

    @Test("A row deleted by other software costs only that row")
    func deletedRow() throws {
        let feed = try HistoryWriterFeed()
        feed.note(Self.some(10, seed: 15))
        try feed.finish()
        try feed.store.write { try $0.execute(sql: "DELETE FROM lookup WHERE id = 5") }
        let again = try HistoryWriterFeed(folder: feed.folder)
        again.note(Self.some(5000, seed: 16), from: 11)
        try again.finish()
        #expect(again.reports.all == [])
        let found = try again.store.search(LookupFilter(), limit: 10_000, newestFirst: false).lookups
        #expect(found.map(\.id) == (1...5010).filter { $0 != 5 })
    }

    @Test(
        "Impossible numbers count as damage",
        arguments: [
            "UPDATE lookup SET id = 9223372036854775807 WHERE id = 10", "UPDATE lookup SET id = 1000000 WHERE id = 10",
            "UPDATE lookup SET id = -9223372036854775807 WHERE id = 1",
            "INSERT INTO block VALUES (9223372036854775000, 4096, 0, 0, x'', x'', x'')",
            "INSERT INTO loss VALUES (1, 9223372036854775807, 0, 0, 1, 'disk')",
            "INSERT INTO state VALUES ('last', 9223372036854775807)",
        ])
    func impossible(_ change: String) throws {
        let feed = try HistoryWriterFeed()
        feed.note(Self.some(10, seed: 17))
        try feed.finish()
        try feed.store.write { try $0.execute(sql: change) }
        // Also old enough to be deleted.
        let again = try HistoryWriterFeed(HistoryLimits(maximumAge: 1), folder: feed.folder)
        again.note(Self.some(3, seed: 18), from: 11)
        try again.wait(for: 3)
        try again.finish()
        #expect(again.reports.all.allSatisfy { $0.contains("is damaged") }, "\(again.reports.all)")
    }

    @Test("Lookups that can't be written when the daemon ends are reported")
    func fullToTheEnd() throws {
        let feed = try HistoryWriterFeed()
        feed.note(Self.some(10, seed: 13))
        try feed.wait(for: 10)
        try feed.store.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 1") }
        feed.note(Self.some(3000, seed: 14), from: 11)
        feed.writer.finish()
        let (writer, reports) = (feed.writer, feed.reports)
        try waitUntil("it is said") {
            reports.all.last?.contains("the last 3000 lookups could not be written") == true
        }
        try waitUntil("it is counted") { writer.statistics.lost == [.disk: 3000] }
    }

    @Test("When the log ends, the history has everything that was logged")
    func withLog() throws {
        let folder = try TemporaryFolder()
        let store = try HistoryStore(path: folder.file("history.db"))
        let writer = try HistoryWriter(store: store)
        let log = try LookupLog(sinks: [LookupSink(.json, to: .file(path: folder.file("log")))], observers: [writer])
        let ring = log.makeRing()
        log.setUpstreams(["192.0.2.1:53"])
        log.start()
        let start = SystemClock.wall()
        for index in 0..<100 {
            ring.appendDropped(time: start + UInt64(index), client: RandomLookups.masked("a.").client, transport: .tcp)
        }
        log.stop()
        var formatter = LookupFormatter(.json)
        for lookup in try store.search(LookupFilter(), limit: 1000, newestFirst: false).lookups {
            formatter.append(lookup)
        }
        let logged = try String(contentsOfFile: folder.file("log"), encoding: .utf8)
        #expect(String(decoding: formatter.take(), as: UTF8.self) == logged)
    }
}
