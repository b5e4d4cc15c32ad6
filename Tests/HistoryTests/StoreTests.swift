import Foundation
import GRDB
import History
import LookupLog
import TestSupport
import Testing

@Suite("The history's file")
struct StoreTests {
    private func mode(_ path: String) throws -> Int {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int ?? -1
    }

    @Test("File and folder are made, and not for everyone's eyes")
    func made() throws {
        let feed = try HistoryWriterFeed()
        feed.note([RandomLookups.one(seed: 1)])
        try feed.wait(for: 1)
        #expect(try mode(feed.store.path) == 0o640)
        #expect(try mode(feed.store.path + "-wal") == 0o640)
        #expect(try mode(feed.folder.file("state")) == 0o750)
        feed.writer.finish()
    }

    @Test("A damaged file is set aside, which is said, and a new one begun")
    func damaged() throws {
        let folder = try TemporaryFolder()
        try folder.write(String(repeating: "no database at all ", count: 1000), to: "state/history.db")
        let feed = try HistoryWriterFeed(folder: folder)
        feed.note([RandomLookups.one(seed: 1)])
        try feed.wait(for: 1)
        feed.writer.finish()
        #expect(feed.reports.all.count == 1)
        #expect(feed.reports.all.first?.contains("is damaged") == true)
        let aside = try FileManager.default.contentsOfDirectory(atPath: folder.file("state"))
            .filter { $0.hasPrefix("history.db.damaged-") }
        #expect(aside.count == 1)
    }

    @Test("A file that turns out damaged while it is written is set aside, too")
    func damagedLater() throws {
        let folder = try TemporaryFolder()
        let first = try HistoryWriterFeed(folder: folder)
        first.note((0..<3000).map { RandomLookups.one(seed: UInt64($0)) })
        first.writer.finish()
        try DatabaseQueue(path: first.store.path).writeWithoutTransaction {
            _ = try Row.fetchAll($0, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
        }
        let file = try FileHandle(forWritingTo: URL(filePath: first.store.path))
        let size = try file.seekToEnd()
        // All but the schema.
        for page in 1..<(size / 4096) {
            try file.seek(toOffset: page * 4096)
            try file.write(contentsOf: Data(repeating: 0xA5, count: 4096))
        }
        try file.close()
        let feed = try HistoryWriterFeed(folder: folder)
        feed.note([RandomLookups.one(seed: 1)])
        try feed.wait(for: 1)
        feed.writer.finish()
        #expect(feed.reports.all.filter { $0.contains("is damaged") }.count == 1)
        #expect(try feed.store.search(LookupFilter(), limit: 10).lookups.count == 1)
    }

    @Test("A file of a newer version is left alone")
    func newer() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("history.db")
        do {
            let store = try HistoryStore(path: path)
            _ = try store.statistics()
        }
        try DatabaseQueue(path: path).write {
            try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('999')")
        }
        for open in [{ try HistoryStore(path: path) }, { try HistoryStore(reading: path) }] {
            #expect {
                _ = try open()
            } throws: { error in
                "\(error)".contains("a newer stub53 has written it")
            }
        }
    }

    @Test("Who may not make the folder is told which, and what to do")
    func noFolder() throws {
        let folder = try TemporaryFolder()
        try folder.write("", to: "file")
        #expect {
            _ = try HistoryStore(path: folder.file("file/below/history.db"))
        } throws: { error in
            "\(error)".contains("the folder \(folder.file("file/below/")) can't be made: Not a directory; make it")
        }
        #expect {
            _ = try HistoryStore(reading: folder.file("none.db"))
        } throws: { error in
            "\(error)".contains("there is none; a daemon makes it")
        }
    }

    @Test("It is read while it is written, and after the daemon has gone")
    func reading() throws {
        let feed = try HistoryWriterFeed()
        feed.note((0..<100).map { RandomLookups.one(seed: UInt64($0)) })
        try feed.wait(for: 100)
        let reader = try HistoryStore(reading: feed.store.path)
        #expect(try reader.search(LookupFilter(), limit: 1000).lookups.count == 100)
        feed.note((0..<100).map { RandomLookups.one(seed: UInt64($0)) }, from: 101)
        try feed.wait(for: 200)
        #expect(try reader.search(LookupFilter(), limit: 1000).lookups.count == 200)
        feed.writer.finish()
        #expect(try reader.search(LookupFilter(), limit: 1000).lookups.count == 200)
    }

    @Test("People with sqlite3 find it in plain words")
    func view() async throws {
        let feed = try HistoryWriterFeed()
        feed.note([RandomLookups.masked("www.acme.org.")])
        try feed.wait(for: 1)
        let result = try await Command.run(
            [
                "-readonly", feed.store.path,
                "SELECT time, address, transport, name, type, source, rule, rcode, duration_us FROM lookups",
            ], executable: URL(filePath: "/usr/bin/sqlite3"))
        #expect(
            result.output
                == "2026-11-23T17:00:00.000001Z|127.0.0.1|udp|www.acme.org.|HTTPS|hosts|/etc/hosts:12|NODATA|11\n")
        feed.writer.finish()
    }
}
