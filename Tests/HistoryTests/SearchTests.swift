import DNSWire
import Foundation
import History
import Lookup
import LookupLog
import Platform
import TestSupport
import Testing

@Suite("Searching the history")
struct SearchTests {
    @Test("Any search finds what checking every lookup finds, in the requested order and pages")
    func anySearch() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = RandomLookups(seed: seed)
        let feed = try HistoryWriterFeed()
        feed.writer.setUpstreams(random.upstreams)
        var lookups: [StoredLookup] = []
        // Several transactions; four blocks, the last one not full.
        for _ in 0..<4 {
            let some = (0..<3500).map { _ in random.next() }
            feed.note(some, from: UInt64(lookups.count + 1))
            for fields in some { lookups.append(StoredLookup(id: Int64(lookups.count + 1), number: 0, fields)) }
            try feed.wait(for: lookups.count)
        }
        for round in 0..<100 {
            let filter = random.filter()
            let newestFirst = Bool.random(using: &random.random)
            let limit = [1, 7, 100, 5000][round % 4]
            // From an end or from anywhere, so that even a few pages cross the end of a block.
            let start = round % 8 < 4 ? nil : Int64.random(in: 1...Int64(lookups.count), using: &random.random)
            var found: [Int64] = []
            var cursor = start
            var pages = 0
            repeat {
                // Each page is a search of its own, which checks every name.
                let page = try feed.store.search(
                    filter, before: newestFirst ? cursor : nil, after: newestFirst ? nil : cursor, limit: limit,
                    newestFirst: newestFirst)
                found += page.lookups.map(\.id)
                #expect(page.next == nil || page.lookups.count == limit, "seed \(seed)")
                cursor = page.next
                pages += 1
            } while cursor != nil && pages < 10
            let behind =
                newestFirst
                ? Array(lookups.prefix(start.map { Int($0) - 1 } ?? .max).reversed())
                : Array(lookups.dropFirst(Int(start ?? 0)))
            // Compare with as many as were found, unless those were all.
            let wanted = behind.lazy.filter { $0.withRecord(filter.matches) }.map(\.id)
                .prefix(cursor == nil ? .max : found.count)
            #expect(found == Array(wanted), "seed \(seed): \(filter)")
        }
        try feed.finish()
    }

    @Test("A lookup read back gives the line that was logged, byte for byte", arguments: LookupFormatter.Form.allCases)
    func sameLines(_ form: LookupFormatter.Form) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = RandomLookups(seed: seed)
        let feed = try HistoryWriterFeed()
        feed.writer.setUpstreams(random.upstreams)
        let all = (0..<3000).map { _ in random.next() }
        feed.note(all)
        // Servers change while the daemon runs; earlier lookups keep theirs.
        let others = ["198.51.100.1:53"] + random.upstreams.reversed()
        feed.writer.setUpstreams(others)
        feed.note(all, from: 3001)
        try feed.finish()
        var logged = LookupFormatter(form, upstreams: random.upstreams)
        for (index, fields) in all.enumerated() {
            logged.append(StoredLookup(id: 0, number: UInt64(index + 1), fields))
        }
        logged.setUpstreams(others)
        for (index, fields) in all.enumerated() {
            logged.append(StoredLookup(id: 0, number: UInt64(index + 3001), fields))
        }
        var readBack = LookupFormatter(form)
        try HistoryStore(reading: feed.store.path).forEachPage(LookupFilter(), pageSize: 700) { page in
            readBack.setUpstreams(page.upstreams)
            for lookup in page.lookups { readBack.append(lookup) }
            return true
        }
        let wanted = logged.take().split(separator: UInt8(ascii: "\n"))
        let found = readBack.take().split(separator: UInt8(ascii: "\n"))
        #expect(found.count == 6000)
        for (wanted, found) in zip(wanted, found) where wanted != found {
            let lines = [found, wanted].map { String(decoding: $0, as: UTF8.self) }
            Issue.record("seed \(seed): \(lines[0]) instead of \(lines[1])")
            break
        }
    }

    private func lookup(
        _ name: String, _ type: RecordType, _ milliseconds: UInt64, client: String = "127.0.0.1",
        process: ClientProcess? = nil, chain: [String] = []
    ) -> LookupFields {
        var fields = RandomLookups.masked(name)
        fields.time += milliseconds * 1000
        fields.client = SocketAddress(ip: client, port: UInt16(milliseconds % 60_000 + 1))!
        fields.process = process
        fields.type = type
        for name in chain {
            fields.hops.append(.init(nameOffset: UInt16(fields.message.count), source: .zone, place: .nowhere))
            fields.message += Name(name)!.wire + [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]
        }
        return fields
    }

    @Test("A navigation is what one client asked about a name and its chain within two seconds")
    func navigation() throws {
        let feed = try HistoryWriterFeed()
        let browser = ClientProcess(pid: 7, command: "firefox")
        feed.note([
            lookup("www.acme.org.", .a, 0, process: browser),  // Long before.
            lookup("www.acme.org.", .a, 10_000, process: browser, chain: ["edge.cdn.net."]),
            lookup("WWW.acme.org.", .aaaa, 10_001, process: ClientProcess(pid: 8, command: "firefox")),
            lookup("www.acme.org.", .https, 10_002, client: "::ffff:127.0.0.1"),
            lookup("_8443._https.www.acme.org.", .https, 10_003, process: browser),
            lookup("edge.cdn.net.", .https, 10_900, process: browser),
            lookup("other.acme.org.", .a, 10_004, process: browser),
            lookup("www.acme.org.", .a, 10_005, client: "192.0.2.7"),
            lookup("www.acme.org.", .a, 10_006, process: ClientProcess(pid: 9, command: "dig")),
            lookup("www.acme.org.", .a, 13_000, process: browser),  // Long after.
        ])
        try feed.finish()
        #expect(try feed.store.navigation(around: 2).lookups.map(\.id) == [2, 3, 4, 5, 6])
        #expect(try feed.store.navigation(around: 5).lookups.map(\.id) == [2, 3, 4, 5])
        #expect(try feed.store.navigation(around: 1).lookups.map(\.id) == [1])
        #expect(try feed.store.navigation(around: 99).lookups.isEmpty)
    }

    @Test("A lookup is found by identifier, names by how they or their labels start")
    func single() throws {
        let feed = try HistoryWriterFeed()
        feed.note([lookup("www.acme.org.", .a, 0), lookup("acme.example.", .a, 1), lookup("mail.test.", .a, 2)])
        try feed.finish()
        #expect(try feed.store.lookup(2)?.lookups.map(\.number) == [2])
        for id in [4, 0, -1, .max, .min] as [Int64] {
            #expect(try feed.store.lookup(id) == nil)
            #expect(try feed.store.navigation(around: id).lookups.isEmpty)
            #expect(try feed.store.search(LookupFilter(), before: id, limit: 9).lookups.count == (id > 3 ? 3 : 0))
            #expect(try feed.store.search(LookupFilter(), after: id, limit: 9).lookups.count == (id > 3 ? 0 : 3))
        }
        #expect(try feed.store.names(startingWith: "ACM", limit: 9) == ["acme.example.", "www.acme.org."])
        #expect(try feed.store.names(startingWith: "", limit: 2).count == 2)
    }

    @Test("Each loss is shown between the lookups around it, on whatever page")
    func losses() throws {
        let feed = try HistoryWriterFeed()
        for part in 0..<4 {
            feed.note((0..<3).map { lookup("n\($0).test.", .a, UInt64(10 * part + $0)) }, from: UInt64(3 * part + 1))
            try feed.wait(for: 3 * (part + 1))
            feed.writer.note(lost: UInt64(part + 1), time: 1_795_453_200_000_001)
            try waitUntil("the loss is written") {
                try feed.store.statistics().lost[.log] == (1...(part + 1)).reduce(0, +)
            }
        }
        try feed.finish()
        func words(_ page: HistoryPage) -> String {
            page.entries.map { entry in
                switch entry {
                case .lookup(let lookup): "\(lookup.id)"
                case .loss(let loss): "-\(loss.count)"
                }
            }.joined(separator: " ")
        }
        for (newestFirst, expected) in [
            (true, "-4 12 11 10 -3 9 8 7 -2 6 5 4 -1 3 2 1"), (false, "1 2 3 -1 4 5 6 -2 7 8 9 -3 10 11 12 -4"),
        ] {
            for limit in [1, 2, 5, 100] {
                var all: [String] = []
                var cursor: Int64?
                repeat {
                    let page = try feed.store.search(
                        LookupFilter(), before: newestFirst ? cursor : nil, after: newestFirst ? nil : cursor,
                        limit: limit, newestFirst: newestFirst)
                    all.append(words(page))
                    cursor = page.next
                } while cursor != nil
                #expect(all.joined(separator: " ") == expected, "pages of \(limit)")
            }
        }
    }
}
