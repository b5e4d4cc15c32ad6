import DNSWire
import LocalData
import Testing

@testable import Lookup
@testable import Pipeline
@testable import Upstream

@Suite("Upstream's answers in the chain of sources")
struct CacheChainTests {
    private func resolve(_ pipeline: Pipeline, _ fresh: FreshAnswers, at now: Double) -> (Outcome, Decision) {
        Lookup.asking("n.example.", .a) { lookup in
            lookup.request.now = microseconds(now)
            lookup.upstream.answers = fresh
            return (pipeline.resolve(&lookup), lookup.decision)
        }
    }

    @Test("When upstream fails, an answer that ran out comes before the failure (RFC 8767 4)")
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
}
