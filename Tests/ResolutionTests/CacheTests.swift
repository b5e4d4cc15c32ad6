import DNSWire
import Lookup
import Testing

@testable import Upstream

@Suite("The cache")
struct CacheTests {
    let client = AnswerClient()

    private func filled(_ message: AnswerMessage, at now: Double = 100, _ settings: AnswerCache.Settings = .init())
        throws -> AnswerCache
    {
        let cache = AnswerCache(settings)
        cache.insert(try client.check(message), now: microseconds(now))
        return cache
    }

    @Test("A hit's TTL is reduced by its age")
    func aging() throws {
        let cache = try filled(AnswerMessage("N.test.", .a, [.a("n.test.", 300, 1)]))
        #expect(client.read(cache, "n.test.", .a, at: 100.9).answers == ["n.test. 300 A 192.0.2.1"])
        #expect(client.read(cache, "n.TEST.", .a, at: 399.9).answers == ["n.TEST. 1 A 192.0.2.1"])
        #expect(client.read(cache, "n.test.", .a, at: 400).outcome == .pass)
        #expect(client.read(cache, "n.test.", .a, at: 101).decision.source == .cache)
    }

    @Test("A lookup that read the clock just before the answer arrived gets the full TTL")
    func earlierClock() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)]))
        let read = client.read(cache, "n.test.", .a, at: 99.999)
        #expect(read.answers == ["n.test. 300 A 192.0.2.1"])
        #expect(!read.wantsRenewal)
    }

    @Test("An answer is used only for its name, type, DO and CD")
    func keys() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)]))
        #expect(client.read(cache, "n.test.", .aaaa, at: 101).outcome == .pass)
        #expect(client.read(cache, "m.test.", .a, at: 101).outcome == .pass)
        #expect(client.read(cache, "x.n.test.", .a, at: 101).outcome == .pass)
        #expect(AnswerClient(dnssecOK: true).read(cache, "n.test.", .a, at: 101).outcome == .pass)
        #expect(AnswerClient(checkingDisabled: true).read(cache, "n.test.", .a, at: 101).outcome == .pass)
    }

    @Test(
        "Negative answers are cached as long as the SOA says (RFC 2308 5)",
        arguments: [ResponseCode.noError, .nxDomain])
    func negative(code: ResponseCode) throws {
        let cache = try filled(
            AnswerMessage("n.test.", .a, code: code, [], authority: [.soa("test.", 900, minimum: 60)]))
        let read = client.read(cache, "n.test.", .a, at: 110)
        #expect(read.decision.responseCode == code)
        #expect(read.authority == ["test. 50 SOA ..."])
        #expect(client.read(cache, "n.test.", .a, at: 160).outcome == .pass)
    }

    @Test("A failure is cached briefly, and marked as cached (RFC 9520 3.2)")
    func failure() throws {
        let explained = try filled(AnswerMessage("n.test.", .a, code: .serverFailure, extendedError: 9))
        #expect(client.read(explained, "n.test.", .a, at: 104).decision.extendedError == ExtendedError(rawValue: 9))
        let cache = try filled(AnswerMessage("n.test.", .a, code: .serverFailure))
        let read = client.read(cache, "n.test.", .a, at: 104.9)
        #expect(read.decision.responseCode == .serverFailure)
        #expect(read.decision.extendedError == .cachedError)
        #expect(client.read(cache, "n.test.", .a, at: 105).outcome == .pass)
        #expect(client.read(cache, "n.test.", .a, at: 105, allowStale: true).outcome == .pass)
    }

    @Test("An expired answer is used while upstream is silent, with TTL 30 (RFC 8767 4)")
    func stale() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)]))
        let read = client.read(cache, "n.test.", .a, at: 500, allowStale: true)
        #expect(read.answers == ["n.test. 30 A 192.0.2.1"])
        #expect(read.decision.source == .stale)
        #expect(read.decision.extendedError == .staleAnswer)
        #expect(client.read(cache, "n.test.", .a, at: 400 + 86_400, allowStale: true).outcome == .pass)
        #expect(cache.statistics.entries == 0)
    }

    @Test("A stale NXDOMAIN has its own extended error (RFC 8914 4.20)")
    func staleNXDomain() throws {
        let cache = try filled(
            AnswerMessage("n.test.", .a, code: .nxDomain, [], authority: [.soa("test.", 900, minimum: 60)]))
        let read = client.read(cache, "n.test.", .a, at: 500, allowStale: true)
        #expect(read.decision.extendedError == .staleNXDomainAnswer)
        #expect(read.authority == ["test. 30 SOA ..."])
    }

    @Test("A failure does not replace an answer that may still be served stale")
    func failureKeepsStale() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)]))
        cache.insert(try client.check(AnswerMessage("n.test.", .a, code: .serverFailure)), now: microseconds(500))
        #expect(client.read(cache, "n.test.", .a, at: 501, allowStale: true).data == ["n.test. A 192.0.2.1"])
    }

    @Test("Shortly after a failure the stale answer is used without asking again (RFC 8767 5)")
    func retry() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)]))
        cache.insert(try client.check(AnswerMessage("n.test.", .a, code: .serverFailure)), now: microseconds(500))
        #expect(client.read(cache, "n.test.", .a, at: 504).decision.source == .stale)
        #expect(client.read(cache, "n.test.", .a, at: 505).outcome == .pass)
        cache.insert(try client.check(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 2)])), now: microseconds(506))
        #expect(client.read(cache, "n.test.", .a, at: 506).answers == ["n.test. 300 A 192.0.2.2"])
    }

    @Test("Concurrent inserts, reads and flushes never show a partial or wrong answer")
    func concurrency() async throws {
        var settings = AnswerCache.Settings()
        settings.capacity = 64 << 10
        let cache = AnswerCache(settings)
        let client = client
        let wrong = await withTaskGroup(of: Int.self) { group in
            for worker in UInt64(0)..<4 {
                group.addTask {
                    var random = Lehmer(state: worker)
                    var wrong = 0
                    for round in 0..<3000 {
                        let number = UInt8.random(in: 0...255, using: &random)
                        let name = "n\(number).test."
                        if round % 3 == 0 {
                            let message = AnswerMessage(
                                name, .a, [.cname(name, 60, "t.\(name)"), .a("t.\(name)", 60, number)])
                            if let answer = try? client.check(message) { cache.insert(answer, now: UInt64(round)) }
                        } else if round % 1000 == 1 {
                            cache.flush()
                        } else {
                            let read = client.read(cache, name, .a, at: 1)
                            if read.outcome != .pass,
                                read.data != ["\(name) CNAME t.\(name)", "t.\(name) A 192.0.2.\(number)"]
                            {
                                wrong += 1
                            }
                        }
                    }
                    return wrong
                }
            }
            return await group.reduce(0, +)
        }
        #expect(wrong == 0)
        #expect(cache.statistics.hits > 0)
        #expect(cache.statistics.bytes <= settings.capacity)
    }

    @Test("A newer answer replaces the older one")
    func replaced() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 300, 1)]))
        cache.insert(try client.check(AnswerMessage("n.test.", .a, [.a("n.test.", 60, 2)])), now: microseconds(110))
        #expect(client.read(cache, "n.test.", .a, at: 110).answers == ["n.test. 60 A 192.0.2.2"])
        #expect(cache.statistics.entries == 1)
    }

    @Test("A popular answer about to expire requests one refresh")
    func prefetch() throws {
        let cache = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 100, 1)]))
        let wants = [101.0, 102, 103, 189, 190, 191, 199].map {
            client.read(cache, "n.test.", .a, at: $0).wantsRenewal
        }
        #expect(wants == [false, false, false, false, true, false, false])
        let unpopular = try filled(AnswerMessage("n.test.", .a, [.a("n.test.", 100, 1)]))
        #expect(!client.read(unpopular, "n.test.", .a, at: 195).wantsRenewal)
    }

    @Test("Flushing removes a name, a subtree, or everything")
    func flush() throws {
        let cache = AnswerCache()
        for name in ["a.test.", "x.a.test.", "b.test.", "ba.test."] {
            cache.insert(try client.check(AnswerMessage(name, .a, [.a(name, 300, 1)])), now: 0)
        }
        #expect(cache.flush(Name("B.test.") ?? .root) == 1)
        #expect(cache.flush(Name("a.test.") ?? .root, tree: true) == 2)
        #expect(client.read(cache, "ba.test.", .a, at: 1).outcome == .answered)
        #expect(cache.flush() == 1)
        #expect(cache.statistics.entries == 0)
    }

    @Test(
        "Memory stays within its limit, and popular entries stay",
        arguments: [0, 10_000, 200_000, 1 << 20, 8 << 20])
    func bounded(capacity: Int) throws {
        var settings = AnswerCache.Settings()
        settings.capacity = capacity
        let cache = AnswerCache(settings)
        var most = 0
        cache.insert(try client.check(AnswerMessage("hot.test.", .a, [.a("hot.test.", 300, 1)])), now: 0)
        for number in 0..<20_000 {
            let name = "n\(number).test."
            cache.insert(try client.check(AnswerMessage(name, .a, [.a(name, 300, 1)])), now: 0)
            if number % 50 == 0 {
                let hot = client.read(cache, "hot.test.", .a, at: 1)
                #expect(capacity < 200_000 || hot.outcome == .answered)
                most = max(most, cache.statistics.bytes)
            }
        }
        let statistics = cache.statistics
        #expect(most <= capacity)
        #expect(statistics.bytes <= capacity)
        #expect(capacity == 0 || statistics.entries > 0)
        #expect(capacity == 8 << 20 ? statistics.evictions == 0 : capacity == 0 || statistics.evictions > 0)
        if statistics.evictions == 0 && capacity > 0 {
            for number in 0..<20_000 {
                #expect(client.read(cache, "n\(number).test.", .a, at: 1).outcome == .answered)
            }
        }
    }

    @Test("The index stays correct through inserts, evictions and removals (seed 7)")
    func churn() throws {
        var settings = AnswerCache.Settings()
        settings.capacity = 300_000
        let cache = AnswerCache(settings)
        var random = Lehmer(state: 7)
        let answers = try (0..<3000).map {
            try client.check(AnswerMessage("n\($0).test.", .a, [.a("n\($0).test.", 300, UInt8($0 & 0xFF))]))
        }
        for round in 0..<30_000 {
            let number = Int.random(in: 0..<3000, using: &random)
            switch round % 5 {
            case 0, 1: cache.insert(answers[number], now: 0)
            case 2 where round % 50 == 2: cache.flush(Name("n\(number).test.") ?? .root)
            default:
                let read = client.read(cache, "n\(number).test.", .a, at: 1)
                #expect(read.outcome == .pass || read.answers == ["n\(number).test. 299 A 192.0.2.\(number & 0xFF)"])
            }
        }
        #expect(cache.flush() > 0)
        let empty = cache.statistics
        #expect(empty.entries == 0)
        #expect((0..<3000).allSatisfy { client.read(cache, "n\($0).test.", .a, at: 1).outcome == .pass })
    }
}

/// A small seeded generator, so that a failure can be reproduced.
struct Lehmer: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
