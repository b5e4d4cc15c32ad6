import DNSWire
import Foundation
import GRDB
import History
import LookupLog
import Platform
import TestSupport
import Testing

@Suite("Writing the history")
struct WriterTests {
    private func some(_ count: Int, seed: UInt64 = 1) -> [LookupFields] {
        var random = RandomLookups(seed: seed)
        random.time = SystemClock.wall()
        return (0..<count).map { _ in random.next() }
    }

    @Test("A single lookup is found without waiting for another")
    func soon() throws {
        let feed = try HistoryWriterFeed()
        for round in 1...3 {
            feed.note(some(1), from: UInt64(round))
            try feed.wait(for: round)
            #expect(try feed.store.search(LookupFilter(), limit: 10).lookups.count == round)
        }
        try feed.finish()
    }

    @Test("Lookups beyond the rate are counted, and reported where they are missing")
    func rate() throws {
        let feed = try HistoryWriterFeed(HistoryLimits(maximumAge: .max, maximumRate: 100))
        let all = some(1000)
        feed.note(all.prefix(600))
        feed.note(all.suffix(400), from: 601)
        try feed.finish()
        let page = try feed.store.search(LookupFilter(), limit: 1000, newestFirst: false)
        let lost = feed.writer.statistics.lost[.rate] ?? 0
        #expect(page.lookups.count + lost == 1000)
        // Two seconds' worth at once, plus at most as much for the time between the two parts.
        #expect((200...400).contains(page.lookups.count))
        #expect(page.losses.map(\.count).reduce(0, +) == lost)
        #expect(page.losses.allSatisfy { $0.reason == .rate && $0.until >= $0.time })
        #expect(try feed.store.statistics().lost == [.rate: lost])
        guard case .loss? = page.entries.last else {
            Issue.record("the loss is not behind the lookups that it came after")
            return
        }
    }

    @Test("Losses of the log are in the history too")
    func lostInLog() throws {
        let feed = try HistoryWriterFeed()
        feed.writer.note(lost: 7, time: 1_795_453_200_000_000)
        feed.note(some(1))
        try feed.finish()
        let losses = try feed.store.search(LookupFilter(), limit: 10).losses
        #expect(losses.map(\.count) == [7])
        #expect(losses.first?.reason == .log)
    }

    @Test("The next start continues after the last lookup, with the same names and clients")
    func restart() throws {
        let folder = try TemporaryFolder()
        var random = RandomLookups(seed: 5)
        let all = (0..<9000).map { _ in random.next() }
        for part in [all[..<1000], all[1000..<5000], all[5000...]] {
            let feed = try HistoryWriterFeed(.ample, folder: folder)
            feed.note(part)
            try feed.finish()
        }
        let store = try HistoryStore(reading: folder.file("state/history.db"))
        var times: [UInt64] = []
        try store.forEachPage(LookupFilter()) { page in
            times += page.lookups.map { $0.fields.time }
            return true
        }
        #expect(times == all.map(\.time))
        let filter = try LookupFilter(words: "name:*.org type:A,HTTPS client:127.0.0.1")
        let expected = all.filter { fields in StoredLookup(id: 0, number: 0, fields).withRecord(filter.matches) }
        #expect(try store.search(filter, limit: 9000).lookups.count == expected.count)
        let database = try DatabaseQueue(path: store.path)
        let doubles = try database.read {
            try Int.fetchOne($0, sql: "SELECT count(*) - count(DISTINCT text) FROM name") ?? -1
        }
        #expect(doubles == 0)
    }

    @Test("Old lookups are deleted, with their names")
    func age() throws {
        let folder = try TemporaryFolder()
        var old = some(5000, seed: 8)
        let name = try #require(Name("only-then.example."))
        for index in old.indices { old[index].time -= 3600 * 1_000_000 }
        old[17] = lookup(of: name, time: old[17].time)
        let first = try HistoryWriterFeed(.ample, folder: folder)
        first.note(old)
        try first.finish()
        #expect(try first.store.names(startingWith: "only-then", limit: 5) == ["only-then.example."])
        let feed = try HistoryWriterFeed(HistoryLimits(maximumAge: 60, maximumRate: 10_000_000), folder: folder)
        feed.note(some(10, seed: 9))
        try waitUntil("the old lookups are gone") { try feed.store.statistics().lookups == 10 }
        try waitUntil("their names are gone") {
            try feed.store.names(startingWith: "only-then", limit: 5).isEmpty
        }
        #expect(try feed.store.search(LookupFilter(), limit: 100).lookups.count == 10)
        // Finally all are too old; later lookups get new identifiers.
        let last = try #require(try feed.store.search(LookupFilter(), limit: 1).lookups.first?.id)
        #expect(last == 5010)
        try feed.finish()
    }

    @Test("Lookups stay if the clock seems to have jumped a year since the last time believed")
    func jumpedClock() throws {
        let folder = try TemporaryFolder()
        var old = some(100, seed: 8)
        for index in old.indices { old[index].time -= 365 * 86_400 * 1_000_000 }
        let first = try HistoryWriterFeed(.ample, folder: folder)
        first.note(old)
        try first.finish()
        let database = try DatabaseQueue(path: folder.file("state/history.db"))
        try database.write { try $0.execute(sql: "UPDATE state SET value = \(old[0].time) WHERE name = 'clock'") }
        try database.close()
        let feed = try HistoryWriterFeed(HistoryLimits(maximumAge: 60, maximumRate: 10_000_000), folder: folder)
        feed.note(some(10, seed: 9))
        try feed.finish()
        #expect(try feed.store.statistics().lookups == 110)
        // Also after another start.
        let again = try HistoryWriterFeed(HistoryLimits(maximumAge: 60, maximumRate: 10_000_000), folder: folder)
        again.note(some(1, seed: 10))
        try again.finish()
        #expect(try again.store.statistics().lookups == 111)
    }

    private func lookup(of name: Name, time: UInt64) -> LookupFields {
        var fields = LookupFields(client: SocketAddress(ip: "127.0.0.1", port: 1)!)
        fields.time = time
        fields.type = .a
        fields.recordClass = .in
        fields.questionLength = name.wire.count + 4
        fields.message = [UInt8](repeating: 0, count: 12) + name.wire + [0, 1, 0, 1]
        return fields
    }

    @Test("The files stay within the size limit, and the newest lookups stay")
    func size() throws {
        let most = 4 << 20
        let feed = try HistoryWriterFeed(HistoryLimits(maximumSize: most, maximumAge: .max, maximumRate: 10_000_000))
        var random = RandomLookups(seed: 3)
        random.time = SystemClock.wall() - 3_000_000_000
        for round in 0..<12 {
            feed.note((0..<4000).map { _ in random.next() }, from: UInt64(round * 4000 + 1))
            try feed.wait(for: (round + 1) * 4000)
        }
        try waitUntil("the files are small") { try feed.store.statistics().bytes <= most }
        try feed.finish()
        let statistics = try feed.store.statistics()
        #expect(statistics.lookups > 5000)
        #expect(try feed.store.search(LookupFilter(), limit: 1).lookups.first?.number == 48_000)
    }

    @Test("A smaller limit makes the file smaller")
    func smaller() throws {
        let folder = try TemporaryFolder()
        let large = try HistoryWriterFeed(.ample, folder: folder)
        large.note(some(20_000))
        try large.wait(for: 20_000)
        large.note(some(20_000))
        try large.finish()
        let most = 4 << 20
        #expect(try large.store.statistics().bytes > most)
        let small = try HistoryWriterFeed(
            HistoryLimits(maximumSize: most, maximumAge: .max, maximumRate: 10_000_000), folder: folder)
        small.note(some(1))
        try waitUntil("the file is small") { try small.store.statistics().bytes <= most }
        try small.finish()
    }
}
