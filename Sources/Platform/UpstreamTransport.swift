/// The transport to an upstream server, and of its answer.
public enum UpstreamTransport: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
    /// For a server: UDP, with TCP for truncated answers (RFC 7766 5). Histories store the raw values.
    case udp = 0
    case tcp = 1
    /// DNS over TLS (RFC 7858).
    case dot = 2
    /// DNS over HTTPS, in HTTP/2 (RFC 8484).
    case doh = 3
    /// A cassette, in place of a server.
    case replay = 4

    /// Its word in logs and reports.
    public var description: String { "\(word)" }

    public var word: StaticString {
        switch self {
        case .udp: "udp"
        case .tcp: "tcp"
        case .dot: "dot"
        case .doh: "doh"
        case .replay: "replay"
        }
    }

    /// The scheme before a server's address; empty for the default transport, and where there is no server.
    public var scheme: StaticString {
        switch self {
        case .udp, .replay: ""
        case .tcp: "tcp://"
        case .dot: "tls://"
        case .doh: "https://"
        }
    }

    /// Not encrypted.
    public var isPlain: Bool { self == .udp || self == .tcp }
}
