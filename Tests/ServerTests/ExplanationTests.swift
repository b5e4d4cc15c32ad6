import DNSWire
import Foundation
import TestSupport
import Testing
import Upstream

@testable import Daemon
@testable import Pipeline
@testable import Platform
@testable import Transports

@Suite("Why a name is answered as it is")
struct ExplanationTests {
    private func offline(
        hosts: String, zones: [String: String] = [:], upstream: [String] = ["none"]
    ) throws -> ConfiguredSources {
        let folder = try TemporaryFolder()
        try folder.write(hosts, to: "hosts")
        try folder.write("", to: "zones/none")
        for (name, text) in zones { try folder.write(text, to: "zones/" + name) }
        let (configuration, problems) = Configuration.read(
            file: nil,
            options: [
                .init("--hosts", "hosts.files", [folder.file("hosts")]),
                .init("--zones", "zones.folders", [folder.file("zones")]),
                .init("--upstream", "upstream.servers", upstream),
            ])
        try #require(!problems.hasErrors, "\(problems.list)")
        let sources = ConfiguredSources(sources: configuration.load())
        // The files are read again later, so they stay until the test ends.
        kept.append(folder)
        return sources
    }

    private final class Folders: @unchecked Sendable {
        private var all: [TemporaryFolder] = []
        func append(_ folder: TemporaryFolder) { all.append(folder) }
    }

    private let kept = Folders()

    private func name(_ text: String) throws -> Name { try #require(Name(text)) }

    private func line(_ rule: String?) -> String { rule.map { String($0.split(separator: "/").last ?? "") } ?? "-" }

    @Test("also without a daemon, a name that no route covers is refused, and a covered one is forwarded")
    func routes() throws {
        let sources = try offline(hosts: "", upstream: ["none", "corp.example=127.0.0.1:1"])
        let refused = sources.explain(try name("www.google.example."), .a)
        #expect(refused.answer.responseCode == "REFUSED" && !refused.answer.needsUpstream)
        #expect(
            refused.rows.map(\.comment).suffix(2) == ["not asked: nothing is forwarded", "no server for this name"])
        let asked = sources.explain(try name("app.corp.example."), .a)
        #expect(asked.answer.needsUpstream)
        #expect(asked.rows.last?.comment == "is asked")
        #expect(asked.rows.map(\.source) == ["hosts", "zone", "special", "cache", "upstream"])
    }

    @Test("shows every line for the name that is not used, with the reason")
    func shadowedLines() throws {
        let sources = try offline(
            hosts: """
                127.0.0.1 www.acme.org
                127.0.0.2 www.acme.org other.acme.org
                127.0.0.1 WWW.acme.org. # once more
                127.0.0.9 *.acme.org
                127.0.0.8 *.org
                127.0.0.7 elsewhere.org

                """)
        let row = try #require(sources.explain(try name("www.acme.org."), .a).rows.first)
        #expect(row.records.map { "\(line($0.rule)) \($0.data)" } == ["hosts:1 127.0.0.1", "hosts:2 127.0.0.2"])
        #expect(
            row.shadowed.map { "\(line($0.rule)) \($0.name) \($0.data)" } == [
                "hosts:3 www.acme.org. 127.0.0.1", "hosts:4 *.acme.org. 127.0.0.9", "hosts:5 *.org. 127.0.0.8",
            ])
        #expect(row.shadowed[0].reason.hasPrefix("repeats /") && row.shadowed[0].reason.hasSuffix("hosts:1"))
        #expect(row.shadowed[1].reason.hasPrefix("shadowed by www.acme.org. ("))
    }

    @Test("shows a wildcard that does not apply because a longer name exists")
    func blockedWildcard() throws {
        let sources = try offline(hosts: "127.0.0.9 *.acme.org\n127.0.0.1 a.b.acme.org\n")
        let row = try #require(sources.explain(try name("c.b.acme.org."), .a).rows.first)
        #expect(row.comment == "no override for the name")
        #expect(row.shadowed.map { line($0.rule) } == ["hosts:1"])
        #expect(row.shadowed.first?.reason == "does not reach the name: a name between the two is written out")
    }

    private static func zone(_ apex: String, _ records: String) -> String {
        "$ORIGIN \(apex)\n$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 127.0.0.53\n\(records)\n"
    }

    @Test("shows data of a parent zone and of a wildcard as shadowed")
    func shadowedRecords() throws {
        let sources = try offline(
            hosts: "",
            zones: [
                "org.zone": Self.zone("org.", "www.acme A 192.0.2.1\n*.acme A 192.0.2.3"),
                "acme.org.zone": Self.zone("acme.org.", "www A 192.0.2.2\n* A 192.0.2.4"),
            ])
        let row = sources.explain(try name("www.acme.org."), .a).rows[1]
        #expect(row.decides && line(row.rule) == "acme.org.zone:6")
        #expect(row.records.map { line($0.rule) } == ["acme.org.zone:6"])
        #expect(row.shadowed.map { line($0.rule) } == ["acme.org.zone:7", "org.zone:6"])
        #expect(row.shadowed[0].reason == "a name that is closer exists")
        #expect(row.shadowed[1].reason.hasPrefix("shadowed by the zone acme.org. ("))
        let wild = sources.explain(try name("x.acme.org."), .a).rows[1]
        #expect(wild.records.map { line($0.rule) } == ["acme.org.zone:7"])
        #expect(wild.shadowed.map { line($0.rule) } == ["org.zone:7"])
    }

    @Test("what a browser does is available as data")
    func browser() throws {
        let sources = try offline(
            hosts: "",
            zones: ["acme.org.zone": Self.zone("acme.org.", "@ A 192.0.2.1\n@ HTTPS 1 . alpn=h2\nold A 192.0.2.2")])
        let secure = try #require(sources.explain(try name("acme.org."), .a).browser)
        #expect(secure.upgrade == .record && !secure.canBeDowngraded && secure.addresses == ["192.0.2.1"])
        let plain = try #require(sources.explain(try name("old.acme.org."), .a).browser)
        #expect(plain.upgrade == .none && plain.canBeDowngraded)
    }

    @Test("an explanation survives JSON, with keys in the style of the log")
    func json() throws {
        let sources = try offline(hosts: "127.0.0.1 www.acme.org\n")
        let explanation = sources.explain(try name("www.acme.org."), .a)
        let data = try JSONEncoder().encode(explanation)
        #expect(try JSONDecoder().decode(Explanation.self, from: data) == explanation)
        let text = String(decoding: data, as: UTF8.self)
        for key in [
            "\"rcode\":\"NOERROR\"", "\"needs_upstream\":false", "\"downgrade_possible\":true", "\"live\":false",
        ] {
            #expect(text.contains(key), "\(text)")
        }
    }

    // MARK: From a running daemon

    @Test("a running daemon shows a cache entry's age and origin, without counting a hit")
    func cached() async throws {
        let world = try LiveWorld()
        let before = await world.control.why(try name("www.example.net."), .a)
        #expect(before.isLive && before.answer.needsUpstream && before.cached.isEmpty)
        #expect(before.rows[3].comment == "holds no answer")
        #expect(before.rows[4].comment == "is asked")
        #expect(before.upstreams.map(\.address) == ["127.0.0.1:\(world.upstream.port)"])
        #expect(world.upstream.count() == 0)

        let asked = await world.control.why(try name("www.example.net."), .a, asks: true)
        #expect(asked.answer.source == "upstream" && asked.answer.summary == "192.0.2.1")
        let reply = try #require(asked.asked)
        #expect(reply.upstream == "127.0.0.1:\(world.upstream.port)" && reply.responseCode == "NOERROR")
        #expect(reply.roundTripMicroseconds ?? 0 > 0 && reply.error == nil)

        let after = await world.control.why(try name("www.example.net."), .a)
        #expect(after.answer.source == "cache" && after.rows[3].decides)
        let entry = try #require(after.cached.first)
        #expect(entry.ttl == 3600 && entry.remaining + entry.age <= 3601 && !entry.isStale && entry.hits == 0)
        #expect(entry.upstream == "127.0.0.1:\(world.upstream.port)" && entry.upstreamMicroseconds ?? 0 > 0)
        #expect(after.browser?.addresses == ["192.0.2.1"])
        let statistics = world.daemon.store.current().data.pipeline.cache.statistics
        #expect(statistics.hits == 0 && statistics.misses == 0)
        #expect(world.upstream.questions() == 1)
    }

    @Test("a chain is followed from a zone through the cache")
    func chain() async throws {
        let world = try LiveWorld()
        let open = await world.control.why(try name("ext.acme.org."), .a)
        #expect(open.answer.needsUpstream && open.answer.lastName == "www.example.net.")
        _ = await world.control.why(try name("ext.acme.org."), .a, asks: true)
        let known = await world.control.why(try name("ext.acme.org."), .a)
        #expect(
            known.chain == [
                .init(name: "ext.acme.org.", source: "zone", rule: world.rule("zones/acme.org.zone", 8)),
                .init(name: "www.example.net.", source: "cache", rule: nil),
            ])
        #expect(known.answer.summary == "192.0.2.1")
    }

    @Test("if upstream does not answer, the reason is shown")
    func unanswered() async throws {
        let world = try LiveWorld(options: [("upstream.timeout", "200ms")])
        world.upstream.become { _, _ in .silence }
        let explanation = await world.control.why(try name("www.example.net."), .a, asks: true)
        #expect(explanation.asked?.error?.isEmpty == false && explanation.asked?.upstream == nil)
        #expect(explanation.answer.needsUpstream)
    }
}
