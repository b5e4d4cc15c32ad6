import DNSWire
import Resolution
import Synchronization

/// How one upstream server does.
public struct UpstreamReport: Sendable, Hashable, Codable {
    /// As it is configured: `[DOMAIN=][tcp://]ADDR:PORT`.
    public var server: String
    /// `ADDR:PORT`, as the lookup log has it.
    public var address: String
    public var transport: String
    /// The names it is asked about are this one and those below.
    public var domain: String
    /// `untried`, `up` or `down`.
    public var state: String
    /// Smoothed; nil before the first answer.
    public var roundTripMicroseconds: UInt64?
    /// Queries without an answer since it was last heard of.
    public var failures: Int
    /// Since the start, or since the servers were last replaced.
    public var queries: UInt64
    public var answers: UInt64
    public var timeouts: UInt64
    /// Answers that could not be used, SERVFAIL and REFUSED among them, and network errors.
    public var errors: UInt64

    enum CodingKeys: String, CodingKey {
        case server, address, transport, domain, state
        case roundTripMicroseconds = "rtt_us"
        case failures, queries, answers, timeouts, errors
    }

    init(_ status: UpstreamStatus) {
        server = "\(status.server)"
        address = "\(status.server.address)"
        transport = status.server.transport == .tcp ? "tcp" : "udp"
        domain = "\(status.server.domain)"
        state = status.state.rawValue
        roundTripMicroseconds = status.smoothedRTT == 0 ? nil : status.smoothedRTT
        failures = status.failures
        queries = status.queries
        answers = status.answers
        timeouts = status.timeouts
        errors = status.errors
    }
}

/// What upstream said to one question that was asked for its own sake.
public struct AskedReply: Sendable, Hashable, Codable {
    /// `ADDR:PORT`; nil when nobody answered.
    public var upstream: String?
    public var transport: String?
    public var roundTripMicroseconds: UInt32?
    public var responseCode: String?
    /// Why there is no answer.
    public var error: String?

    enum CodingKeys: String, CodingKey {
        case upstream, transport
        case roundTripMicroseconds = "upstream_us"
        case responseCode = "rcode"
        case error
    }
}

/// The servers that have answered so far, by their numbers in the log, the cache and a decision. Each keeps its number.
final class UpstreamNumbers: Sendable {
    private struct Known {
        var servers: [SocketAddress] = []
        var numbers: [SocketAddress: Int16] = [:]
    }

    private let known = Mutex(Known())

    func server(_ number: Int16) -> SocketAddress? {
        known.withLock { $0.servers.indices.contains(Int(number)) ? $0.servers[Int(number)] : nil }
    }

    var servers: [SocketAddress] { known.withLock { $0.servers } }

    /// The number of `server`, which gets one where it is new; nil when there are no more numbers.
    func number(of server: SocketAddress) -> (number: Int16, isNew: Bool)? {
        known.withLock { known in
            if let number = known.numbers[server] { return (number, false) }
            guard known.servers.count < Int(Int16.max) else { return nil }
            let number = Int16(known.servers.count)
            known.servers.append(server)
            known.numbers[server] = number
            return (number, true)
        }
    }
}
