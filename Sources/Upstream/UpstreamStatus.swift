/// The health of one upstream server, for display.
public struct UpstreamStatus: Sendable, Hashable {
    public enum State: String, Sendable, Hashable {
        /// No sign of life yet.
        case untried
        case up
        /// Not asked while another is up; probed now and then.
        case down
    }

    public let server: UpstreamServer
    public let state: State
    /// Smoothed round trip in microseconds; 0 before the first answer.
    public let smoothedRTT: UInt64
    /// Unanswered queries since the last sign of life.
    public let failures: Int
    /// Since start.
    public let queries: UInt64
    public let answers: UInt64
    public let timeouts: UInt64
    /// Unusable answers, including SERVFAIL and REFUSED, and network errors.
    public let errors: UInt64
    /// What it was last asked with: less than `full` if it does not answer that.
    public let level: EDNSLevel
    /// It keeps the case of a question's letters, as far as is known.
    public let keepsCase: Bool
    /// It has stopped answering over UDP: questions go over TCP.
    public let needsStream: Bool
    /// Connections, over TCP or encrypted.
    public let connections: UpstreamConnectionStatus
    /// The last error, in words.
    public let lastError: UpstreamFault?
}

/// The connections to one server, for display. Times in microseconds.
public struct UpstreamConnectionStatus: Sendable, Hashable {
    /// Open now.
    public var open = 0
    /// How long the oldest of them has been open.
    public var age: UInt64 = 0
    /// Connections opened, and queries sent over them, since start.
    public var opened: UInt64 = 0
    public var queries: UInt64 = 0
    /// How long the last one took to be ready: the connection itself, and the TLS handshake.
    public var handshake: UInt64 = 0
}
