import DNSWire
import Foundation
import History
import LookupLog
import Resolution
import TestSupport
import Testing

@Suite("Searching the history")
struct SearchTests {
    @Test("Any search finds what a look at every lookup finds, in the order and the pages asked for")
    func anySearch() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = RandomLookups(seed: seed)
        let feed = try HistoryWriterFeed()
        feed.writer.setUpstreams(random.upstreams)
        var lookups: [StoredLookup] = []
        // Several transactions; the last block is not full.
        for round in 0..<5 {
            let some = (0..<6300).map { _ in random.next() }
            feed.note(some, from: UInt64(lookups.count + 1))
            for fields in some { lookups.append(StoredLookup(id: Int64(lookups.count + 1), number: 0, fields)) }
            try feed.wait(for: 6300 * (round + 1))
        }
        for round in 0..<100 {
            let filter = random.filter()
            let newestFirst = Bool.random(using: &random.random)
            let expected = lookups.filter { $0.withRecord(filter.matches) }.map(\.id)
            var found: [Int64] = []
            var cursor: Int64?
            let limit = [1, 7, 100, 5000][round % 4]
            repeat {
                let page = try feed.store.search(
                    filter, before: newestFirst ? cursor : nil, after: newestFirst ? nil : cursor, limit: limit,
                    newestFirst: newestFirst)
                found += page.lookups.map(\.id)
                #expect(page.next == nil || page.lookups.count == limit, "seed \(seed)")
                cursor = page.next
            } while cursor != nil && found.count < 300
            let wanted = newestFirst ? Array(expected.reversed()) : expected
            #expect(found == Array(wanted.prefix(found.count)), "seed \(seed): \(filter)")
            if cursor == nil { #expect(found.count == wanted.count, "seed \(seed): \(filter)") }
        }
        feed.writer.finish()
    }

    @Test("A lookup read back is the line that was logged, byte for byte", arguments: LookupFormatter.Form.allCases)
    func sameLines(_ form: LookupFormatter.Form) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = RandomLookups(seed: seed)
        let feed = try HistoryWriterFeed()
        feed.writer.setUpstreams(random.upstreams)
        let all = (0..<3000).map { _ in random.next() }
        feed.note(all)
        // Servers change while the daemon runs: what was logged before keeps its own.
        let others = ["198.51.100.1:53"] + random.upstreams.reversed()
        feed.writer.setUpstreams(others)
        feed.note(all, from: 3001)
        feed.writer.finish()
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
}
