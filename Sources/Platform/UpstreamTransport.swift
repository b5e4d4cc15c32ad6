/// How an upstream server is spoken to, and how an answer came from there.
public enum UpstreamTransport: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
    /// Of a server: UDP, and TCP for what does not fit (RFC 7766 5). The raw values stand in histories.
    case udp = 0
    case tcp = 1

    /// The word of logs and reports.
    public var description: String { "\(word)" }

    public var word: StaticString {
        switch self {
        case .udp: "udp"
        case .tcp: "tcp"
        }
    }

    /// What stands in front of a server's address; nothing where it is spoken to as usual.
    public var scheme: StaticString {
        switch self {
        case .udp: ""
        case .tcp: "tcp://"
        }
    }
}
