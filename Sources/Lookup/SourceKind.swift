/// Who answered.
public enum SourceKind: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
    /// Nobody: an error or a refusal.
    case none, hosts, zone, special, cache, stale, upstream

    /// The word of the lookup log.
    public var description: String {
        switch self {
        case .none: "none"
        case .hosts: "hosts"
        case .zone: "zone"
        case .special: "special"
        case .cache: "cache"
        case .stale: "stale"
        case .upstream: "upstream"
        }
    }
}
