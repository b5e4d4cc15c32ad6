import DNSWire
import LDNS
import LookupLog
import TestSupport
import Testing

@testable import Platform

/// The probes of ISC's EDNS compliance tester and of the DNS flag days, with their names there.
///
/// - RFC: 6891; 8906 8.
struct ComplianceProbe: Sendable, CustomTestStringConvertible {
    let name: String
    var type = RecordType.soa
    /// The header's flags, including the opcode.
    var flags: UInt16 = 0
    /// Nil: no EDNS.
    var payload: UInt16? = 4096
    var version: UInt8 = 0
    var ednsFlags: UInt16 = 0
    var options: [UInt16: [UInt8]] = [:]
    var transport = Transport.udp
    /// A name with a large answer makes the probe check TC, not follow it.
    var owner = "acme.org."

    var testDescription: String { name }

    private static let aa: UInt16 = 0x0400
    private static let tc: UInt16 = 0x0200
    private static let rd: UInt16 = 0x0100
    private static let ra: UInt16 = 0x0080
    private static let z: UInt16 = 0x0040
    private static let ad: UInt16 = 0x0020
    private static let cd: UInt16 = 0x0010
    private static let unknownOpcode: UInt16 = 15 << 11
    private static let cookie: [UInt16: [UInt8]] = [10: [1, 2, 3, 4, 5, 6, 7, 8]]
    private static let subnet: [UInt16: [UInt8]] = [8: [0, 1, 0, 0]]
    private static let nsid: [UInt16: [UInt8]] = [3: []]
    private static let expire: [UInt16: [UInt8]] = [9: []]
    private static let every = cookie.merging(subnet) { $1 }.merging(nsid) { $1 }.merging(expire) { $1 }

    static let all: [ComplianceProbe] = [
        .init(name: "dns", payload: nil),
        .init(name: "aa", flags: aa, payload: nil),
        .init(name: "ad", flags: ad, payload: nil),
        .init(name: "cd", flags: cd, payload: nil),
        .init(name: "ra", flags: ra, payload: nil),
        .init(name: "rd", flags: rd, payload: nil),
        .init(name: "tc", flags: tc, payload: nil),
        .init(name: "zflag", flags: z, payload: nil),
        .init(name: "opcode", flags: unknownOpcode, payload: nil),
        .init(name: "opcodeflg", flags: unknownOpcode | 0x07F0, payload: nil),
        .init(name: "type666", type: RecordType(rawValue: 666), payload: nil),
        .init(name: "tcp", payload: nil, transport: .tcp),
        .init(name: "edns"),
        .init(name: "edns1", version: 1),
        .init(name: "edns@512", type: .txt, payload: 512, ednsFlags: 0x8000, owner: "big.acme.org."),
        .init(name: "ednsopt", options: [100: []]),
        .init(name: "edns1opt", version: 1, options: [100: []]),
        .init(name: "do", ednsFlags: 0x8000),
        .init(name: "edns1do", version: 1, ednsFlags: 0x8000),
        .init(name: "docookie", ednsFlags: 0x8000, options: cookie),
        .init(name: "ednsflags", ednsFlags: 0x0080),
        .init(name: "optlist", options: every),
        .init(name: "ednsnsid", options: nsid),
        .init(name: "ednscookie", options: cookie),
        .init(name: "ednsexpire", options: expire),
        .init(name: "ednssubnet", options: subnet),
        .init(name: "edns1nsid", version: 1, options: nsid),
        .init(name: "edns1cookie", version: 1, options: cookie),
        .init(name: "edns1expire", version: 1, options: expire),
        .init(name: "edns1subnet", version: 1, options: subnet),
        .init(
            name: "edns512tcp", type: .txt, payload: 512, ednsFlags: 0x8000, transport: .tcp, owner: "big.acme.org."),
        .init(name: "bind11", ednsFlags: 0x8000, options: cookie),
        .init(name: "dig11", flags: rd | ad, options: cookie),
    ]

    var opcode: Opcode { Header.Flags(rawValue: flags).opcode }

    var packet: Packet {
        var packet = Packet(opcode == .query ? owner : nil, type, flags: flags)
        if let payload {
            packet.additional = [
                Packet.opt(
                    payload: payload, version: version, flags: ednsFlags,
                    options.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
            ]
        }
        return packet
    }
}

@Suite("EDNS compliance (RFC 6891, 8906 8)")
struct EDNSComplianceTests {
    @Test("passes the probe", arguments: ComplianceProbe.all)
    func probe(probe: ComplianceProbe) throws {
        var world = try WireWorld()
        let response = try world.ask(probe.packet, over: probe.transport)
        WireRules.check(response, to: probe.packet.wire, over: probe.transport)

        #expect(response.flags.opcode == probe.opcode)
        if probe.opcode != .query {
            #expect(response.code == .notImplemented)
            #expect(response.wire.count == 12)
        } else {
            #expect(response.code == (probe.version == 0 ? .noError : .badVersion))
            #expect(response.has(.recursionDesired) == (probe.flags & 0x0100 != 0))
            #expect(response.has(.checkingDisabled) == (probe.flags & 0x0010 != 0))
            #expect(response.has(.authoritative) == (probe.version == 0))
        }
        #expect(!response.has(.authenticData))
        // TC only if the response was truncated.
        let isCut = probe.owner == "big.acme.org." && probe.transport == .udp
        #expect(response.has(.truncated) == isCut)
        let answersSOA = probe.type == .soa && probe.version == 0 && probe.opcode == .query
        #expect(response.answers.contains { $0.type == .soa } == answersSOA)
        if probe.name == "edns512tcp" { #expect(response.wire.count > 4000) }

        guard probe.payload != nil else {
            #expect(response.ednsVersion == nil)
            return
        }
        #expect(response.ednsVersion == 0)
        #expect(response.payloadSize == 1232)
        #expect(response.ednsFlags == probe.ednsFlags & 0x8000)
        // A later version's options are unknown; of ours, only those requested and served are returned.
        let served = probe.version == 0 ? Set(probe.options.keys).intersection([3, 10]) : []
        #expect(Set(response.options.keys) == served)
        if served.contains(3) { #expect(response.options[3] == Array(WireWorld.identity.utf8)) }
        if served.contains(10) {
            #expect(response.options[10]?.count == 24)
            #expect(response.options[10]?.prefix(8) == [1, 2, 3, 4, 5, 6, 7, 8])
        }
    }

    @Test(
        "is complete up to the client's payload size, and truncated above it",
        arguments: [512, 513, 600, 700, 1232, 4096])
    func sizes(payload: Int) throws {
        var world = try WireWorld()
        let packet = Packet("medium.acme.org.", .txt, additional: [Packet.opt(payload: UInt16(payload))])
        let whole = try world.ask(packet, over: .tcp).wire.count
        let response = try world.ask(packet)
        #expect(response.wire.count <= payload)
        #expect(response.has(.truncated) == (whole > payload))
        // A truncated response is empty, so that nobody takes a part for the whole (RFC 2181 9).
        #expect(response.answers.isEmpty == (whole > payload))
        #expect(response.ednsVersion == 0)
    }

    @Test("without EDNS, an answer over UDP has at most 512 bytes (RFC 1035 4.2.1)")
    func classic() throws {
        var world = try WireWorld()
        let cut = try world.ask(Packet("medium.acme.org.", .txt))
        #expect(cut.has(.truncated) && cut.answers.isEmpty && cut.wire.count <= 512)
        let whole = try world.ask(Packet("medium.acme.org.", .txt), over: .tcp)
        #expect(!whole.has(.truncated) && whole.wire.count > 512)
    }
}
