import DNSWire
import Foundation
import Platform
import TestSupport
import Testing

/// The real daemon, with upstream servers on loopback.
final class DaemonWorld: ScenarioWorld {
    let folder: TemporaryFolder
    let upstreamQueries = UpstreamQueryLog()
    let addresses: [(name: String, address: String)]
    private let servers: [(server: ScenarioServer, listener: TestSupport.ScriptedServer)]
    private let daemon: DaemonProcess
    private let control: String
    /// Lines of its output that belong to earlier queries.
    private var linesSeen = 0

    var isExact: Bool { false }
    var now: UInt64 { 0 }

    /// How much farther away each server is than the one before, in milliseconds: more than a busy machine adds.
    private static let distance: UInt32 = 150

    init(_ scenario: Scenario) async throws {
        let folder = try TemporaryFolder()
        self.folder = folder
        control = folder.file("control.sock")
        let log = upstreamQueries
        servers = try scenario.servers.enumerated().map { place, description in
            // The daemon asks the fastest first, and scenarios expect that to be the one that they name first.
            let distance = UInt32(place) * Self.distance
            let server = try ScenarioServer(description, of: scenario, folder: folder, log: log)
            let listener = try TestSupport.ScriptedServer { query, transport in
                switch server.react(query, transport == .udp ? .udp : .tcp) {
                case .silence: .silence
                case .send(let bytes): distance == 0 ? .send(bytes) : .sendAfter(milliseconds: distance, bytes)
                case .sendAfter(let milliseconds, let bytes):
                    .sendAfter(milliseconds: milliseconds + distance, bytes)
                case .hangUp: .hangUp
                }
            }
            listener.close(server.isClosed)
            return (server, listener)
        }
        addresses = servers.map { ($0.server.name, "127.0.0.1:\($0.listener.port)") }
        let file = try scenario.write(to: URL(filePath: folder.path), addresses)
        var arguments = [
            "--config", file.path, "--hosts", folder.file("hosts"), "--rules", folder.file("rules"), "--zones",
            folder.file("zones"), "--workers", "1",
            "--control", control,
        ]
        if servers.isEmpty {
            arguments.append("--no-upstream")
        } else if !scenario.configuresServers {
            arguments += addresses.flatMap { ["--upstream", $0.address] }
        }
        daemon = try await DaemonProcess(arguments)
        linesSeen = daemon.output.all.count
    }

    func pass(microseconds: UInt64) {}

    func ask(
        _ query: [UInt8], _ transport: ScenarioQuery.Transport, wantsLog: Bool
    ) async throws -> (answer: [UInt8], line: String?) {
        let port = daemon.port
        let answer = try await blocking { try LoopbackClient(port: port).ask(query, transport) }
        let line = try await daemon.output.first(from: linesSeen) { $0.hasPrefix("{") }
        // Each query has one line, and there is only one query at a time.
        linesSeen = (daemon.output.all[linesSeen...].firstIndex { $0.hasPrefix("{") } ?? linesSeen) + 1
        return (answer, line)
    }

    func become(_ behavior: ScenarioServer.Behavior, _ server: String?) {
        for one in servers where server == nil || one.server.name == server {
            one.server.become(behavior)
            one.listener.close(one.server.isClosed)
        }
    }

    /// Problems that it reports are for the scenario to check.
    func reload() async throws { _ = try await Command.run(["reload", "--control", control]) }

    func flush(_ name: String?, tree: Bool) async throws {
        let words = (name.map { [$0] } ?? []) + (tree ? ["--tree"] : [])
        let result = try await Command.run(["flush", "--control", control] + words)
        #expect(result.code == 0, "\(result.errors)")
    }
}

/// A client that asks one question over its own socket.
private struct LoopbackClient {
    let port: UInt16

    /// In milliseconds; longer than the daemon waits for upstream.
    private static let patience: Int32 = 30_000

    func ask(_ query: [UInt8], _ transport: ScenarioQuery.Transport) throws -> [UInt8] {
        let isStream = transport == .tcp
        let descriptor = socket(AF_INET, Int32((isStream ? SOCK_STREAM : SOCK_DGRAM).rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw LineReader.Missing(description: "connect: \(errno)") }
        let bytes = isStream ? Packet.bytes(UInt16(query.count)) + query : query
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw LineReader.Missing(description: "send: \(errno)")
        }
        guard isStream else { return try read(descriptor) }
        var received: [UInt8] = []
        while true {
            received += try read(descriptor)
            guard received.count >= 2 else { continue }
            let length = Int(received[0]) << 8 | Int(received[1])
            if received.count >= 2 + length { return Array(received[2..<(2 + length)]) }
        }
    }

    private func read(_ descriptor: Int32) throws -> [UInt8] {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, Self.patience) > 0 else { throw LineReader.Missing(description: "there is no answer") }
        var buffer = [UInt8](repeating: 0, count: 65_537)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { throw LineReader.Missing(description: "recv: \(count) \(errno)") }
        return Array(buffer[..<count])
    }
}
