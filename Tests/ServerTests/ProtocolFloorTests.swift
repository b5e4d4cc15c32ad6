import DNSWire
import LDNS
import Lookup
import LookupLog
import TestSupport
import Testing

@testable import LocalData
@testable import Platform
@testable import Transports

@Suite("The AD bit (RFC 6840 5.7, 5.8)")
struct AuthenticDataTests {
    @Test(
        "is set only for clients that ask for it, with AD or DO, and if upstream is trusted",
        arguments: [(0x0100, false, false), (0x0120, false, true), (0x0100, true, true), (0x0120, true, true)])
    func asked(flags: Int, dnssecOK: Bool, isSet: Bool) throws {
        for trusted in [true, false] {
            var world = try WireWorld(forwards: true, trustAuthenticData: trusted)
            try world.fill("signed.example.", dnssecOK: dnssecOK)
            var packet = Packet("signed.example.", .a, flags: UInt16(flags))
            if dnssecOK { packet.additional = [Packet.opt(flags: 0x8000)] }
            let response = try world.ask(packet)
            #expect(response.lines == ["signed.example. 300 A 192.0.2.1"])
            #expect(response.has(.authenticData) == (trusted && isSet))
        }
    }

    @Test("is never set for overrides and zones", arguments: ["over.acme.org.", "acme.org."])
    func local(name: String) throws {
        var world = try WireWorld(trustAuthenticData: true)
        let response = try world.ask(Packet(name, .a, flags: 0x0120, additional: [Packet.opt(flags: 0x8000)]))
        #expect(response.has(.authoritative) && !response.has(.authenticData))
    }
}

@Suite("Queries for zone transfers (RFC 5936, 1995)")
struct TransferQueryTests {
    /// An IXFR query of a client with this serial.
    private func incremental(_ serial: UInt32) -> Packet {
        var packet = Packet("acme.org.", .ixfr)
        let numbers = [serial, 0, 0, 0, 0].flatMap {
            Packet.bytes(UInt16($0 >> 16)) + Packet.bytes(UInt16($0 & 0xFFFF))
        }
        packet.authority = [Packet.record([0xC0, 12], .soa, [0, 0] + numbers)]
        return packet
    }

    @Test(
        "IXFR over UDP gets only the SOA, so that the client retries over TCP", arguments: [1, 6, 7, 8] as [UInt32])
    func overUDP(serial: UInt32) throws {
        var world = try WireWorld()
        let response = try world.ask(incremental(serial))
        #expect(response.code == .noError)
        #expect(response.has(.authoritative) && !response.has(.truncated))
        #expect(response.lines == ["acme.org. 3600 SOA ns.acme.org. hostmaster.acme.org. 7 7200 3600 1209600 300"])
        #expect(response.authority.isEmpty)
        let isFromZone = world.decision.source == .zone
        #expect(isFromZone)
    }

    @Test(
        "IXFR over TCP transfers the zone, unless the client's serial is current (RFC 1982 3.2)",
        arguments: [(0, true), (6, true), (7, false), (8, false), (0x8000_0006, false), (0x8000_0008, true)]
            as [(UInt32, Bool)])
    func overTCP(serial: UInt32, isTransferred: Bool) throws {
        var world = try WireWorld()
        switch world.send(incremental(serial).wire, over: .tcp) {
        case .transfer: #expect(isTransferred)
        case .reply(let bytes):
            #expect(!isTransferred)
            let types = try WireResponse(bytes).answers.map(\.type)
            #expect(types == [.soa])
        default: Issue.record("no answer")
        }
    }

    @Test("AXFR over TCP is allowed for this machine, and REFUSED for others")
    func full() throws {
        var world = try WireWorld()
        guard case .transfer = world.send(Packet("acme.org.", .axfr).wire, over: .tcp) else {
            Issue.record("no transfer")
            return
        }
        let refused = try world.ask(Packet("acme.org.", .axfr), over: .tcp, from: WireWorld.stranger)
        #expect(refused.code == .refused)
    }

    @Test(
        "a transfer of a zone not served here is NOTAUTH (RFC 5936 2.2.1)",
        arguments: ["example.net.", "www.acme.org."])
    func elsewhere(name: String) throws {
        var world = try WireWorld()
        let response = try world.ask(Packet(name, .axfr, additional: [Packet.opt()]), over: .tcp)
        #expect(response.code == .notAuth)
        #expect(response.options[15]?.prefix(2) == [0, 20])
    }
}

@Suite("Cookies (RFC 7873 5.2, 9018 4)")
struct ServerCookieWireTests {
    private func cookie(_ data: [UInt8], in world: inout WireWorld, from client: SocketAddress) throws -> [UInt8] {
        let packet = Packet("acme.org.", additional: [Packet.opt([(10, data)])])
        let response = try world.ask(packet, from: client)
        #expect(response.code == .noError)
        return try #require(response.options[10])
    }

    @Test("a client cookie is returned with a server cookie: version 1, the time, a hash")
    func format() throws {
        var world = try WireWorld()
        let client: [UInt8] = [9, 8, 7, 6, 5, 4, 3, 2]
        let full = try cookie(client, in: &world, from: WireWorld.loopback)
        #expect(full.count == 24)
        #expect(Array(full.prefix(8)) == client)
        #expect(full[8..<12] == [1, 0, 0, 0])
        let time = UInt32(WireWorld.now.wall / 1_000_000)
        #expect(full[12..<16] == [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: time >> $0) }[...])
        // It stays the same, and can be sent back.
        #expect(try cookie(full, in: &world, from: WireWorld.loopback) == full)
    }

    @Test("a server cookie is specific to client cookie, address and server")
    func binding() throws {
        var world = try WireWorld()
        var other = try WireWorld()
        let client = [UInt8](repeating: 1, count: 8)
        let first = try cookie(client, in: &world, from: WireWorld.loopback)
        let neighbour = SocketAddress(high: 0, low: 0x7F00_0002, port: 40_000, isIPv6: false)
        let samePort = SocketAddress(high: 0, low: 0x7F00_0001, port: 40_001, isIPv6: false)
        let six = SocketAddress(high: 0, low: 1, port: 40_000, isIPv6: true)
        #expect(try cookie(client, in: &world, from: samePort) == first)
        #expect(try cookie(client, in: &world, from: neighbour) != first)
        #expect(try cookie(client, in: &world, from: six) != first)
        #expect(
            try cookie([UInt8](repeating: 2, count: 8), in: &world, from: WireWorld.loopback)[16...] != first[16...])
        #expect(try cookie(client, in: &other, from: WireWorld.loopback) != first)
    }

    @Test("the cookies match the examples of RFC 9018, appendix A", arguments: CookieExample.all)
    func examples(example: CookieExample) throws {
        let client = try #require(SocketAddress(ip: example.client, port: 53))
        let cookie = ServerCookie(key: example.key)
        var bytes = [UInt8](repeating: 0, count: ServerCookie.length)
        bytes.withUnsafeMutableBytes { target in
            withUnsafeBytes(of: example.clientCookie.bigEndian) {
                guard let from = $0.baseAddress, let to = target.baseAddress else { return }
                cookie.write(to: to, clientCookie: from, time: example.time, client: client)
            }
        }
        #expect(hex(bytes) == example.cookie)
    }

    @Test("a query with a cookie but no question gets only a cookie (RFC 7873 5.4)")
    func alone() throws {
        var world = try WireWorld()
        let response = try world.ask(Packet(additional: [Packet.opt([(10, [UInt8](repeating: 1, count: 8))])]))
        #expect(response.code == .noError && !response.hasQuestion && response.answers.isEmpty)
        #expect(response.options[10]?.count == 24)
    }
}

struct CookieExample: Sendable {
    let client: String
    /// The secret's bytes in order.
    let secret: (UInt64, UInt64)
    /// Client cookie, version, reserved, time, hash.
    let cookie: String

    var key: (UInt64, UInt64) { (secret.0.byteSwapped, secret.1.byteSwapped) }
    var clientCookie: UInt64 { UInt64(cookie.prefix(16), radix: 16) ?? 0 }
    var time: UInt32 { UInt32(cookie.dropFirst(24).prefix(8), radix: 16) ?? 0 }

    static let all: [CookieExample] = [
        .init(
            client: "198.51.100.100", secret: (0xE5E9_73E5_A6B2_A43F, 0x48E7_DC84_9E37_BFCF),
            cookie: "2464c4abcf10c957010000005cf79f111f8130c3eee29480"),
        .init(
            client: "198.51.100.100", secret: (0xE5E9_73E5_A6B2_A43F, 0x48E7_DC84_9E37_BFCF),
            cookie: "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"),
        .init(
            client: "203.0.113.203", secret: (0xE5E9_73E5_A6B2_A43F, 0x48E7_DC84_9E37_BFCF),
            cookie: "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"),
        .init(
            client: "2001:db8:220:1:59de:d0f4:8769:82b8", secret: (0xDD3B_DF93_44B6_78B1, 0x85A6_F5CB_60FC_A715),
            cookie: "22681ab97d52c298010000005cf7c57926556bd0934c72f8"),
        .init(
            client: "2001:db8:220:1:59de:d0f4:8769:82b8", secret: (0x4455_36BC_D251_3298, 0x075A_5D37_9663_C962),
            cookie: "22681ab97d52c298010000005cf7c609a6bb79d16625507a"),
    ]
}

@Suite("Options of the response (RFC 5001, 7828, 8914)")
struct ResponseOptionTests {
    @Test("the keepalive timeout is sent over TCP if requested, and never over UDP (RFC 7828 3.2.1)")
    func keepalive() throws {
        var world = try WireWorld()
        let asking = Packet("acme.org.", additional: [Packet.opt([(11, [])])])
        #expect(try world.ask(asking, over: .tcp).options[11] == [0, 100])
        #expect(try world.ask(asking, over: .udp).options[11] == nil)
        #expect(try world.ask(Packet("acme.org.", additional: [Packet.opt()]), over: .tcp).options[11] == nil)
        let wrong = Packet("acme.org.", additional: [Packet.opt([(11, [0, 1])])])
        #expect(try world.ask(wrong, over: .tcp).options[11] == nil)
    }

    @Test("a refusal has an extended error with a text, if the client speaks EDNS (RFC 8914 2)")
    func extendedError() throws {
        var world = try WireWorld()
        let told = try world.ask(Packet("example.net.", additional: [Packet.opt()]))
        #expect(told.code == .refused)
        let option = try #require(told.options[15])
        #expect(option.prefix(2) == [0, 20])
        #expect(String(decoding: option.dropFirst(2), as: UTF8.self) == "no local data, and not forwarded")
        #expect(try world.ask(Packet("example.net.")).wire.count == Packet("example.net.").wire.count)
    }

    @Test("an unserved client gets the reason only within the size of its query")
    func stranger() throws {
        var world = try WireWorld()
        for (options, hasReason) in [([], false), ([(12, [0, 0])], true)] as [([(UInt16, [UInt8])], Bool)] {
            let packet = Packet("acme.org.", additional: [Packet.opt(options.map { ($0.0, $0.1) })])
            let response = try world.ask(packet, from: WireWorld.stranger)
            #expect(response.code == .refused)
            #expect(response.options[15] == (hasReason ? [0, 18] : nil))
            #expect(response.wire.count <= packet.wire.count)
        }
    }

    @Test("asking for NXNAME is an error with its own reason (RFC 9824 3.5)")
    func nxname() throws {
        var world = try WireWorld()
        let response = try world.ask(Packet("acme.org.", .nxname, additional: [Packet.opt()]))
        #expect(response.code == .formatError)
        #expect(response.options[15]?.prefix(2) == [0, 30])
    }
}
