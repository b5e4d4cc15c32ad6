import DNSWire
import Foundation
import TestSupport
import Testing

@testable import Transports

/// What a scenario runs against.
protocol ScenarioWorld: AnyObject {
    /// Time passes only as the scenario says, and nothing happens by itself.
    var isExact: Bool { get }
    /// `ADDR:PORT` of the upstream servers.
    var addresses: [(name: String, address: String)] { get }
    var folder: TemporaryFolder { get }
    var upstreamQueries: UpstreamQueryLog { get }

    /// Sends the query and waits for the answer; `line`: its line of the lookup log, if wanted.
    func ask(_ query: [UInt8], _ transport: ScenarioQuery.Transport, wantsLog: Bool) async throws
        -> (answer: [UInt8], line: String?)
    /// Only if `isExact`.
    func pass(microseconds: UInt64)
    /// Microseconds; only if `isExact`.
    var now: UInt64 { get }
    func become(_ behavior: ScenarioServer.Behavior, _ server: String?)
    /// Makes it read all files again.
    func reload() async throws
    func flush(_ name: String?, tree: Bool) async throws
}

extension Scenario {
    /// Runs the steps in `world` and checks the results.
    func run(in world: some ScenarioWorld) async throws {
        let start = ContinuousClock.now
        for step in steps {
            switch step {
            case .query(let expected): try await ask(expected, of: world, since: start)
            case .pass(let microseconds):
                guard world.isExact else { return }
                world.pass(microseconds: microseconds)
            case .upstream(let server, let behavior): world.become(behavior, server)
            case .edit(let file, let text):
                try world.folder.write(Self.fill(text, world.addresses), to: file)
                try await world.reload()
            case .remove(let file):
                try FileManager.default.removeItem(atPath: world.folder.file(file))
                try await world.reload()
            case .flush(let name, let tree): try await world.flush(name, tree: tree)
            }
        }
    }

    private func ask(
        _ expected: Expectation, of world: some ScenarioWorld, since start: ContinuousClock.Instant
    ) async throws {
        let place = place(expected.line)
        let asked = world.upstreamQueries.count
        for _ in 0..<expected.times {
            let query = try #require(expected.query.message(id: UInt16.random(in: 0...UInt16.max)))
            let began = world.now
            let (message, line) = try await world.ask(query, expected.query.transport, wantsLog: expected.looksAtLog)
            let answer: ScenarioAnswer
            do { answer = try ScenarioAnswer(message, to: query) } catch {
                Issue.record("\(place): the answer can't be read: \(error)")
                return
            }
            let age = world.isExact ? 0 : UInt32((ContinuousClock.now - start).components.seconds) + 1
            var filled = expected
            filled.ede = expected.ede.map { Self.fill($0, world.addresses + [("folder", world.folder.path)]) }
            answer.check(filled, at: place, slack: age)
            if let line { try LoggedLookup(line: line).check(expected, at: place, world.addresses) }
            if world.isExact, let tenths = expected.tenthsTaken {
                #expect((world.now - began + 50_000) / 100_000 == tenths, "\(place): \(world.now - began) us")
            }
        }
        guard let wanted = expected.asks else { return }
        if !world.isExact {
            // The answer may come before the last of them, as for a cached answer that is being refreshed.
            let log = world.upstreamQueries
            try await eventually("\(place): upstream is asked") {
                let queries = log.from(asked)
                return wanted.allSatisfy { one in queries.contains(where: one.fits) }
            }
        }
        var queries = world.upstreamQueries.from(asked)
        if !world.isExact {
            // Another server may have been asked an earlier step's question as well, late.
            let earlier = world.upstreamQueries.from(0)[..<asked]
            queries.removeAll { query in
                query.name != Name(expected.query.name)
                    && earlier.contains { $0.name == query.name && $0.type == query.type }
                    && !wanted.contains { $0.asksTheSame(query) }
            }
        }
        Self.compare(queries, wanted, at: place, isExact: world.isExact)
    }

    /// If `isExact`, they must match one to one; otherwise questions may have been repeated.
    private static func compare(_ queries: [UpstreamQuery], _ wanted: [AskedQuery], at place: String, isExact: Bool) {
        var rest = wanted
        var unexpected: [UpstreamQuery] = []
        for query in queries {
            if let index = rest.firstIndex(where: { $0.fits(query) }) {
                rest.remove(at: index)
            } else if isExact || !wanted.contains(where: { $0.asksTheSame(query) }) {
                unexpected.append(query)
            }
        }
        #expect(rest.isEmpty, "\(place): upstream is not asked \(rest); it is asked \(queries)")
        #expect(unexpected.isEmpty, "\(place): upstream is also asked \(unexpected)")
    }
}

extension StreamReply {
    /// Of its message; empty without one.
    var bytes: [UInt8] {
        if case .message(let message, _) = self { return Array(message) }
        return []
    }
}
