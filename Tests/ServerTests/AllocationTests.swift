import AllocationCount
import DNSWire
import Foundation
import Lookup
import LookupLog
import TestSupport
import Testing

@testable import Transports
@testable import Upstream

@Suite(
    "The fast lane allocates nothing", .enabled(if: allocation_count_works() == 1, "a sanitizer has its own allocator"))
struct AllocationTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var packet: Packet
        var code = ResponseCode.noError
        var answers = 1

        init(_ description: String, _ packet: Packet, code: ResponseCode = .noError, answers: Int = 1) {
            testDescription = description
            self.packet = packet
            self.code = code
            self.answers = answers
        }

        static let all: [Case] = [
            .init("hosts, A", Packet("over.acme.org.")),
            .init("hosts, AAAA", Packet("over.acme.org.", .aaaa)),
            .init("hosts, wildcard", Packet("a.b.wild.acme.org.")),
            .init("hosts, HTTPS masked", Packet("over.acme.org.", .https), answers: 0),
            .init("hosts, PTR", Packet("14.0.0.127.in-addr.arpa.", .ptr)),
            .init(
                "hosts, PTR of IPv6", Packet("4.1.\(String(repeating: "0.", count: 22))8.b.d.0.1.0.0.2.ip6.arpa.", .ptr)
            ),
            .init("zone, A", Packet("acme.org.")),
            .init("zone, MX", Packet("acme.org.", .mx)),
            .init("zone, CNAME chain", Packet("www.acme.org."), answers: 2),
            .init("zone, referral", Packet("x.sub.acme.org."), answers: 0),
            .init("zone, DNAME to an override", Packet("x.moved.acme.org."), answers: 3),
            .init("zone, NODATA", Packet("acme.org.", .aaaa), answers: 0),
            .init("zone, NXDOMAIN", Packet("nothing.acme.org."), code: .nxDomain, answers: 0),
            .init("special name", Packet("localhost.")),
            .init("special name below a route's", Packet("1.2.3.11.in-addr.arpa."), code: .refused, answers: 0),
            .init("special name that announces", Packet("_dns.resolver.arpa.", .svcb), answers: 0),
            .init("beyond all routes", Packet("far.example.", flags: 0x0000), code: .refused, answers: 0),
            .init("cache", Packet("cached.corp.example.", flags: 0x0100)),
            .init("cache, an alias into another route", Packet("alias.far.example.", flags: 0x0100), answers: 2),
            .init(
                "cache, denied for all types", Packet("none.far.example.", .mx, flags: 0x0100), code: .nxDomain,
                answers: 0),
            .init(
                "cache, with upstream's words",
                Packet("failed.far.example.", flags: 0x0100, additional: [Packet.opt()]),
                code: .serverFailure, answers: 0),
            .init("ANY of a forwarded name", Packet("cached.corp.example.", .any, flags: 0x0100)),
            .init(
                "with EDNS, DO, a cookie and NSID",
                Packet(
                    "acme.org.", additional: [Packet.opt(flags: 0x8000, [(10, [1, 2, 3, 4, 5, 6, 7, 8]), (3, [])])])),
            .init("a lease", Packet("leased.acme.org.")),
            .init("a lease, HTTPS masked", Packet("leased.acme.org.", .https), answers: 0),
            .init("a lease, PTR", Packet("77.0.0.127.in-addr.arpa.", .ptr)),
            .init("explained: hosts", Packet("over.acme.org.", additional: [Packet.opt()])),
            .init("explained: hosts, masked", Packet("over.acme.org.", .https, additional: [Packet.opt()]), answers: 0),
            .init("explained: zone", Packet("acme.org.", additional: [Packet.opt()])),
            .init("explained: a chain", Packet("x.moved.acme.org.", additional: [Packet.opt()]), answers: 3),
            .init("explained: special name", Packet("localhost.", additional: [Packet.opt()])),
            .init("explained: cache", Packet("cached.corp.example.", flags: 0x0100, additional: [Packet.opt()])),
            .init("truncated", Packet("big.acme.org.", .txt), answers: 0),
            .init(
                "refused, with an extended error", Packet("far.example.", additional: [Packet.opt()]), code: .refused,
                answers: 0),
            .init(
                "malformed", Packet("acme.org.", additional: [Packet.opt(), Packet.opt()]), code: .formatError,
                answers: 0),
        ]
    }

    @Test(
        "from query to response, including the log record", arguments: Case.all,
        [[], ["127.0.0.1:2", "corp.example=127.0.0.1:1", "10.in-addr.arpa=127.0.0.1:1"]])
    func handle(lookup: Case, routes: [String]) throws {
        let folder = try TemporaryFolder()
        let log = try LookupLog(sinks: [LookupSink(.json, to: .file(path: folder.file("log")))])
        log.start()
        defer { log.stop() }
        var world = try WireWorld(
            forwards: true, explains: .loopback, leased: ["127.0.0.77 leased.acme.org"], routes: routes,
            ring: log.makeRing())
        try world.fill("cached.corp.example.")
        try fillMore(world)
        try check(lookup, &world)
    }

    /// An alias into the route, a denial, and a failure with upstream's words.
    private func fillMore(_ world: borrowing WireWorld) throws {
        var alias = Packet("alias.far.example.", flags: 0x8180)
        let target = Packet.name("cached.corp.example.")
        alias.answers = [
            Packet.record([0xC0, 12], .cname, ttl: 300, target), Packet.record(target, .a, ttl: 300, [6, 6, 6, 6]),
        ]
        try world.fill("alias.far.example.", alias)
        var denial = Packet("none.far.example.", flags: 0x8183)
        let soa = Packet.name("ns.far.example.") + Packet.name("h.far.example.")
        denial.authority = [
            Packet.record(Packet.name("far.example."), .soa, ttl: 300, soa + [UInt8](repeating: 1, count: 20))
        ]
        try world.fill("none.far.example.", denial)
        let words = Packet.bytes(15) + Array("blocked by rule 7".utf8)
        let failure = Packet(
            "failed.far.example.", flags: 0x8182, additional: [Packet.opt([(EDNS.Option.extendedError, words)])])
        try world.fill("failed.far.example.", failure)
    }

    @Test(
        "nor does a cached private address of a public name",
        arguments: [PrivateAddressPolicy.Action.warn, .refuse], [[], [Packet.opt()]])
    func privateAddress(action: PrivateAddressPolicy.Action, additional: [[UInt8]]) throws {
        let folder = try TemporaryFolder()
        let log = try LookupLog(sinks: [LookupSink(.json, to: .file(path: folder.file("log")))])
        log.start()
        defer { log.stop() }
        var world = try WireWorld(
            forwards: true, explains: .loopback, privateAddresses: PrivateAddressPolicy(action, exempt: []),
            ring: log.makeRing())
        try world.fill("cached.example.", [10, 0, 0, 1])
        let lookup = Case(
            "", Packet("cached.example.", flags: 0x0100, additional: additional), answers: action == .warn ? 1 : 0)
        try check(lookup, &world)
        #expect(world.decision.privateAnswer == (action == .warn ? .passed : .refused))
    }

    private func check(_ lookup: Case, _ world: inout WireWorld) throws {
        // The answer is checked; and what Swift allocates once, on the first call, is allocated.
        let response = try world.ask(lookup.packet)
        #expect(response.code == lookup.code)
        #expect(response.answers.count == lookup.answers)
        let allocated = lookup.packet.wire.withUnsafeBytes { message in
            for _ in 0..<3 { _ = world.handle(message) }
            let before = allocation_count()
            for _ in 0..<100 { _ = world.handle(message) }
            return allocation_count() - before
        }
        #expect(allocated == 0)
    }

    @Test("and the counter does count allocations")
    func counts() {
        let before = allocation_count()
        var arrays: [[UInt8]] = []
        for number in 1...10 { arrays.append([UInt8](repeating: 1, count: number * 100)) }
        #expect(arrays.count == 10)
        #expect(allocation_count() - before >= 10)
        let aligned = UnsafeMutableRawPointer.allocate(byteCount: 100, alignment: 64)
        aligned.deallocate()
        #expect(allocation_count() - before >= 11)
    }
}
