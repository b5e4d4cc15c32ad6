import DNSWire
import Platform
import Synchronization
import Upstream

/// The state of one upstream server.
package struct UpstreamReport: Sendable, Hashable, Codable {
    /// As configured: `[DOMAIN=][tcp://]ADDR:PORT`.
    package var server: String
    /// `ADDR:PORT`, as in the lookup log.
    package var address: String
    package var transport: String
    /// This name and those below are forwarded to it.
    package var domain: String
    /// `untried`, `up` or `down`.
    package var state: String
    /// Smoothed; nil before the first answer.
    package var roundTripMicroseconds: UInt64?
    /// Unanswered queries since the last sign of life.
    package var failures: Int
    /// Since the start, or since servers were last replaced.
    package var queries: UInt64
    package var answers: UInt64
    package var timeouts: UInt64
    /// Unusable answers, including SERVFAIL and REFUSED, and network errors.
    package var errors: UInt64

    /// What it takes of EDNS: `full`, `no-options`, `no-do`, or `none`.
    package var edns: String
    /// It keeps the case of a question's letters.
    package var keepsCase: Bool
    /// It has stopped answering over UDP, so that questions go over TCP.
    package var needsTCP: Bool
    /// TCP or encrypted connections: open now, opened since the start, and the queries sent over them.
    package var connections: Int
    package var connectionsOpened: UInt64
    package var connectionQueries: UInt64
    /// How long the oldest has been open.
    package var connectionAgeMicroseconds: UInt64?
    /// How long the last one took to be ready, with the TLS handshake.
    package var handshakeMicroseconds: UInt64?
    /// The last error of the network, of TLS or HTTP, in words.
    package var lastError: String?

    enum CodingKeys: String, CodingKey {
        case server, address, transport, domain, state
        case roundTripMicroseconds = "rtt_us"
        case failures, queries, answers, timeouts, errors, edns
        case keepsCase = "keeps_case"
        case needsTCP = "needs_tcp"
        case connections
        case connectionsOpened = "connections_opened"
        case connectionQueries = "connection_queries"
        case connectionAgeMicroseconds = "connection_age_us"
        case handshakeMicroseconds = "handshake_us"
        case lastError = "last_error"
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
        edns = status.level.word
        keepsCase = status.keepsCase
        needsTCP = status.needsStream
        connections = status.connections.open
        connectionsOpened = status.connections.opened
        connectionQueries = status.connections.queries
        connectionAgeMicroseconds = connections == 0 ? nil : status.connections.age
        handshakeMicroseconds = status.connections.handshake == 0 ? nil : status.connections.handshake
        lastError = status.lastError.map { "\($0.text)" }
    }
}

/// Upstream's answer to a question asked for an explanation.
package struct AskedReply: Sendable, Hashable, Codable {
    /// `ADDR:PORT`; nil if no server answered.
    package var upstream: String?
    package var transport: String?
    package var roundTripMicroseconds: UInt32?
    /// `new` or `reused`; nil over UDP.
    package var connection: String?
    /// What the handshakes of a new connection took.
    package var handshakeMicroseconds: UInt32?
    package var responseCode: String?
    /// Why there is no answer.
    package var error: String?

    enum CodingKeys: String, CodingKey {
        case upstream, transport
        case roundTripMicroseconds = "upstream_us"
        case connection = "upstream_connection"
        case handshakeMicroseconds = "handshake_us"
        case responseCode = "rcode"
        case error
    }
}

extension UpstreamReport {
    /// What is remarkable about the server, in words: what it does not take, its connections, its last error.
    package var remarks: [String] {
        var remarks: [String] = []
        switch edns {
        case "no-options": remarks.append("takes no EDNS options")
        case "no-do": remarks.append("takes EDNS only without DO")
        case "none": remarks.append("takes no EDNS")
        default: break
        }
        if !keepsCase { remarks.append("changes the case of names") }
        if needsTCP { remarks.append("answers over TCP only") }
        if connectionsOpened > 0 {
            var text = "\(connectionQueries) queries over \(connectionsOpened) connections"
            if let age = connectionAgeMicroseconds { text += ", open for \(age / 1_000_000) s" }
            if let time = handshakeMicroseconds { text += ", the last ready after \(time / 1000) ms" }
            remarks.append(text)
        }
        if let lastError { remarks.append("last error: \(lastError)") }
        return remarks
    }
}
