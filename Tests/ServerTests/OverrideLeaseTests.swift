import DNSWire
import Foundation
import LDNS
import Lookup
import LookupLog
import TestSupport
import Testing

@testable import Daemon
@testable import LocalData
@testable import Platform

@Suite("Overrides that are leased")
struct OverrideLeaseTests {
    private func name(_ text: String) throws -> Name { try #require(Name(text)) }

    @Test("take precedence over files at once, for the whole family of the name, and leave no trace when removed")
    func precedence() throws {
        let world = try LiveWorld()
        #expect(try world.ask("over.acme.org.").response.lines == ["over.acme.org. 0 A 127.0.0.14"])
        let lease = try world.control.addOverride("over.acme.org", ["127.0.0.99", "2001:DB8::99"], seconds: 60)
        #expect(lease.name == "over.acme.org." && lease.rule == "override:1" && lease.until != nil)
        #expect(lease.addresses == ["127.0.0.99", "2001:db8::99"])
        let (a, decision) = try world.ask("over.acme.org.")
        #expect(a.lines == ["over.acme.org. 0 A 127.0.0.99"] && a.has(.authoritative))
        #expect(decision.source == .hosts && "\(decision.place)" == "override:1")
        #expect(ReasonTests.text(a) == "0 hosts override:1")
        #expect(try world.ask("over.acme.org.", .aaaa).response.lines == ["over.acme.org. 0 AAAA 2001:db8::99"])
        let https = try world.ask("_8443._https.over.acme.org.", .https)
        #expect(https.decision.masked && "\(https.decision.place)" == "override:1")
        #expect(try world.ask("over.acme.org.", .txt).decision.responseCode == .noError)
        // An alias in a zone leads to it too.
        #expect(try world.ask("back.acme.org.").response.lines.last == "over.acme.org. 0 A 127.0.0.99")
        var listed = world.control.overrides()
        #expect((59...60).contains(listed.first?.left ?? 0))
        for index in listed.indices { listed[index].left = lease.left }
        #expect(listed == [lease])

        try world.control.removeOverride("OVER.acme.org.")
        #expect(try world.ask("over.acme.org.").response.lines == ["over.acme.org. 0 A 127.0.0.14"])
        #expect(world.control.overrides().isEmpty)
    }

    @Test("a wildcard governs all names below it, and a second lease of a name replaces the first")
    func wildcards() throws {
        let world = try LiveWorld()
        try world.control.addOverride("*.example.net", ["127.0.0.21"], seconds: nil)
        #expect(try world.ask("a.b.example.net.").response.lines == ["a.b.example.net. 0 A 127.0.0.21"])
        try world.control.addOverride("*.example.net.", ["127.0.0.22"], seconds: nil)
        #expect(try world.ask("a.b.example.net.").response.lines == ["a.b.example.net. 0 A 127.0.0.22"])
        let leases = world.control.overrides()
        #expect(leases.map(\.number) == [2] && leases[0].until == nil && leases[0].name == "*.example.net.")
    }

    @Test("an address's PTR has its name from the files and its leased name")
    func reverse() throws {
        let world = try LiveWorld()
        try world.control.addOverride("new.acme.org", ["127.0.0.14", "127.0.0.77"], seconds: 60)
        let both = try world.ask("14.0.0.127.in-addr.arpa.", .ptr).response
        #expect(
            both.answers.map { Presentation.text(rdata: $0.rdata, type: .ptr) } == ["over.acme.org.", "new.acme.org."])
        let one = try world.ask("77.0.0.127.in-addr.arpa.", .ptr)
        #expect(one.response.answers.count == 1 && "\(one.decision.place)" == "override:1")
        try world.control.addOverride("over.acme.org", ["127.0.0.14"], seconds: 60)
        #expect(try world.ask("14.0.0.127.in-addr.arpa.", .ptr).response.answers.count == 2)
    }

    @Test("survive a reload, and follow its settings")
    func reload() throws {
        let world = try LiveWorld()
        try world.control.addOverride("www.example.net", ["127.0.0.31"], seconds: 60)
        try world.folder.write("127.0.0.15 over.acme.org\n", to: "hosts")
        world.daemon.reloading.reload(reason: "a test")
        #expect(try world.ask("over.acme.org.").response.lines == ["over.acme.org. 0 A 127.0.0.15"])
        #expect(try world.ask("www.example.net.").response.lines == ["www.example.net. 0 A 127.0.0.31"])
        var leases = OverrideLeases(HostsSettings())
        _ = try leases.add("a.test", ["0.0.0.0"], seconds: nil, now: .now())
        var settings = HostsSettings()
        settings.nullAddress = .nxdomain
        leases.answer(by: settings)
        #expect(leases.table.settings == settings && leases.table.nameCount == 1)
    }

    static let wrong: [(name: String, addresses: [String], seconds: UInt32?, says: String)] = [
        ("a b.test", ["127.0.0.1"], 60, "is not one word"), ("a.test#", ["127.0.0.1"], 60, "is not one word"),
        ("a.test\n127.0.0.1", ["127.0.0.1"], 60, "is not one word"), ("", ["127.0.0.1"], 60, "is not one word"),
        ("a..test", ["127.0.0.1"], 60, "empty label"), ("127.0.0.1", ["127.0.0.1"], 60, "an address"),
        ("0.0.0.0", ["127.0.0.1"], 60, "is not a host name"), ("a.*.test", ["127.0.0.1"], 60, "*"),
        ("a.test", ["nonsense"], 60, "is not an IP address"), ("a.test", ["fe80::1%eth0"], 60, "interface"),
        ("a.test", [], 60, "at least one"), ("a.test", ["127.0.0.1"], 0, "1 s to 30 days"),
        ("a.test", ["127.0.0.1"], 2_592_001, "1 s to 30 days"),
        ("a.test", Array(repeating: "127.0.0.1", count: 300), 60, "too many"),
        ("a.test", ["127.0.0.1 b.test"], 60, "is not one word"),
    ]

    @Test("are checked like a hosts line, and refused with a reason", arguments: wrong)
    func refused(_ test: (name: String, addresses: [String], seconds: UInt32?, says: String)) throws {
        var leases = OverrideLeases(HostsSettings())
        let problem = #expect(throws: OverrideProblem.self) {
            try leases.add(test.name, test.addresses, seconds: test.seconds, now: .now())
        }
        #expect(problem?.description.contains(test.says) == true, "\(problem?.description ?? "")")
        #expect(problem?.description.utf8.allSatisfy { (0x20...0x7E).contains($0) } == true)
        #expect(leases.all(at: 0).isEmpty && leases.table.nameCount == 0)
    }

    @Test("are limited in number; removing a name that is not leased is an error")
    func bounds() throws {
        var leases = OverrideLeases(HostsSettings(), most: 2)
        for name in ["a.test", "b.test"] { _ = try leases.add(name, ["127.0.0.1"], seconds: 5, now: .now()) }
        #expect(throws: OverrideProblem.self) { try leases.add("c.test", ["127.0.0.1"], seconds: 5, now: .now()) }
        // Replacing a lease needs no further room.
        _ = try leases.add("b.test", ["127.0.0.2"], seconds: 5, now: .now())
        #expect(throws: OverrideProblem.self) { try leases.remove("c.test") }
        #expect(throws: OverrideProblem.self) { try leases.remove("\u{1B}[31m") }
    }

    @Test("expire in the order of their times")
    func ends() throws {
        var leases = OverrideLeases(HostsSettings())
        let now = Moment(wall: 1_700_000_000_000_000, monotonic: 1_000_000)
        _ = try leases.add("long.test", ["127.0.0.1"], seconds: 20, now: now)
        let short = try leases.add("short.test", ["127.0.0.1"], seconds: 10, now: now)
        _ = try leases.add("ever.test", ["127.0.0.1"], seconds: nil, now: now)
        #expect(short.added == "2023-11-14T22:13:20.000000Z" && short.until == "2023-11-14T22:13:30.000000Z")
        #expect(leases.nextEnd == 11_000_000)
        #expect(leases.all(at: 10_000_001).map(\.left) == [11, 1, nil])
        #expect(leases.end(at: 10_999_999).isEmpty)
        #expect(leases.end(at: 11_000_000) == [short])
        #expect(leases.nextEnd == 21_000_000 && leases.table.nameCount == 2)
        #expect(leases.end(at: .max - 1).map(\.name) == ["long.test."])
        #expect(leases.nextEnd == nil && leases.all(at: .max - 1).map(\.name) == ["ever.test."])
    }

    @Test("why shows the lease, its expiry, and the file's line that it shadows")
    func explained() async throws {
        let world = try LiveWorld()
        let lease = try world.control.addOverride("over.acme.org", ["127.0.0.99"], seconds: 60)
        let explanation = await world.control.why(try name("over.acme.org."), .a)
        let row = explanation.rows[0]
        #expect(explanation.answer.summary == "127.0.0.99" && explanation.answer.rule == "override:1")
        #expect(row.decides && row.lease?.rule == lease.rule && row.lease?.until == lease.until)
        #expect(row.comment == "answers, TTL 0; leased until \(try #require(lease.until))")
        #expect(row.records.map(\.data) == ["127.0.0.99"])
        #expect(row.shadowed.map(\.rule) == [world.rule("hosts", 1)])
        #expect(row.shadowed.first?.reason == "shadowed by override:1, which is leased")
        #expect(explanation.rows[1].comment == "shadowed by 1")
    }

    @Test("change dig's answer at once, and expire by themselves")
    func served() async throws {
        let world = try LiveWorld(serves: true)
        await world.started()
        #expect(try await world.dig("over.acme.org") == ["127.0.0.14"])
        let start = ContinuousClock.now
        try world.control.addOverride("over.acme.org", ["127.0.0.99"], seconds: 2)
        let during = try await world.dig("over.acme.org")
        // On a busy machine the lease may expire before dig asks.
        if ContinuousClock.now - start < .seconds(2) { #expect(during == ["127.0.0.99"]) }
        try await eventually("the lease ends") { world.control.overrides().isEmpty }
        #expect(ContinuousClock.now - start >= .seconds(2))
        #expect(try await world.dig("over.acme.org") == ["127.0.0.14"])
        try await world.stop()
    }
}
