import DNSWire
import Foundation
import Resolution
import TestSupport
import Testing

@testable import Server

/// All parts of a running service in this process, but for the threads that serve: with a hosts file, a zone, and an
/// upstream server that does as it is told.
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

    /// `options`: more of the command line, as keys and values.
    init(hosts: String = hosts, options: [(key: String, value: String)] = []) throws {
        let folder = try TemporaryFolder()
        self.folder = folder
        upstream = try TestSupport.ScriptedServer { query, _ in .send(Reply.addresses(query)) }
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
        let lane = LaneBox(daemon.forwarding.makeLane())
        threads.start("forward") { lane.run() }
    }

    deinit { daemon.forwarding.stop(within: 0) }

    /// Handed to the one thread that uses it.
    private final class LaneBox: @unchecked Sendable {
        private let lane: Forwarding.Lane
        init(_ lane: Forwarding.Lane) { self.lane = lane }
        func run() { lane.run() }
    }

    /// `PATH:LINE` of a file of the world.
    func rule(_ file: String, _ line: Int) -> String { "\(folder.file(file)):\(line)" }
}
