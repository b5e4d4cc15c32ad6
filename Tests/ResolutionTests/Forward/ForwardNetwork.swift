import DNSWire
import Platform

@testable import Lookup
@testable import Upstream

/// A `ForwardCore` with a simulated clock and network.
final class ForwardNetwork {
    /// A query that was sent.
    struct Sent {
        let server: Int
        let channel: UpstreamChannel
        let bytes: [UInt8]

        var id: UInt16 { UInt16(bytes[0]) << 8 | UInt16(bytes[1]) }
        var isStream: Bool { if case .stream = channel { true } else { false } }
        var questionEnd: Int {
            var cursor = Header.length
            while bytes[cursor] != 0 { cursor += Int(bytes[cursor]) + 1 }
            return cursor + 5
        }
        var hasEDNS: Bool { bytes[11] == 1 }
        /// The data of its COOKIE option.
        var cookie: [UInt8] { hasEDNS && bytes.count > questionEnd + 11 ? Array(bytes[(questionEnd + 15)...]) : [] }
        var dnssecOK: Bool { hasEDNS && bytes[questionEnd + 7] & 0x80 != 0 }
        var name: [UInt8] { Array(bytes[Header.length..<(questionEnd - 4)]) }
    }

    var core: ForwardCore
    var now: UInt64 = 1_000_000
    /// Sent queries that the test has not taken yet.
    var sent: [Sent] = []
    var ended: [(flight: Int, conclusion: ForwardCore.Conclusion)] = []
    var late: [Int] = []
    var openPorts: [Int: Int] = [:]
    var portsEverOpened = 0
    /// The servers of connections that were closed.
    var closedStreams: [Int] = []
    var openStreams: [UpstreamChannel: Int] = [:]
    var streamsEverOpened = 0
    var acceptsAnswers = true

    /// `[DOMAIN=]SERVER`
    private static func server(_ text: String) throws -> UpstreamServer {
        let parts = text.split(separator: "=")
        let parsed = try UpstreamServer(parsing: String(parts[parts.count - 1]))
        let domain = parts.count == 1 ? Name.root : Name(String(parts[0])) ?? .root
        return UpstreamServer(address: parsed.address, transport: parsed.transport, domain: domain)
    }

    init(_ servers: [String], _ adjust: (inout ForwardSettings) -> Void = { _ in }) throws {
        var settings = ForwardSettings(servers: try servers.map(Self.server))
        adjust(&settings)
        core = ForwardCore(settings)
    }

    static func key(_ name: String, _ type: RecordType = .a, dnssecOK: Bool = false) -> FetchKey {
        FetchKey(Name(name)!, Question(type: type, dnssecOK: dnssecOK))
    }

    /// The flight; nil if the fetch failed at once.
    @discardableResult
    func fetch(_ name: String, _ type: RecordType = .a, waits: Bool = true, dnssecOK: Bool = false) -> Int? {
        defer { pump() }
        let start = core.fetch(
            Self.key(name, type, dnssecOK: dnssecOK), waits: waits, deadline: now + 5_000_000, now: now)
        if case .flight(let flight) = start { return flight }
        return nil
    }

    func pump() {
        for action in core.takeActions() {
            switch action {
            case .open(.port(let port), let server):
                openPorts[port] = server
                portsEverOpened += 1
            case .close(.port(let port)): openPorts[port] = nil
            case .open(let channel, let server):
                openStreams[channel] = server
                streamsEverOpened += 1
            case .close(let channel):
                if let server = openStreams.removeValue(forKey: channel) { closedStreams.append(server) }
            case .send(let message):
                sent.append(
                    Sent(server: message.server, channel: message.channel, bytes: Array(core.outbox[message.bytes])))
            case .late(let flight): late.append(flight)
            case .finished(let flight, let conclusion):
                ended.append((flight, conclusion))
                core.release(flight)
            }
        }
        core.clearOutbox()
    }

    /// Takes the one query sent since the last call; nil unless there is exactly one.
    func query() -> Sent? {
        defer { sent.removeAll() }
        return sent.count == 1 ? sent[0] : nil
    }

    func queries() -> [Sent] {
        defer { sent.removeAll() }
        return sent
    }

    /// Advances the time, timer by timer, as the engine would.
    func pass(_ milliseconds: UInt64) {
        let end = now + milliseconds * 1_000
        while let next = core.nextTimer, next <= end {
            now = max(now, next)
            core.timer(now: now)
            pump()
        }
        now = end
    }

    func deliver(_ message: [UInt8], on channel: UpstreamChannel) {
        let accepts = acceptsAnswers
        message.withUnsafeBytes { core.received($0, on: channel, now: now) { _, _, _ in accepts } }
        pump()
    }

    func answer(
        _ query: Sent, _ code: ResponseCode = .noError, truncated: Bool = false, edns: Bool = true,
        cookie: [UInt8]? = nil
    ) {
        deliver(Self.response(query, code, truncated: truncated, edns: edns, cookie: cookie), on: query.channel)
    }

    func fail(_ channel: UpstreamChannel, _ fault: UpstreamFault? = nil) {
        let isPort = channel.transport == .udp
        core.channelFailed(channel, fault ?? (isPort ? .unreachable : .closed), now: now)
        pump()
    }

    var answered: [Int] {
        ended.compactMap { if case .answered = $0.conclusion { $0.flight } else { nil } }
    }

    var failures: [ExtendedError] {
        ended.compactMap { if case .failed(let error, _) = $0.conclusion { error } else { nil } }
    }

    var state: [UpstreamStatus.State] { core.status(now).map(\.state) }

    static func response(
        _ query: Sent, _ code: ResponseCode = .noError, truncated: Bool = false, edns: Bool = true,
        cookie: [UInt8]? = nil
    ) -> [UInt8] {
        var message = Array(query.bytes[..<query.questionEnd])
        message[2] = 0x81 | (truncated ? 2 : 0)
        message[3] = 0x80 | UInt8(code.rawValue & 0xF)
        message.replaceSubrange(6..<12, with: [0, 0, 0, 0, 0, edns ? 1 : 0])
        if edns {
            message += [0, 0, 41, 0x04, 0xD0, UInt8(code.rawValue >> 4), 0, 0, 0]
            if let cookie {
                message += [0, UInt8(cookie.count + 4), 0, 10, 0, UInt8(cookie.count)] + cookie
            } else {
                message += [0, 0]
            }
        }
        return message
    }
}
