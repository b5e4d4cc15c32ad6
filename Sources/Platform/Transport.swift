/// How a query came in.
package enum Transport: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
    case udp, tcp, dot, doh

    /// The word of the lookup log.
    package var description: String { "\(word)" }

    package var word: StaticString {
        switch self {
        case .udp: "udp"
        case .tcp: "tcp"
        case .dot: "dot"
        case .doh: "doh"
        }
    }
}
