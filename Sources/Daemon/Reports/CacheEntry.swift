import DNSWire
import Lookup
import Transports
import Upstream

/// One cached answer.
package struct CacheEntry: Sendable, Hashable, Codable {
    package var name: String
    package var type: String
    /// Whether it was asked with DO=1, and with CD=1.
    package var dnssecOK: Bool
    package var checkingDisabled: Bool
    package var responseCode: String
    /// Records in the answer section.
    package var answers: Int
    /// Seconds: the original TTL, the age, and the time until it is stale.
    package var ttl: UInt32
    package var age: UInt32
    package var remaining: UInt32
    package var isStale: Bool
    /// A lookup now would get it without asking upstream.
    package var isUsable: Bool
    /// It is refreshed before its expiry.
    package var isPrefetched: Bool
    package var hits: UInt32
    /// Bytes of memory.
    package var bytes: Int
    /// `ADDR:PORT` of the server that sent it, if known.
    package var upstream: String?
    package var upstreamTransport: String?
    /// The round trip.
    package var upstreamMicroseconds: UInt32?

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
        upstreamTransport = "\(entry.origin.transport)"
        upstreamMicroseconds = entry.origin.microseconds
    }
}
