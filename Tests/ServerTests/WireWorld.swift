import DNSWire
import Foundation
import LDNS
import LookupLog
import TestSupport
import Testing

@testable import Daemon
@testable import LocalData
@testable import Lookup
@testable import Pipeline
@testable import Platform
@testable import Transports
@testable import Upstream

/// A `QueryHandler` with one overridden name and one zone, asked with messages in wire form.
struct WireWorld: ~Copyable {
    static let loopback = SocketAddress(high: 0, low: 0x7F00_0001, port: 40_000, isIPv6: false)
    /// The address of a client that is not served.
    static let stranger = SocketAddress(high: 0, low: 0xC000_0201, port: 40_000, isIPv6: false)
    /// Microseconds, on both clocks.
    static let now = Moment(wall: 1_700_000_000_000_000, monotonic: 1_000_000_000)
    static let identity = "stub53.test"

    private static let hosts = """
        127.0.0.14 over.acme.org
        2001:db8::14 over.acme.org
        127.0.0.15 *.wild.acme.org

        """
    private static let zone = """
        $ORIGIN acme.org.
        $TTL 3600
        @ IN SOA ns hostmaster 7 7200 3600 1209600 300
        @ IN NS ns
        @ IN A 152.153.81.14
        @ IN MX 10 mail
        @ IN TXT "v=spf1 -all"
        ns IN A 152.153.81.53
        mail IN A 152.153.81.25
        www IN CNAME @
        sub IN NS ns.sub
        ns.sub IN A 152.153.81.54
        moved IN DNAME wild
        big IN TXT \((0..<16).map { "\"\(String(repeating: Character(Unicode.Scalar(97 + $0) ?? "a"), count: 250))\"" }.joined(separator: " "))
        big IN A 152.153.81.1
        medium IN TXT "\(String(repeating: "m", count: 250))" "\(String(repeating: "n", count: 250))"

        """

    let cache: AnswerCache
    private let local: ServedData
    private let handler: QueryHandler
    private var lookup: Lookup
    private let ring: LookupRing?
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_535 + guardLength, alignment: 8)
    /// Bytes after the response buffer that must not be written to.
    private static let guardLength = 64
    private static let guardByte: UInt8 = 0xA5

    init(
        forwards: Bool = false, trustAuthenticData: Bool = false, explains: ReasonAudience = .off,
        serves network: String? = nil, leased: [String] = [], routes: [String] = [],
        privateAddresses: PrivateAddressPolicy = .allowing, ring: LookupRing? = nil
    ) throws {
        let servers = try routes.flatMap { try ConfigurationText.upstreamServers($0) }
        let folder = try TemporaryFolder()
        let hosts = try folder.write(Self.hosts, to: "hosts")
        try folder.write(Self.zone, to: "zones/acme.org.zone")
        let (configuration, problems) = Configuration.read(
            file: nil,
            options: [
                .init("--hosts", "hosts.files", [hosts]), .init("--zones", "zones.folders", [folder.file("zones")]),
                .init("--no-upstream", "upstream.servers", ["none"]),
            ])
        try #require(!problems.hasErrors, "\(problems.list)")
        let loaded = configuration.load()
        try #require(!loaded.diagnostics.hasErrors, "\(loaded.diagnostics.list)")
        var settings = configuration.cache
        settings.trustAuthenticData = trustAuthenticData
        cache = AnswerCache(settings)
        local = ServedData(
            pipeline: Pipeline(
                hosts: loaded.hosts,
                leases: HostsReader.table(
                    leased.map { (Array($0.utf8), 1) }, path: "override", settings: configuration.hosts
                ).table,
                zones: loaded.zones, special: loaded.special, cache: cache,
                routes: servers.isEmpty ? .everything : ForwardRoutes(servers), privateAddresses: privateAddresses,
                access: AccessList(allowing: network.flatMap { AccessList.Network($0) }.map { [$0] } ?? []),
                identity: ServerIdentity(
                    identity: Array(Self.identity.utf8), version: Array("stub53 test".utf8))),
            service: ServiceSettings(
                cookie: ServerCookie(), identity: Array(Self.identity.utf8), explains: explains),
            recursionAvailable: forwards)
        self.ring = ring
        handler = QueryHandler(ring: ring)
        lookup = Lookup()
    }

    deinit { buffer.deallocate() }

    var decision: Decision { lookup.decision }

    enum Reaction {
        case reply([UInt8])
        case nothing, miss, transfer

        /// Empty without a reply.
        var bytes: [UInt8] {
            if case .reply(let bytes) = self { return bytes }
            return []
        }
    }

    /// The response to `message`; a write beyond the transport's buffer is recorded as an issue.
    mutating func send(
        _ message: [UInt8], over transport: Transport = .udp, from client: SocketAddress = loopback
    ) -> Reaction {
        let room = transport == .udp ? DatagramBatch.answerCapacity : 65_535
        let guarded = UnsafeMutableRawBufferPointer(rebasing: buffer[room..<(room + Self.guardLength)])
        _ = guarded.initializeMemory(as: UInt8.self, repeating: Self.guardByte)
        let request = Lookup.Request(client: client, transport: transport, arrival: Self.now)
        let result = message.withUnsafeBytes {
            handler.handle(
                $0, request, &lookup, local, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<room]))
        }
        if !guarded.allSatisfy({ $0 == Self.guardByte }) { Issue.record("wrote behind its buffer for \(hex(message))") }
        switch result {
        case .reply(let length), .impaired(let length, _): return .reply(Array(buffer[..<length]))
        case .nothing: return .nothing
        case .needs: return .miss
        case .transfer: return .transfer
        }
    }

    /// The same without checking the response: nothing here allocates.
    mutating func handle(
        _ message: UnsafeRawBufferPointer, over transport: Transport = .udp
    ) -> QueryHandler.Result {
        let request = Lookup.Request(client: Self.loopback, transport: transport, arrival: Self.now)
        return handler.handle(
            message, request, &lookup, local,
            into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<DatagramBatch.answerCapacity]))
    }

    mutating func ask(
        _ packet: Packet, over transport: Transport = .udp, from client: SocketAddress = loopback
    ) throws -> WireResponse {
        try WireResponse(send(packet.wire, over: transport, from: client).bytes)
    }

    /// Puts an upstream answer into the cache: one address, TTL 300, AD=1.
    func fill(_ name: String, _ address: [UInt8] = [192, 0, 2, 1], dnssecOK: Bool = false) throws {
        var packet = Packet(name, .a, flags: 0x81A0)
        packet.answers = [Packet.record([0xC0, 12], .a, ttl: 300, address)]
        try fill(name, packet, dnssecOK: dnssecOK)
    }

    /// Puts an upstream answer to a question of type A into the cache.
    func fill(_ name: String, _ packet: Packet, dnssecOK: Bool = false) throws {
        let key = FetchKey(try #require(Name(name)), Question(type: .a, dnssecOK: dnssecOK))
        let answer = try packet.wire.withUnsafeBytes { try UpstreamAnswer.check($0, for: key) }
        cache.insert(answer, now: Self.now.monotonic)
    }
}

/// A response that has passed our strict walk, parsed by libldns.
struct WireResponse {
    let wire: [UInt8]
    let flags: Header.Flags
    /// Includes the upper bits from EDNS.
    let code: ResponseCode
    let answers: [LDNS.Message.Record]
    let authority: [LDNS.Message.Record]
    let hasQuestion: Bool
    /// From the OPT record; nil if there is none.
    let ednsVersion: UInt8?
    let ednsFlags: UInt16
    let payloadSize: UInt16
    let options: [UInt16: [UInt8]]

    struct Malformed: Error, CustomStringConvertible { let description: String }

    init(_ wire: [UInt8]) throws {
        self.wire = wire
        guard let summary = wire.withUnsafeBytes({ MessageReader.walk($0) }), summary.isSound,
            summary.length == wire.count
        else {
            throw Malformed(description: "a response that is no message: \(hex(wire))")
        }
        let message = try LDNS.Message(wire: wire)
        flags = Header.Flags(rawValue: UInt16(wire[2]) << 8 | UInt16(wire[3]))
        code = message.responseCode
        answers = message.records(.answer)
        authority = message.records(.authority)
        hasQuestion = wire[5] == 1
        var options: [UInt16: [UInt8]] = [:]
        if let opt = summary.opt {
            ednsVersion = UInt8(truncatingIfNeeded: opt.ttl >> 16)
            ednsFlags = UInt16(truncatingIfNeeded: opt.ttl)
            payloadSize = opt.recordClass.rawValue
            var rest = wire[opt.rdata..<opt.end]
            while rest.count >= 4 {
                let word = rest.prefix(4).map(Int.init)
                let data = rest.dropFirst(4).prefix(word[2] << 8 | word[3])
                options[UInt16(word[0] << 8 | word[1])] = Array(data)
                rest = rest.dropFirst(4 + data.count)
            }
            guard rest.isEmpty else { throw Malformed(description: "options that don't fill OPT: \(hex(wire))") }
        } else {
            ednsVersion = nil
            ednsFlags = 0
            payloadSize = 0
        }
        self.options = options
    }

    func has(_ flag: Header.Flags) -> Bool { flags.contains(flag) }

    /// The answer section as `OWNER TTL TYPE RDATA`.
    var lines: [String] {
        answers.map { "\($0.owner) \($0.ttl) \($0.type) \(Presentation.text(rdata: $0.rdata, type: $0.type))" }
    }
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
