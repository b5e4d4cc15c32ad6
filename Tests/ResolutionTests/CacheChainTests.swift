import DNSWire
import LocalData
import Testing

@testable import Lookup
@testable import Pipeline
@testable import Upstream

@Suite("Cached answers in chains")
struct CacheChainTests {
    private func resolve(_ pipeline: Pipeline, _ fresh: FreshAnswers, at now: Double) -> (Outcome, Decision) {
        Lookup.asking("n.example.", .a) { lookup in
            lookup.request.now = microseconds(now)
            lookup.upstream.answers = fresh
            return (pipeline.resolve(&lookup), lookup.decision)
        }
    }

    @Test("If upstream fails, an expired answer is preferred to the failure (RFC 8767 4)")
    func staleBeforeFailure() throws {
        let client = AnswerClient()
        let pipeline = Pipeline(hosts: .empty(), zones: .empty, special: .none, cache: AnswerCache())
        var failed = FreshAnswers()
        failed.append(try client.check(AnswerMessage("n.example.", .a, code: .serverFailure)))
        let nothingHeld = resolve(pipeline, failed, at: 1000)
        #expect(nothingHeld.0 == .answered)
        #expect(nothingHeld.1.responseCode == .serverFailure)
        #expect(nothingHeld.1.source == .upstream)

        pipeline.cache.insert(
            try client.check(AnswerMessage("n.example.", .a, [.a("n.example.", 300, 1)])), now: microseconds(100))
        #expect(resolve(pipeline, .none, at: 1000).0 == .needs)
        let held = resolve(pipeline, failed, at: 1000)
        #expect(held.1.source == .stale)
        #expect(held.1.responseCode == .noError)
        #expect(held.1.extendedError == .staleAnswer)
    }

    @Test(
        "While no server is known, what is held is given, fresh and then expired; the rest is refused with the reason")
    func withoutServer() throws {
        let client = AnswerClient()
        let pipeline = Pipeline(
            hosts: .empty(), zones: .empty, special: .none, cache: AnswerCache(),
            routes: ForwardRoutes([], awaitsDefault: true))
        let nothingHeld = resolve(pipeline, .none, at: 100)
        #expect(nothingHeld.0 == .answered)
        #expect(nothingHeld.1.responseCode == .refused && nothingHeld.1.extendedError == .noReachableAuthority)
        #expect(nothingHeld.1.text == "no upstream server is known at the moment")
        pipeline.cache.insert(
            try client.check(AnswerMessage("n.example.", .a, [.a("n.example.", 300, 1)])), now: microseconds(100))
        #expect(resolve(pipeline, .none, at: 200).1.source == .cache)
        #expect(resolve(pipeline, .none, at: 1000).1.source == .stale)
        #expect(resolve(pipeline, .none, at: 100_000).1.responseCode == .refused)
    }

    @Test("A denial of the name counts for all its types, unless one of them is known to be there")
    func denial() throws {
        let client = AnswerClient()
        let cache = AnswerCache()
        func insert(_ message: AnswerMessage, at now: Double) throws {
            cache.insert(try client.check(message), now: microseconds(now))
        }
        func code(_ type: RecordType, at now: Double) -> ResponseCode? {
            let read = client.read(cache, "n.test.", type, at: now)
            return read.outcome == .pass ? nil : read.decision.responseCode
        }
        try insert(AnswerMessage("n.test.", .a, [.a("n.test.", 100, 1)]), at: 0)
        try insert(
            AnswerMessage("n.test.", .aaaa, code: .nxDomain, [], authority: [.soa("test.", 900, minimum: 200)]), at: 0)
        #expect(code(.a, at: 50) == .noError && code(.mx, at: 50) == .nxDomain)
        #expect(code(.a, at: 150) == .nxDomain)
        // Found after all: the denial is forgotten.
        try insert(AnswerMessage("n.test.", .a, [.a("n.test.", 100, 1)]), at: 160)
        #expect(code(.mx, at: 170) == nil && code(.aaaa, at: 170) == nil)
        // A failure is no reason to forget it.
        try insert(
            AnswerMessage("n.test.", .aaaa, code: .nxDomain, [], authority: [.soa("test.", 900, minimum: 200)]), at: 200
        )
        try insert(AnswerMessage("n.test.", .mx, code: .serverFailure), at: 210)
        #expect(code(.mx, at: 211) == .nxDomain)
        #expect(cache.statistics.entries == 2)
    }

    @Test("A refresh asks for the cached alias, never for its overridden target")
    func renewal() throws {
        let client = AnswerClient()
        let pipeline = Pipeline(
            hosts: HostsExchange("127.0.0.99 over.ours.example").table, zones: .empty, special: .none,
            cache: AnswerCache())
        let alias = AnswerMessage(
            "www.cdn.example.", .a,
            [.cname("www.cdn.example.", 10, "over.ours.example."), .a("over.ours.example.", 10, 7)])
        pipeline.cache.insert(try client.check(alias), now: microseconds(100))
        let renewed = [101.0, 102, 103, 104, 105, 109.2].map { now in
            Lookup.asking("www.cdn.example.", .a) { lookup in
                lookup.request.now = microseconds(now)
                #expect(pipeline.resolve(&lookup) == .answered)
                #expect(lookup.decision.source == .hosts)
                return lookup.renewals
            }
        }
        let key = FetchKey(try #require(Name("www.cdn.example.")), Question(type: .a))
        #expect(renewed == [[], [], [], [], [], [key]])
    }
}
