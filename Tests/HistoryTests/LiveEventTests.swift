import History
import LookupLog
import Testing

@testable import Inspector

@Suite("News of lookups for open pages")
struct LiveEventTests {
    private typealias Pages = AsyncStream<LiveEvents.News>.Iterator

    private static func next(_ page: inout Pages) async -> [Int64] {
        while let news = await page.next() {
            if case .lookups(let count, let from, let to) = news { return [Int64(count), from, to] }
        }
        return []
    }

    @Test("come for the lookups that fit, and also to a page that opens with another filter while nothing happens")
    func lookups() async throws {
        let feed = try HistoryWriterFeed()
        let searches = try HistorySearches(feed.store)
        let live = LiveEvents(KeptHistory(searches, feed.writer)) { "" }
        feed.note([RandomLookups.masked("a.test."), RandomLookups.masked("b.test.")])
        try feed.wait(for: 2)
        // The first search is for the newest that there are; a page leaves out those it shows.
        var all = try #require(await live.subscribe("x", "", LookupFilter())).makeAsyncIterator()
        #expect(await Self.next(&all) == [2, 0, 2])
        let filter = try LookupFilter(words: "name:b.test")
        var some = try #require(await live.subscribe("y", "name:b.test", filter)).makeAsyncIterator()
        #expect(await Self.next(&some) == [1, 0, 2])
        feed.note([RandomLookups.masked("c.test.")], from: 3)
        #expect(await Self.next(&all) == [1, 2, 3])
        feed.note([RandomLookups.masked("b.test.")], from: 4)
        #expect(await Self.next(&all) == [1, 3, 4])
        let news = await Self.next(&some)
        #expect(news.first == 1 && news.last == 4)
    }

    @Test("come again after searches that failed")
    func failing() async throws {
        let feed = try HistoryWriterFeed()
        let searches = try HistorySearches(feed.store, threads: 1, waiting: 0)
        let live = LiveEvents(KeptHistory(searches, feed.writer)) { "" }
        feed.note([RandomLookups.masked("a.test.")])
        try feed.wait(for: 1)
        // As long as another takes the only place, all searches fail.
        let gate = Gate()
        let other = Task { try await searches.run(for: SearchClient("other")) { _, _ in gate.pass() } }
        try await gate.wait(for: 1)
        var page = try #require(await live.subscribe("x", "", LookupFilter())).makeAsyncIterator()
        var pulses = 0
        while pulses < 2 { if case .pulse? = await page.next() { pulses += 1 } }
        gate.open()
        #expect(await Self.next(&page) == [1, 0, 1])
        try await other.value
    }
}
