/// The transport of a client's query.
public enum Transport: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
    case udp, tcp, dot, doh

    /// Its word in the lookup log.
    public var description: String { "\(word)" }

    public var word: StaticString {
        switch self {
        case .udp: "udp"
        case .tcp: "tcp"
        case .dot: "dot"
        case .doh: "doh"
        }
    }
}
