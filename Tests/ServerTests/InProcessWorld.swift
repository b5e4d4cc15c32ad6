import DNSWire
import Foundation
import LookupLog
import Synchronization
import TestSupport
import Testing

@testable import Daemon
@testable import Lookup
@testable import Platform
@testable import Transports
@testable import Upstream

/// All parts of the service in this process, on one thread, with a clock controlled by the scenario and a simulated
/// upstream network: everything happens at the same time in each run.
final class InProcessWorld: ScenarioWorld {
    let folder: TemporaryFolder
    let upstreamQueries = UpstreamQueryLog()
    let addresses: [(name: String, address: String)]
    private let servers: [ScenarioServer]
    private let daemon: RunningDaemon
    private let responder: StreamResponder
    private let network: ScriptedNetwork
    private let lane: ForwardLane<ParkedQuery, UpstreamAnswer, ScriptedNetwork>

    var isExact: Bool { true }
    var now: UInt64 { network.now }

    /// How long an unanswered query is waited for, in microseconds.
    private static let patience: UInt64 = 100_000_000

    init(_ scenario: Scenario) throws {
        let folder = try TemporaryFolder()
        self.folder = folder
        let log = upstreamQueries
        servers = try scenario.servers.map { try ScenarioServer($0, of: scenario, folder: folder, log: log) }
        addresses = servers.enumerated().map { ($1.name, "127.0.0.1:\(5301 + $0)") }
        let file = try scenario.write(to: URL(filePath: folder.path), addresses)
        var options: [Configuration.Option] = [
            .init("--hosts", "hosts.files", [folder.file("hosts")]),
            .init("--rules", "rules.files", [folder.file("rules")]),
            .init("--zones", "zones.folders", [folder.file("zones")]),
            .init("--listen", "listen", ["127.0.0.1:0"]), .init("--workers", "workers", ["1"]),
            .init("--log", "log.format", ["json"]), .init("--log-file", "log.file", [folder.file("log")]),
            .init("--control", "control", ["off"]), .init("--inspector", "inspector", ["off"]),
            .init("--history", "history.path", ["off"]),
        ]
        if !scenario.configuresServers {
            options.append(
                .init("--upstream", "upstream.servers", servers.isEmpty ? ["none"] : addresses.map(\.address)))
        }
        let (configuration, problems) = Configuration.read(file: file.path, options: options)
        try #require(!problems.hasErrors, "\(scenario.path): \(problems.list)")
        let loaded = configuration.load()
        try #require(!loaded.diagnostics.hasErrors, "\(scenario.path): \(loaded.diagnostics.list)")
        daemon = try RunningDaemon(
            asked: configuration, LoadedState(configuration, loaded, since: FileWatcher.now()), .none, observers: [])
        network = ScriptedNetwork(Dictionary(uniqueKeysWithValues: zip(addresses.map(\.address), servers)))
        lane = daemon.forwarding.makeLane(over: network)
        responder = StreamResponder(
            store: daemon.store, forwarding: daemon.forwarding, ring: daemon.log?.makeRing())
        daemon.log?.start()
    }

    deinit { daemon.log?.stop() }

    // MARK: Time

    /// Does the next thing that is due; false if that is after `end`.
    private func step(until end: UInt64) -> Bool {
        let next = min(lane.nextRound ?? .max, network.nextArrival ?? .max)
        guard next <= end else { return false }
        network.now = max(network.now, next)
        lane.round(at: network.now)
        return true
    }

    func pass(microseconds: UInt64) {
        let end = network.now + microseconds
        while step(until: end) {}
        network.now = end
    }

    // MARK: Steps

    func ask(
        _ query: [UInt8], _ transport: ScenarioQuery.Transport, wantsLog: Bool
    ) async throws -> (answer: [UInt8], line: String?) {
        // The log sorts lookups by time.
        network.now += 1
        let request = Lookup.Request(
            client: SocketAddress(high: 0, low: 0x7F00_0001, port: 40_000, isIPv6: false),
            transport: transport == .udp ? .udp : .tcp,
            arrival: Moment(wall: 1_700_000_000_000_000 + now, monotonic: now))
        responder.refresh()
        let late = Answer()
        let outcome = query.withUnsafeBytes { message in
            responder.answer(message, request, at: .none) { .stream { late.set($0.bytes) } }
        }
        var answer: [UInt8]?
        switch outcome {
        case .written:
            answer = Array(responder.output.bytes.dropFirst(2))
            responder.output.removeAll()
        case .parked:
            let end = now + Self.patience
            while late.bytes == nil, step(until: end) {}
            answer = late.bytes
        case .transfer, .nothing, .close: break
        }
        // Whatever else the query caused is sent at once.
        while step(until: now) {}
        let bytes = try #require(answer.flatMap { $0.isEmpty ? nil : $0 }, "there is no answer")
        return (bytes, wantsLog ? try await line() : nil)
    }

    /// The log line of the last query.
    private func line() async throws -> String {
        await daemon.log?.catchUp()
        let text = try String(contentsOfFile: folder.file("log"), encoding: .utf8)
        return try #require(text.split(separator: "\n").last.map(String.init), "there is no line in the log")
    }

    func become(_ behavior: ScenarioServer.Behavior, _ server: String?) {
        for one in servers where server == nil || one.name == server { one.become(behavior) }
    }

    func reload() async throws {
        daemon.reloading.reload(reason: "a scenario's step")
        while step(until: now) {}
    }

    func flush(_ name: String?, tree: Bool) async throws {
        DaemonControl(daemon).flushCache(try name.map { try #require(Name($0)) }, tree: tree)
    }

    /// An awaited answer.
    private final class Answer: Sendable {
        private let value = Mutex<[UInt8]?>(nil)
        var bytes: [UInt8]? { value.withLock { $0 } }
        func set(_ bytes: [UInt8]) { value.withLock { $0 = bytes } }
    }
}

/// A network with scripted servers; each message takes 5 ms. Its clock stands still unless it is set.
final class ScriptedNetwork: UpstreamNetwork {
    /// Microseconds.
    var now: UInt64 = 1_000_000_000
    /// By `ADDR:PORT`.
    private let servers: [String: ScenarioServer]
    private var connections: [UpstreamChannel: Connection] = [:]
    private var opened = 0
    /// Ordered by time.
    private var arrivals: [Arrival] = []
    private var events: [ExchangeEvent] = []

    private struct Connection {
        /// Distinguishes it from others on the same channel.
        var number: Int
        var server: ScenarioServer?
    }

    private struct Arrival {
        var time: UInt64
        var channel: UpstreamChannel
        var connection: Int
        /// Nil: the channel fails, or, if it is not open yet, is ready.
        var message: [UInt8]?
        var fault: UpstreamFault?
    }

    private static let latency: UInt64 = 5_000

    init(_ servers: [String: ScenarioServer]) { self.servers = servers }

    /// Nothing waits for it; `nextArrival` says when something arrives.
    var descriptor: Int32 { -1 }
    func wait(milliseconds: Int32) {}

    var nextArrival: UInt64? { arrivals.first?.time }

    func open(_ channel: UpstreamChannel, to server: UpstreamServer) {
        opened += 1
        connections[channel] = Connection(number: opened, server: servers["\(server.address)"])
        guard case .stream = channel else { return }
        arrive(nil, on: channel, fault: connections[channel]?.server?.isClosed == false ? nil : .unreachable)
    }

    func close(_ channel: UpstreamChannel) { connections[channel] = nil }
    func closeAll() { connections = [:] }
    func localAddress(of channel: UpstreamChannel) -> SocketAddress? { nil }

    func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
        for message in messages {
            guard let server = connections[message.channel]?.server else { continue }
            if server.isClosed {
                arrive(nil, on: message.channel, fault: .unreachable)
                continue
            }
            switch server.react(Array(outbox[message.bytes]), message.channel.transport) {
            case .silence: break
            case .send(let bytes): arrive(bytes, on: message.channel)
            case .sendAfter(let milliseconds, let bytes):
                arrive(bytes, on: message.channel, after: UInt64(milliseconds) * 1_000)
            case .hangUp: arrive(nil, on: message.channel, fault: .closed)
            }
        }
    }

    private func arrive(
        _ message: [UInt8]?, on channel: UpstreamChannel, after delay: UInt64 = 0, fault: UpstreamFault? = nil
    ) {
        guard let connection = connections[channel]?.number else { return }
        let time = now + 2 * Self.latency + delay
        let place = arrivals.firstIndex { $0.time > time } ?? arrivals.count
        arrivals.insert(
            Arrival(time: time, channel: channel, connection: connection, message: message, fault: fault), at: place)
    }

    func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        while let next = arrivals.first, next.time <= now {
            arrivals.removeFirst()
            guard connections[next.channel]?.number == next.connection else { continue }
            if let message = next.message {
                message.withUnsafeBytes { handle(next.channel, $0) }
            } else if let fault = next.fault {
                events.append(.failed(next.channel, fault))
            } else {
                events.append(.opened(next.channel, microseconds: 0))
            }
        }
    }

    func takeEvents() -> [ExchangeEvent] {
        defer { events = [] }
        return events
    }
}
