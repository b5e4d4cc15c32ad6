import DNSWire
import Resolution

/// One answer that the cache holds.
public struct CacheEntry: Sendable, Hashable, Codable {
    public var name: String
    public var type: String
    /// It was asked for with DO=1, with CD=1.
    public var dnssecOK: Bool
    public var checkingDisabled: Bool
    public var responseCode: String
    /// Records in the answer section.
    public var answers: Int
    /// Seconds: as it came, since then, and until it is stale.
    public var ttl: UInt32
    public var age: UInt32
    public var remaining: UInt32
    public var isStale: Bool
    /// A lookup that comes now gets it without upstream being asked.
    public var isUsable: Bool
    /// It is fetched anew ahead of its end.
    public var isPrefetched: Bool
    public var hits: UInt32
    /// Of memory.
    public var bytes: Int
    /// `ADDR:PORT` of the server that it came from, where that is known.
    public var upstream: String?
    public var upstreamTransport: String?
    /// The round trip.
    public var upstreamMicroseconds: UInt32?

    enum CodingKeys: String, CodingKey {
        case name, type
        case dnssecOK = "do"
        case checkingDisabled = "cd"
        case responseCode = "rcode"
        case answers, ttl, age, remaining
        case isStale = "stale"
        case isUsable = "usable"
        case isPrefetched = "prefetched"
        case hits, bytes, upstream
        case upstreamTransport = "upstream_transport"
        case upstreamMicroseconds = "upstream_us"
    }

    init(_ entry: CachedAnswer, _ numbers: UpstreamNumbers) {
        name = "\(entry.name)"
        type = "\(entry.type)"
        dnssecOK = entry.dnssecOK
        checkingDisabled = entry.checkingDisabled
        responseCode = "\(entry.responseCode)"
        answers = entry.answers
        ttl = entry.ttl
        age = entry.age
        remaining = entry.remaining
        isStale = entry.isStale
        isUsable = entry.isUsable
        isPrefetched = entry.isPrefetched
        hits = entry.hits
        bytes = entry.bytes
        guard let server = numbers.server(entry.origin.upstream) else { return }
        upstream = "\(server)"
        upstreamTransport = entry.origin.overTCP ? "tcp" : "udp"
        upstreamMicroseconds = entry.origin.microseconds
    }
}
