import DNSWire
import Foundation
import Lookup
import TestSupport
import Testing

@testable import Daemon

@Suite("What a running daemon reports")
struct ReportTests {
    private func name(_ text: String) throws -> Name { try #require(Name(text)) }

    /// Gets upstream's answers for these names into the cache.
    private func fill(_ world: LiveWorld, _ names: [String]) async throws {
        for text in names { _ = await world.control.why(try name(text), .a, asks: true) }
    }

    @Test("cache entries are found by parts of names, without counting hits, and flushed by name and subtree")
    func cache() async throws {
        let world = try LiveWorld()
        try await fill(world, ["www.example.net.", "ftp.example.net.", "example.net.", "www.example.com."])
        let all = world.control.cacheEntries()
        #expect(
            all.entries.map(\.name) == ["www.example.com.", "example.net.", "ftp.example.net.", "www.example.net."])
        #expect(!all.hasMore && all.entries.allSatisfy { $0.type == "A" && $0.hits == 0 && $0.answers == 1 })
        #expect(world.control.cacheEntries(matching: "WWW").entries.count == 2)
        #expect(world.control.cacheEntries(matching: "*.example.net").entries.count == 2)
        let cut = world.control.cacheEntries(limit: 3)
        #expect(cut.entries.count == 3 && cut.hasMore)
        #expect(world.control.cacheEntries(matching: "nothing").entries.isEmpty)

        let statistics = world.control.cacheStatistics
        #expect(statistics.entries == 4 && statistics.bytes > 0 && statistics.hits == 0 && statistics.misses == 0)
        #expect(try world.ask("www.example.net.").decision.source == .cache)
        #expect(world.control.cacheStatistics.hits == 1)
        #expect(world.control.cacheEntries(matching: "www.example.net").entries.first?.hits == 1)

        #expect(world.control.flushCache(try name("www.example.com."), tree: false) == 1)
        #expect(world.control.flushCache(try name("example.net."), tree: true) == 3)
        #expect(world.control.flushCache() == 0 && world.control.cacheStatistics.entries == 0)
    }

    @Test("upstream servers with their queries and round trips")
    func upstreams() async throws {
        let world = try LiveWorld()
        #expect(world.control.upstreams().map(\.state) == ["untried"])
        try await fill(world, ["www.example.net."])
        // At most a tenth of a second old.
        let control = world.control
        try await eventually("the answer is counted") { control.upstreams().first?.answers == 1 }
        let report = try #require(control.upstreams().first)
        #expect(
            report.server == "127.0.0.1:\(world.upstream.port)" && report.domain == "." && report.transport == "udp")
        #expect(report.state == "up" && report.roundTripMicroseconds ?? 0 > 0)
        #expect(report.queries == 1 && report.timeouts == 0 && report.errors == 0)
    }

    @Test("zones with serial, file and time, and the problems of one whose file became invalid")
    func zones() throws {
        let world = try LiveWorld()
        let good = try #require(world.control.zones().first)
        #expect(good.apex == "acme.org." && good.serial == 7 && good.records == 7 && !good.hasFailed)
        #expect(good.file == world.folder.file("zones/acme.org.zone") && good.problems.isEmpty)
        #expect(good.loaded?.wholeMatch(of: /20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/) != nil)
        try world.folder.write(LiveWorld.zone + "bad A 1.2.3\n", to: "zones/acme.org.zone")
        try world.folder.write("nonsense\n", to: "zones/other.zone")
        world.daemon.reloading.reload(reason: "a test")
        let zones = world.control.zones()
        #expect(zones.map(\.apex) == ["acme.org.", nil] && zones.map(\.hasFailed) == [true, true])
        #expect(zones[0].problems.map(\.rule) == [world.rule("zones/acme.org.zone", 10)])
        #expect(zones[0].loaded == good.loaded && zones[1].problems.first?.severity == "error")
        #expect(world.control.problems().count >= 2)
    }

    @Test("hosts files with the names that they have first, and their problems")
    func hostsFiles() throws {
        let world = try LiveWorld()
        #expect(
            world.control.hostsFiles() == [HostsFileReport(file: world.folder.file("hosts"), names: 2, problems: [])])
        try world.folder.write("127.0.0.1 a.test b.test\n127.0.0.2 a.test\nnonsense c.test\n", to: "hosts")
        world.daemon.reloading.reload(reason: "a test")
        let file = try #require(world.control.hostsFiles().first)
        #expect(file.names == 2 && file.problems.map(\.rule) == [world.rule("hosts", 3)])
    }

    @Test("override lines, leased ones first")
    func lines() throws {
        let world = try LiveWorld(hosts: "127.0.0.1 a.test b.test\n::1 a.test\n127.0.0.9 *.wild.org\n")
        try world.control.addOverride("lease.test", ["127.0.0.5"], seconds: 60)
        let all = world.control.overrideLines()
        #expect(
            all.lines.map { "\($0.name) \($0.address)" } == [
                "lease.test. 127.0.0.5", "a.test. 127.0.0.1", "a.test. ::1", "b.test. 127.0.0.1",
                "*.wild.org. 127.0.0.9",
            ])
        #expect(all.lines.map(\.rule).prefix(3) == ["override:1", world.rule("hosts", 1), world.rule("hosts", 2)])
        #expect(!all.hasMore && world.control.overrideLines(limit: 5) == all)
        #expect(world.control.overrideLines(matching: "*.test", limit: 2).hasMore)
        #expect(world.control.overrideLines(matching: "wild").lines.map(\.rule) == [world.rule("hosts", 3)])
        #expect(
            world.control.overrideLines(limit: 1).lines.count == 1
                && world.control.overrideLines(limit: 0).lines.isEmpty)
    }

    @Test("all reports survive JSON, with snake-case keys")
    func json() async throws {
        let world = try LiveWorld()
        try await fill(world, ["www.example.net."])
        let control = world.control
        try await eventually("the round trip is known") { control.upstreams().first?.roundTripMicroseconds != nil }
        func check<Value: Codable & Equatable>(_ value: Value, _ keys: [String]) throws {
            let data = try JSONEncoder().encode(value)
            #expect(try JSONDecoder().decode(Value.self, from: data) == value)
            let text = String(decoding: data, as: UTF8.self)
            for key in keys { #expect(text.contains("\"\(key)\":"), "\(text)") }
            #expect(!text.contains(/"[a-z]+[A-Z][A-Za-z]*":/), "\(text)")
        }
        try check(control.cacheEntries(), ["has_more", "rcode", "upstream_us", "do", "cd"])
        try check(control.cacheStatistics, ["hits"])
        try check(control.upstreams(), ["rtt_us"])
        try check(control.zones(), ["failed"])
        try check(control.hostsFiles(), ["names"])
        try check(control.overrideLines(), ["has_more"])
        try check(try control.addOverride("a.test", ["127.0.0.1"], seconds: 9), ["until"])
        try check(await control.why(try name("over.acme.org."), .a, asks: true), ["downgrade_possible"])
    }
}
