import DNSWire
import Platform
import Testing

@testable import LocalData
@testable import Lookup
@testable import Upstream

@Suite("Peeking into the cache")
struct CachePeekTests {
    let client = AnswerClient()

    private func key(_ name: String, _ type: RecordType = .a) throws -> FetchKey {
        FetchKey(try #require(Name(name)), Question(type: type))
    }

    @Test("shows age, remaining time, origin and hits, and leaves no trace")
    func peek() throws {
        let cache = AnswerCache()
        let origin = UpstreamAnswer.Origin(upstream: 3, microseconds: 11_234, transport: .tcp)
        cache.insert(
            try client.check(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)])), now: microseconds(100),
            from: origin)
        _ = client.read(cache, "n.test.", .a, at: 101)
        let before = cache.statistics
        let held = try #require(cache.peek(try key("N.test."), now: microseconds(110.5)))
        #expect(held.entry.age == 10 && held.entry.remaining == 290 && held.entry.ttl == 300)
        #expect(held.entry.hits == 1 && !held.entry.isStale && held.entry.isUsable && !held.entry.isPrefetched)
        #expect(held.entry.origin.upstream == 3 && held.entry.origin.transport == .tcp)
        #expect((11_230...11_234).contains(held.entry.origin.microseconds))
        #expect(cache.statistics == before)
        #expect(cache.peek(try key("n.test."), now: microseconds(110))?.entry.hits == 1)
        #expect(cache.peek(try key("n.test.", .aaaa), now: microseconds(110)) == nil)
        #expect(cache.peek(try key("m.test."), now: microseconds(110)) == nil)
    }

    @Test("shows expired entries, marked as stale")
    func stale() throws {
        let cache = AnswerCache()
        cache.insert(
            try client.check(AnswerMessage("n.test.", .a, [.a("n.test.", 30, 1)])), now: microseconds(100))
        let held = try #require(cache.peek(try key("n.test."), now: microseconds(200)))
        #expect(held.entry.isStale && held.entry.remaining == 0 && held.entry.age == 100 && !held.entry.isUsable)
        #expect(held.entry.origin.upstream == -1)
    }

    @Test("lists a large cache in parts, up to a limit")
    func list() throws {
        let cache = AnswerCache()
        for number in 0..<3000 {
            let name = "n\(number).\(number % 2 == 0 ? "even" : "odd").test."
            cache.insert(try client.check(AnswerMessage(name, .a, [.a(name, 300, 1)])), now: microseconds(100))
        }
        let all = cache.entries(limit: 10_000, now: microseconds(101), where: NameSearch("").matches)
        #expect(Set(all.entries.map(\.name)).count == 3000 && !all.hasMore)
        #expect(cache.entries(limit: 1500, now: 0, where: NameSearch("*.even.test").matches).entries.count == 1500)
        let cut = cache.entries(limit: 10, now: microseconds(101), where: NameSearch("odd").matches)
        #expect(cut.entries.count == 10 && cut.hasMore)
    }

    @Test(
        "a round trip in two bytes keeps its first three digits",
        arguments: [
            0, 1, 999, 4095, 4096, 11_234, 5_000_000, 100_000_000, UInt32.max,
        ])
    func roundTrip(microseconds: UInt32) {
        let value = ShortMicroseconds(microseconds).value
        let expected = min(microseconds, 4095 << 15)
        #expect(value <= expected && Double(expected - value) <= Double(expected) / 2048)
    }

    static let patterns: [(pattern: String, name: String, matches: Bool)] = [
        ("", "a.test.", true), ("TEST", "a.test.", true), ("a.t", "a.test.", true), ("b", "a.test.", false),
        ("*.test", "a.test.", true), ("*.test", "test.", false), ("*.est", "a.test.", false),
        ("*.test.", "a.b.test.", true), ("b\u{FC}cher", "www.xn--bcher-kva.test.", true), (".", ".", false),
        (String(repeating: "a", count: 400), "a.test.", false), ("*.", "a.test.", true),
    ]

    @Test("names are selected by substring or by ancestor", arguments: patterns)
    func pattern(_ test: (pattern: String, name: String, matches: Bool)) throws {
        let wire = try #require(Name(test.name)).wire
        #expect(wire.withUnsafeBytes { NameSearch(test.pattern).matches($0) } == test.matches)
    }
}
