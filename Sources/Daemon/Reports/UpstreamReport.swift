import DNSWire
import Platform
import Synchronization
import Upstream

/// How one upstream server does.
package struct UpstreamReport: Sendable, Hashable, Codable {
    /// As it is configured: `[DOMAIN=][tcp://]ADDR:PORT`.
    package var server: String
    /// `ADDR:PORT`, as the lookup log has it.
    package var address: String
    package var transport: String
    /// The names it is asked about are this one and those below.
    package var domain: String
    /// `untried`, `up` or `down`.
    package var state: String
    /// Smoothed; nil before the first answer.
    package var roundTripMicroseconds: UInt64?
    /// Queries without an answer since it was last heard of.
    package var failures: Int
    /// Since the start, or since the servers were last replaced.
    package var queries: UInt64
    package var answers: UInt64
    package var timeouts: UInt64
    /// Answers that could not be used, SERVFAIL and REFUSED among them, and network errors.
    package var errors: UInt64

    enum CodingKeys: String, CodingKey {
        case server, address, transport, domain, state
        case roundTripMicroseconds = "rtt_us"
        case failures, queries, answers, timeouts, errors
    }

    init(_ status: UpstreamStatus) {
        server = "\(status.server)"
        address = "\(status.server.address)"
        transport = "\(status.server.transport)"
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
package struct AskedReply: Sendable, Hashable, Codable {
    /// `ADDR:PORT`; nil when nobody answered.
    package var upstream: String?
    package var transport: String?
    package var roundTripMicroseconds: UInt32?
    package var responseCode: String?
    /// Why there is no answer.
    package var error: String?

    enum CodingKeys: String, CodingKey {
        case upstream, transport
        case roundTripMicroseconds = "upstream_us"
        case responseCode = "rcode"
        case error
    }
}
