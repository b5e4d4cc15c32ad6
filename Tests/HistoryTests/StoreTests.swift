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

    @Test("File and folder are created, and not readable for everyone")
    func made() throws {
        let feed = try HistoryWriterFeed()
        feed.note([RandomLookups.one(seed: 1)])
        try feed.wait(for: 1)
        #expect(try mode(feed.store.path) == 0o640)
        #expect(try mode(feed.store.path + "-wal") == 0o640)
        #expect(try mode(feed.folder.file("state")) == 0o750)
        try feed.finish()
    }

    @Test("A damaged file is renamed and reported, and a new one created")
    func damaged() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            "SQLite format 3\0" + String(repeating: "and then no database at all ", count: 1000), to: "state/history.db"
        )
        let feed = try HistoryWriterFeed(folder: folder)
        feed.note([RandomLookups.one(seed: 1)])
        try feed.wait(for: 1)
        try feed.finish()
        #expect(feed.reports.all.count == 1)
        #expect(feed.reports.all.first?.contains("is damaged") == true)
        let aside = try FileManager.default.contentsOfDirectory(atPath: folder.file("state"))
            .filter { $0.hasPrefix("history.db.damaged-") }
        #expect(aside.count == 1)
    }

    @Test("A file that never was a database is left alone")
    func foreign() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("127.0.0.1 precious.test\n", to: "hosts")
        #expect(throws: HistoryStore.Problem.self) { try HistoryStore(path: file) }
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "127.0.0.1 precious.test\n")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
    }

    @Test("A file found damaged during writing is renamed too")
    func damagedLater() throws {
        let folder = try TemporaryFolder()
        let first = try HistoryWriterFeed(folder: folder)
        first.note((0..<3000).map { RandomLookups.one(seed: UInt64($0)) })
        try first.finish()
        try DatabaseQueue(path: first.store.path).writeWithoutTransaction {
            _ = try Row.fetchAll($0, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
        }
        let file = try FileHandle(forWritingTo: URL(filePath: first.store.path))
        let size = try file.seekToEnd()
        // Everything except the schema.
        for page in 1..<(size / 4096) {
            try file.seek(toOffset: page * 4096)
            try file.write(contentsOf: Data(repeating: 0xA5, count: 4096))
        }
        try file.close()
        let feed = try HistoryWriterFeed(folder: folder)
        feed.note([RandomLookups.one(seed: 1)])
        try feed.wait(for: 1)
        try feed.finish()
        #expect(feed.reports.all.filter { $0.contains("is damaged") }.count == 1)
        #expect(try feed.store.search(LookupFilter(), limit: 10).lookups.count == 1)
    }

    @Test("If the file is removed, a new one is created")
    func takenAway() throws {
        let feed = try HistoryWriterFeed()
        feed.note((0..<100).map { RandomLookups.one(seed: UInt64($0)) })
        try feed.wait(for: 100)
        try FileManager.default.removeItem(atPath: feed.store.path)
        feed.note([RandomLookups.masked("after.test.")], from: 101)
        try feed.wait(for: 101)
        for store in [feed.store, try HistoryStore(reading: feed.store.path)] {
            #expect(try store.search(LookupFilter(), limit: 10).lookups.map(\.number) == [101])
        }
        try feed.finish()
        #expect(feed.reports.all.count == 1)
        #expect(feed.reports.all.first?.contains("the file was taken away or replaced") == true)
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

    @Test("Without permission to create the folder, the message names it and the fix")
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

    @Test("It can be read while it is written, and after the daemon has ended")
    func reading() throws {
        let feed = try HistoryWriterFeed()
        feed.note((0..<100).map { RandomLookups.one(seed: UInt64($0)) })
        try feed.wait(for: 100)
        let reader = try HistoryStore(reading: feed.store.path)
        #expect(try reader.search(LookupFilter(), limit: 1000).lookups.count == 100)
        feed.note((0..<100).map { RandomLookups.one(seed: UInt64($0)) }, from: 101)
        try feed.wait(for: 200)
        #expect(try reader.search(LookupFilter(), limit: 1000).lookups.count == 200)
        try feed.finish()
        #expect(try reader.search(LookupFilter(), limit: 1000).lookups.count == 200)
    }

    @Test("Users of sqlite3 find readable texts")
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
        try feed.finish()
    }

    @Test("Two daemons can share a history: both write, and nothing is lost")
    func shared() throws {
        let folder = try TemporaryFolder()
        let feeds = [try HistoryWriterFeed(folder: folder), try HistoryWriterFeed(folder: folder)]
        for round in 0..<6 {
            let feed = feeds[round % 2]
            feed.note((0..<700).map { RandomLookups.one(seed: UInt64($0)) })
            try feed.wait(for: (round / 2 + 1) * 700)
        }
        for feed in feeds { try feed.finish() }
        #expect(feeds.allSatisfy { $0.reports.all.isEmpty })
        let page = try feeds[0].store.search(LookupFilter(), limit: 10_000, newestFirst: false)
        #expect(page.lookups.map(\.id) == Array(1...4200))
    }

    @Test(
        "A user with read permission can read it even if SQLite can't create its own files",
        .enabled(if: getuid() == 0))
    func withoutRights() async throws {
        let folder = try TemporaryFolder()
        let path = folder.file("readable #1/history.db")
        do {
            let store = try HistoryStore(path: path)
            let writer = try HistoryWriter(store: store, limits: .ample)
            StoredLookup(id: 0, number: 1, RandomLookups.masked("a.test.")).withRecord { writer.note($0, id: 1) }
            writer.finish()
        }
        try waitUntil("the database is closed") { !FileManager.default.fileExists(atPath: path + "-wal") }
        for (path, mode) in [(folder.path, 0o755), (folder.file("readable #1"), 0o755), (path, 0o644)] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            [path = path as String] in
            setuid(65_534)
            let page = try HistoryStore(reading: path).search(LookupFilter(), limit: 10)
            #expect(page.lookups.count == 1)
        }
        _ = result
    }

    @Test("A file with arbitrary values in its rows is read without harm")
    func anyRows() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix(state: seed)
        let feed = try HistoryWriterFeed()
        var lookups = RandomLookups(seed: seed)
        feed.note((0..<5000).map { _ in lookups.next() })
        try feed.finish()
        let database = try DatabaseQueue(path: feed.store.path)
        let columns = try database.read { database in
            try [
                "lookup", "facet", "client", "name", "file", "upstream", "block", "loss",
            ].flatMap { table in
                try String.fetchAll(database, sql: "SELECT name FROM pragma_table_info('\(table)')").map { (table, $0) }
            }
        }
        for round in 0..<20 {
            let (table, column) = columns.randomElement(using: &random)!
            let value = [
                "9223372036854775807", "-9223372036854775808", "-1", "0", "65536", "4294967296", "x''",
                "randomblob(5)", "randomblob(40)", "randomblob(9000)", "'text'",
            ].randomElement(using: &random)!
            try database.write { database in
                // A value that a column does not accept is left unchanged.
                try? database.execute(
                    sql: "UPDATE OR IGNORE \(table) SET \(column) = \(value) WHERE rowid % 7 = \(round % 7)")
            }
            let store = try HistoryStore(reading: feed.store.path)
            var formatter = LookupFormatter([.json, .text, .csv][round % 3])
            try store.forEachPage(lookups.filter()) { page in
                formatter.setUpstreams(page.upstreams)
                for lookup in page.lookups { formatter.append(lookup) }
                _ = formatter.take()
                #expect(page.losses.allSatisfy { $0.count > 0 })
                return true
            }
            _ = try store.statistics()
            _ = try store.navigation(around: Int64.random(in: 1...5000, using: &random))
            _ = try store.names(startingWith: "a", limit: 3)
            _ = try store.search(LookupFilter(), limit: 50).entries
        }
    }
}
