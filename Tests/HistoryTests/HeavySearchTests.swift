import Foundation
import History
import LookupLog
import Synchronization
import TestSupport
import Testing

@Suite("A heavy search of the history")
struct HeavySearchTests {
    private func some(_ count: Int) throws -> HistoryWriterFeed {
        let feed = try HistoryWriterFeed()
        feed.note((0..<count).map { RandomLookups.masked("name\($0).test.") })
        try feed.finish()
        return feed
    }

    @Test("lets a limited number of others wait, which then get their results")
    func bounded() async throws {
        let searches = try HistorySearches(try some(3).store, threads: 2, waiting: 1, seconds: nil)
        let gate = Gate()
        let heavy = ["a", "b"].map { client in
            Task { try await searches.run(for: SearchClient(client)) { _, _ in gate.pass() } }
        }
        try await gate.wait(for: 2)
        // Only one of these may wait, whichever comes first; the other is refused.
        let light = (0..<2).map { _ in
            Task { () -> Result<Int, HistoryStore.Problem> in
                do throws(HistoryStore.Problem) {
                    return .success(try await searches.search(LookupFilter(), limit: 9).lookups.count)
                } catch {
                    gate.open()
                    return .failure(error)
                }
            }
        }
        let results = [await light[0].value, await light[1].value]
        #expect(results.compactMap { try? $0.get() } == [3])
        let refusal = results.compactMap { if case .failure(let problem) = $0 { problem } else { nil } }
        #expect(refusal.first?.isOfLoad == true && refusal[0].description.hasPrefix("too many searches"))
        for task in heavy { try await task.value }
    }

    @Test("leaves a thread and room in the queue for other clients")
    func shares() async throws {
        let searches = try HistorySearches(try some(3).store, threads: 2, waiting: 14, seconds: nil)
        let gate = Gate()
        let greedy = SearchClient("greedy")
        // One runs, three wait, and the rest are refused.
        let (refusals, refused) = AsyncStream.makeStream(of: Void.self)
        let heavy = (0..<8).map { _ in
            Task {
                do { try await searches.run(for: greedy) { _, _ in gate.pass() } } catch { refused.yield() }
            }
        }
        try await gate.wait(for: 1)
        var refusal = refusals.makeAsyncIterator()
        for _ in 0..<4 { await refusal.next() }
        // Others get their results meanwhile.
        for client in ["one", "two", "one"] {
            let found = try await searches.search(LookupFilter(), limit: 9, for: SearchClient(client))
            #expect(found.lookups.count == 3)
        }
        #expect(gate.count == 1)
        gate.open()
        for task in heavy { await task.value }
        #expect(gate.count == 4)
    }

    @Test("ends when its client no longer waits for it, whether it is queued or running")
    func cancelled() async throws {
        let searches = try HistorySearches(try some(1).store, threads: 1, seconds: nil)
        let gate = Gate()
        let isThere = Atomic(true)
        let running = Task {
            try await searches.run(for: SearchClient("a", isThere: { isThere.load(ordering: .relaxed) })) { _, budget in
                gate.pass()
                while true { if let end = budget.end { throw end } }
            }
        }
        try await gate.wait(for: 1)
        let waiting = Task { try await searches.search(LookupFilter(), limit: 9) }
        waiting.cancel()
        // The only thread is still busy.
        await #expect(throws: HistoryStore.Problem.self) { try await waiting.value }
        gate.open()
        isThere.store(false, ordering: .relaxed)
        await #expect(throws: HistoryStore.Problem.self) { try await running.value }
        let endless = Task {
            try await searches.run { _, budget in
                while true { if let end = budget.end { throw end } }
            }
        }
        endless.cancel()
        await #expect(throws: HistoryStore.Problem.self) { try await endless.value }
        #expect(try await searches.search(LookupFilter(), limit: 9).lookups.count == 1)
    }

    @Test("ends with the daemon, and so do the searches that wait behind it")
    func end() async throws {
        let searches = try HistorySearches(try some(1).store, threads: 1, seconds: nil)
        let gate = Gate()
        let running = Task {
            try await searches.run { _, budget in
                gate.pass()
                while true { if let end = budget.end { throw end } }
            }
        }
        try await gate.wait(for: 1)
        let waiting = Task { try await searches.search(LookupFilter(), limit: 9) }
        gate.open()
        searches.end()
        await #expect(throws: HistoryStore.Problem.self) { try await running.value }
        await #expect(throws: HistoryStore.Problem.self) { try await waiting.value }
        await #expect(throws: HistoryStore.Problem.self) { try await searches.search(LookupFilter(), limit: 9) }
    }

    @Test("ends when its time is up: a search for lookups, for names, and one that reads everything")
    func deadline() async throws {
        let store = try some(9000).store
        let searches = try HistorySearches(store, threads: 3, seconds: 1)
        let filter = try LookupFilter(words: "name:*nothing*")
        let bodies: [@Sendable (HistoryStore, SearchBudget) throws -> Void] = [
            { _ = try $0.search(filter, limit: 9, $1) },
            { _ = try $0.names(startingWith: "nothing", limit: 9, $1) },
            { _ = try $0.search(LookupFilter(), limit: 9000, $1) },
        ]
        for body in bodies {
            // The time is up before `body` starts, so the result does not depend on the machine's speed.
            let problem = await #expect(throws: HistoryStore.Problem.self) {
                try await searches.run { store, budget in
                    while budget.end == nil { usleep(1000) }
                    try body(store, budget)
                }
            }
            #expect(
                problem?.description.hasPrefix("the search took longer than 1 s") == true,
                "\(String(describing: problem))")
            #expect(problem?.isOfLoad == true)
        }
        // The connections still work.
        #expect(try store.search(LookupFilter(), limit: 9000).lookups.count == 9000)
    }
}
