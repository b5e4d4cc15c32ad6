import DNSWire
import Foundation
import LookupLog
import TestSupport
import Testing

@testable import Daemon
@testable import Pipeline
@testable import Platform
@testable import Transports
@testable import Upstream

/// What streams are served from: a zone with short and long answers; every other query stays parked.
struct StreamWorld {
    static let zone = """
        $ORIGIN acme.org.
        $TTL 3600
        @ IN SOA ns hostmaster 7 7200 3600 1209600 300
        @ IN NS ns
        ns IN A 152.153.81.53
        @ IN A 152.153.81.14
        long IN TXT \((0..<120).map { "\"\($0)\(String(repeating: "x", count: 200))\"" }.joined(separator: " "))

        """
    /// Records in a transfer of the zone, counting the SOA twice.
    static let transferred = 6

    let store: ServedDataStore
    let forwarding: Forwarding
    let responder: StreamResponder

    init(limits: StreamLimits = StreamLimits(), ring: LookupRing? = nil) throws {
        let folder = try TemporaryFolder()
        try folder.write(Self.zone, to: "zones/acme.org.zone")
        let (configuration, problems) = Configuration.read(
            file: nil,
            options: [
                .init("--no-hosts", "hosts.files", ["none"]),
                .init("--zones", "zones.folders", [folder.file("zones")]),
                .init("--no-upstream", "upstream.servers", ["none"]),
            ])
        try #require(!problems.hasErrors, "\(problems.list)")
        let loaded = configuration.load()
        try #require(!loaded.diagnostics.hasErrors, "\(loaded.diagnostics.list)")
        store = ServedDataStore(
            ServedData(
                pipeline: Pipeline(
                    hosts: loaded.hosts, zones: loaded.zones, special: loaded.special, cache: AnswerCache()),
                service: ServiceSettings(cookie: ServerCookie(), streams: limits),
                recursionAvailable: true))
        let server = try UpstreamServer(parsing: "127.0.0.1:1")
        // Never run: the test answers parked queries itself.
        forwarding = try Forwarding(settings: ForwardSettings(servers: [server]), store: store, log: nil)
        responder = StreamResponder(store: store, forwarding: forwarding, ring: ring)
    }

    func session() -> StreamSession { StreamSession(client: WireWorld.loopback, local: .none, transport: .tcp) }

    /// A query for `name`, with a length prefix.
    static func framed(_ name: String, _ type: RecordType = .a, id: UInt16) -> [UInt8] {
        var packet = Packet(name, type, flags: 0x0100)
        packet.id = id
        return framed(packet.wire)
    }

    static func framed(_ message: [UInt8]) -> [UInt8] { Packet.bytes(UInt16(message.count)) + message }

    /// The messages without their prefixes; the last one may be incomplete.
    static func messages(_ stream: [UInt8]) -> [[UInt8]] {
        var messages: [[UInt8]] = []
        var rest = stream[...]
        while rest.count >= 2 {
            let length = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
            messages.append(Array(rest.dropFirst(2).prefix(length)))
            rest = rest.dropFirst(2 + length)
        }
        return messages
    }
}

/// A session whose client takes everything at once.
struct StreamTrial {
    let world: StreamWorld
    var session: StreamSession
    /// What was sent.
    var sent: [UInt8] = []

    init(_ world: StreamWorld) {
        self.world = world
        session = world.session()
    }

    /// Receives bytes.
    mutating func bring(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { session.receive($0, world.responder, replyLater: { .stream { _ in } }) }
        flush()
    }

    /// Sends the output and lets the session continue.
    mutating func flush() {
        while true {
            sent += world.responder.output.bytes
            world.responder.output.removeAll()
            guard session.canProceed(world.responder) else { return }
            _ = session.proceed(world.responder, replyLater: { .stream { _ in } })
        }
    }

    /// Delivers the answer to a parked query.
    mutating func finish(_ reply: [UInt8]) {
        reply.withUnsafeBytes {
            session.finishParked(reply.isEmpty ? .nothing : .message($0, rate: 0), world.responder)
        }
        flush()
    }

    var wantsInput: Bool { session.wantsInput(world.responder) }
    var messages: [[UInt8]] { StreamWorld.messages(sent) }
    var ids: [UInt16] { messages.map { UInt16($0[0]) << 8 | UInt16($0[1]) } }
}
