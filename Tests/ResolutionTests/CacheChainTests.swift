import DNSWire
import LocalData
import Testing

@testable import Lookup
@testable import Pipeline
@testable import Upstream

@Suite("Upstream's answers in the chain of sources")
struct CacheChainTests {
    private func resolve(_ chain: SourceChain, _ fresh: FreshAnswers, at now: Double) -> (
        SourceChain.Resolution, Decision
    ) {
        let query =
            bytes(1) + bytes(0x0100) + bytes(1) + [0, 0, 0, 0, 0, 0] + wireName("n.example.") + bytes(1) + bytes(1)
        var name = LookupName()
        var parsed = Query()
        var decision = Decision()
        var scratch = LookupName()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 8)
        defer { buffer.deallocate() }
        return query.withUnsafeBytes { message in
            _ = parsed.parse(message, name: &name)
            var builder = ResponseBuilder(buffer: buffer, query: parsed, message: message, reserved: 0)
            let resolution = chain.resolve(
                &name, Question(type: .a), now: microseconds(now), fresh: fresh, builder: &builder,
                decision: &decision, scratch: &scratch)
            return (resolution, decision)
        }
    }

    @Test("When upstream fails, an answer that ran out comes before the failure (RFC 8767 4)")
    func staleBeforeFailure() throws {
        let client = AnswerClient()
        let chain = SourceChain(hosts: .empty(), zones: .empty, special: .none, cache: AnswerCache())
        var failed = FreshAnswers()
        failed.append(try client.check(AnswerMessage("n.example.", .a, code: .serverFailure)))
        let nothingHeld = resolve(chain, failed, at: 1000)
        #expect(nothingHeld.0 == .answered)
        #expect(nothingHeld.1.responseCode == .serverFailure)
        #expect(nothingHeld.1.source == .upstream)

        chain.cache.insert(
            try client.check(AnswerMessage("n.example.", .a, [.a("n.example.", 300, 1)])), now: microseconds(100))
        #expect(resolve(chain, .none, at: 1000).0 == .needsUpstream)
        let held = resolve(chain, failed, at: 1000)
        #expect(held.1.source == .stale)
        #expect(held.1.responseCode == .noError)
        #expect(held.1.extendedError == .staleAnswer)
    }
}
