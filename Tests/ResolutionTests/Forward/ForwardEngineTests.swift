import DNSWire
import Lookup
import Synchronization
import TestSupport
import Testing

@testable import Platform
@testable import Upstream

@Suite("The forward engine")
struct ForwardEngineTests {
    private struct Event: Sendable {
        enum Kind: Sendable, Equatable {
            case answered(UpstreamTransport)
            case failed(ExtendedError)
            case late
        }
        let kind: Kind
        let name: [UInt8]
        let waiters: [Int]
    }

    /// Runs `body` with a running engine for `servers`, then stops it.
    private func withEngine(
        _ servers: [String], _ adjust: (inout ForwardSettings) -> Void = { _ in },
        watch: ForwardEngine<Int, Int>.Watch? = nil,
        _ body: (ForwardEngine<Int, Int>, inout AsyncStream<Event>.Iterator) async throws -> Void
    ) async throws {
        var settings = ForwardSettings(servers: try servers.map { try UpstreamServer(parsing: $0) })
        // No deadline passes, however long a busy machine lets this test wait.
        settings.clientTimeout = 3_600_000_000
        adjust(&settings)
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        let engine = try ForwardEngine<Int, Int>(
            settings: settings, check: { _, message, _ in message.count },
            completion: { key, waiters, event, _ in
                let kind: Event.Kind =
                    switch event {
                    case .answered(_, let reply): .answered(reply.transport)
                    case .failed(let error, _): .failed(error)
                    case .late: .late
                    }
                continuation.yield(Event(kind: kind, name: key.name, waiters: waiters))
                if kind == .late { waiters.removeAll { $0 < 0 } }
            }, watch: watch)
        let thread = TestThread {
            do {
                ForwardLane(engine, over: try SystemNetwork(wake: engine.wake)).run()
            } catch {
                Issue.record(error)
            }
        }
        defer {
            engine.stop()
            thread.join()
        }
        var iterator = events.makeAsyncIterator()
        try await body(engine, &iterator)
    }

    private static func response(_ query: [UInt8], _ code: ResponseCode = .noError, truncated: Bool = false) -> [UInt8]
    {
        let query = ForwardNetwork.Sent(server: 0, channel: .port(0), bytes: query)
        return ForwardNetwork.response(query, code, truncated: truncated)
    }

    @Test("a thousand questions are answered, each to its asker")
    func many() async throws {
        let upstream = ScriptedUpstream { query, _ in Self.response(query) }
        try await withEngine(["127.0.0.1:\(upstream.port)"]) { engine, events in
            for number in 0..<1_000 {
                #expect(engine.fetch(ForwardNetwork.key("n\(number).example"), for: number))
            }
            var seen: Set<Int> = []
            for _ in 0..<1_000 {
                let event = try #require(await events.next())
                #expect(event.kind == .answered(.udp))
                #expect(event.waiters.map { Name("n\($0).example")!.wire } == [event.name])
                seen.formUnion(event.waiters)
            }
            #expect(seen.count == 1_000)
        }
    }

    @Test("truncated answers are fetched over TCP, pipelined on one connection")
    func truncated() async throws {
        let upstream = ScriptedUpstream { query, overTCP in Self.response(query, truncated: !overTCP) }
        try await withEngine(["127.0.0.1:\(upstream.port)"]) { engine, events in
            for number in 0..<50 { #expect(engine.fetch(ForwardNetwork.key("n\(number).example"), for: number)) }
            for _ in 0..<50 {
                let event = try #require(await events.next())
                #expect(event.kind == .answered(.tcp))
            }
        }
    }

    /// A message that the observer was shown.
    private struct Told: Sendable {
        var port: UInt16
        var local: SocketAddress?
        var transport: UpstreamTransport
        var sent: UInt64
        var received: UInt64?
        var bytes: [UInt8]
    }

    @Test("the observer sees each query and response: hedged, truncated, and over TCP")
    func watched() async throws {
        let silent = ScriptedUpstream { _, _ in nil }
        let upstream = ScriptedUpstream { query, overTCP in Self.response(query, truncated: !overTCP) }
        let told = Mutex<[Told]>([])
        let watch: ForwardEngine<Int, Int>.Watch = { message in
            let one = Told(
                port: message.server.port, local: message.local, transport: message.transport, sent: message.sent,
                received: message.received, bytes: Array(message.bytes))
            told.withLock { $0.append(one) }
        }
        try await withEngine(
            ["127.0.0.1:\(silent.port)", "127.0.0.1:\(upstream.port)"], watch: watch
        ) { engine, events in
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 1))
            #expect(await events.next()?.kind == .answered(.tcp))
        }
        let all = told.withLock { $0 }
        let queries = all.filter { $0.received == nil }
        #expect(queries.contains { $0.port == silent.port && $0.transport == .udp })
        // A question whose answer is late is sent again.
        let asked = queries.filter { $0.port == upstream.port }.map(\.transport)
        #expect(asked.first == .udp && Set(asked) == [.udp, .tcp])
        let responses = all.filter { $0.received != nil }
        #expect(responses.first?.transport == .udp && Set(responses.map(\.transport)) == [.udp, .tcp])
        #expect(responses.allSatisfy { $0.port == upstream.port })
        for response in responses {
            // Its query has the same ID, send time and local end.
            let query = try #require(queries.first { $0.bytes.prefix(2) == response.bytes.prefix(2) })
            #expect(query.sent == response.sent && query.local == response.local && query.local?.isLoopback == true)
            #expect((response.received ?? 0) >= response.sent && query.transport == response.transport)
        }
        for message in all {
            #expect(message.bytes.withUnsafeBytes { MessageReader.walk($0)?.isSound } == true)
        }
    }

    @Test("a server that only speaks TCP")
    func tcpOnly() async throws {
        let upstream = ScriptedUpstream { query, overTCP in overTCP ? Self.response(query) : nil }
        try await withEngine(["tcp://127.0.0.1:\(upstream.port)"]) { engine, events in
            for number in 0..<20 {
                #expect(engine.fetch(ForwardNetwork.key("n\(number).example"), for: number))
                let event = try #require(await events.next())
                #expect(event.kind == .answered(.tcp) && event.waiters == [number])
            }
        }
    }

    @Test("in another network, connections are made anew and questions in flight are asked again")
    func anotherNetwork() async throws {
        let isSilent = Mutex(false)
        let queries = AsyncStream.makeStream(of: Void.self)
        let upstream = ScriptedUpstream { query, _ in
            defer { queries.continuation.yield() }
            return isSilent.withLock { $0 } ? nil : Self.response(query)
        }
        let ends = Mutex<[SocketAddress]>([])
        let watch: ForwardEngine<Int, Int>.Watch = { message in
            guard message.received != nil, let local = message.local else { return }
            ends.withLock { $0.append(local) }
        }
        // No answer is late, however long a busy machine takes.
        func wait(_ settings: inout ForwardSettings) { settings.staleAfter = settings.clientTimeout }
        try await withEngine(["tcp://127.0.0.1:\(upstream.port)"], wait, watch: watch) { engine, events in
            var asked = queries.stream.makeAsyncIterator()
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 1))
            #expect(await events.next()?.waiters == [1])
            _ = await asked.next()
            isSilent.withLock { $0 = true }
            #expect(engine.fetch(ForwardNetwork.key("b.example"), for: 2))
            _ = await asked.next()
            isSilent.withLock { $0 = false }
            engine.networkChanged()
            #expect(await events.next()?.waiters == [2])
            #expect(engine.fetch(ForwardNetwork.key("c.example"), for: 3))
            #expect(await events.next()?.waiters == [3])
        }
        let all = ends.withLock { $0 }
        #expect(try #require(all.first) != #require(all.last))
    }

    @Test("other settings forget nothing of a server that stays; another network forgets all")
    func keptKnowledge() async throws {
        let upstream = ScriptedUpstream { query, _ in Self.response(query) }
        try await withEngine(["127.0.0.1:\(upstream.port)"]) { engine, events in
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 1))
            #expect(await events.next()?.waiters == [1])
            var settings = engine.settings
            settings.servers.append(try UpstreamServer(parsing: "127.0.0.2:\(upstream.port)").serving(Name("x.")!))
            engine.replace(settings)
            #expect(engine.fetch(ForwardNetwork.key("b.example"), for: 2))
            #expect(await events.next()?.waiters == [2])
            try await eventually("both answers are counted") { engine.status.map(\.answers) == [2, 0] }
            engine.networkChanged()
            #expect(engine.fetch(ForwardNetwork.key("c.example"), for: 3))
            #expect(await events.next()?.waiters == [3])
            try await eventually("one answer is counted") { engine.status.map(\.answers) == [1, 0] }
        }
    }

    @Test("a closed port is noticed at once: the next server answers; without one it is a network error")
    func closedPort() async throws {
        let upstream = ScriptedUpstream { query, _ in Self.response(query) }
        var gone: ScriptedUpstream? = ScriptedUpstream { _, _ in nil }
        let closed = try #require(gone).port
        gone = nil
        try await withEngine(["127.0.0.1:\(closed)", "127.0.0.1:\(upstream.port)"]) { engine, events in
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 1))
            #expect(await events.next()?.kind == .answered(.udp))
        }
        for server in ["127.0.0.1:\(closed)", "tcp://127.0.0.1:\(closed)"] {
            try await withEngine([server]) { engine, events in
                #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 1))
                #expect(await events.next()?.kind == .failed(.networkError))
            }
        }
    }

    @Test("waiters that can be served a stale answer leave when it is late; the others get the failure")
    func late() async throws {
        let upstream = ScriptedUpstream { _, _ in nil }
        func hurry(_ settings: inout ForwardSettings) {
            settings.staleAfter = 20_000
        }
        try await withEngine(["127.0.0.1:\(upstream.port)"], hurry) { engine, events in
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: -1))
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 2))
            let first = try #require(await events.next())
            #expect(first.kind == .late)
            engine.stop()
            var last = first
            while last.kind == .late { last = try #require(await events.next()) }
            #expect(last.kind == .failed(.notReady))
            #expect(last.waiters == [2])
        }
    }

    @Test("stopping fails questions in flight and refuses later ones")
    func stopping() async throws {
        let upstream = ScriptedUpstream { _, _ in nil }
        try await withEngine(["127.0.0.1:\(upstream.port)"]) { engine, events in
            #expect(engine.fetch(ForwardNetwork.key("a.example"), for: 1))
            #expect(engine.prefetch(ForwardNetwork.key("b.example"), now: SystemClock.monotonic()))
            engine.stop(deadline: 0)
            let kinds = [await events.next()?.kind, await events.next()?.kind]
            #expect(kinds == [.failed(.notReady), .failed(.notReady)])
            #expect(!engine.fetch(ForwardNetwork.key("c.example"), for: 1))
        }
    }
}

extension ForwardEngine {
    /// Asks with the deadline of the settings.
    fileprivate func fetch(_ key: FetchKey, for waiter: Waiter) -> Bool {
        fetch(key, for: waiter, deadline: SystemClock.monotonic() + clientTimeout)
    }
}
