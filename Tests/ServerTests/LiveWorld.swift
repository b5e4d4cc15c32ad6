import DNSWire
import Foundation
import LookupLog
import TestSupport
import Testing
import Upstream

@testable import Daemon
@testable import Lookup
@testable import Platform
@testable import Transports

/// All parts of a running service in this process except the serving threads: with a hosts file, a zone, and a scripted
/// upstream server.
final class LiveWorld: Sendable {
    static let hosts = """
        127.0.0.14 over.acme.org
        127.0.0.15 *.wild.acme.org

        """
    static let zone = """
        $ORIGIN acme.org.
        $TTL 3600
        @ IN SOA ns hostmaster 7 7200 3600 1209600 300
        @ IN NS ns
        @ IN A 152.153.81.14
        ns IN A 152.153.81.53
        over IN A 152.153.81.16
        ext IN CNAME www.example.net.
        back IN CNAME over

        """

    let folder: TemporaryFolder
    let upstream: TestSupport.ScriptedServer
    let daemon: RunningDaemon
    var control: DaemonControl { DaemonControl(daemon) }
    private let threads = ThreadGroup()
    private let serving: Task<Void, any Error>?
    private let (starts, start) = AsyncStream<Void>.makeStream()

    /// Runs beside the service to notice when it is ready.
    private struct Witness: DaemonCompanion {
        let start: AsyncStream<Void>.Continuation

        func ready() async -> [String]? {
            start.finish()
            return []
        }

        func run() async throws {}
    }

    /// `options`: further settings, as keys and values. `serves`: it answers over UDP, at `port`, until `stop`.
    init(hosts: String = hosts, options: [(key: String, value: String)] = [], serves: Bool = false) throws {
        let folder = try TemporaryFolder()
        self.folder = folder
        // Its answers stay cached longer than all tests take on the slowest machine.
        upstream = try TestSupport.ScriptedServer { query, _ in .send(Reply.addresses(query, ttl: 3600)) }
        try folder.write(hosts, to: "hosts")
        try folder.write(Self.zone, to: "zones/acme.org.zone")
        var all: [Configuration.Option] = [
            .init("--hosts", "hosts.files", [folder.file("hosts")]),
            .init("--zones", "zones.folders", [folder.file("zones")]),
            .init("--upstream", "upstream.servers", ["127.0.0.1:\(upstream.port)"]),
            .init("--listen", "listen", ["127.0.0.1:0"]), .init("--log", "log.format", ["none"]),
        ]
        all += options.map { .init("--" + $0.key, $0.key, [$0.value]) }
        let (configuration, problems) = Configuration.read(file: nil, options: all)
        try #require(!problems.hasErrors, "\(problems.list)")
        let loaded = configuration.load()
        try #require(!loaded.diagnostics.hasErrors, "\(loaded.diagnostics.list)")
        daemon = try RunningDaemon(
            asked: configuration, LoadedState(configuration, loaded, since: FileWatcher.now()), .none, observers: [])
        if serves {
            let (daemon, witness) = (daemon, Witness(start: start))
            serving = Task { try await daemon.serveUntilShutdown(beside: [witness], notes: []) }
        } else {
            serving = nil
            let lane = LaneBox(try daemon.forwarding.makeLane())
            threads.start("forward") { lane.run() }
        }
    }

    deinit {
        serving?.cancel()
        daemon.forwarding.stop(within: 0)
    }

    var port: UInt16 { daemon.addresses[0].address.port }

    /// Returns once the service is ready.
    func started() async { for await _ in starts {} }

    func stop() async throws {
        serving?.cancel()
        try await serving?.value
    }

    /// Runs `dig +short WORDS` against it.
    func dig(_ words: String...) async throws -> [String] {
        try await Command.run(
            ["@127.0.0.1", "-p", "\(port)", "+tries=1", "+time=\(longestWait)", "+short"] + words,
            executable: URL(filePath: "/usr/bin/dig")
        ).output.split(separator: "\n").map(String.init)
    }

    /// The answer from the data now served, to a query from 127.0.0.1.
    func ask(_ name: String, _ type: RecordType = .a) throws -> (response: WireResponse, decision: Decision) {
        let data = daemon.store.current().data
        let handler = QueryHandler(ring: nil)
        var lookup = Lookup()
        var buffer = [UInt8](repeating: 0, count: 65_535)
        let request = Lookup.Request(client: WireWorld.loopback, transport: .tcp, arrival: .now())
        let packet = Packet(name, type, flags: 0x0100, additional: [Packet.opt()])
        let result = packet.wire.withUnsafeBytes { message in
            buffer.withUnsafeMutableBytes { handler.handle(message, request, &lookup, data, into: $0) }
        }
        guard case .reply(let length) = result else { throw WireResponse.Malformed(description: "\(result)") }
        return (try WireResponse(Array(buffer[..<length])), lookup.decision)
    }

    /// Passed to the one thread that uses it.
    private final class LaneBox: @unchecked Sendable {
        private let lane: Forwarding.Lane
        init(_ lane: Forwarding.Lane) { self.lane = lane }
        func run() { lane.run() }
    }

    /// `PATH:LINE` of a file in the world's folder.
    func rule(_ file: String, _ line: Int) -> String { "\(folder.file(file)):\(line)" }
}
