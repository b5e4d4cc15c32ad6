public import DNSWire
import Resolution

/// What a part of the cache holds.
public struct CacheListing: Sendable, Hashable, Codable {
    /// By name, then by type.
    public var entries: [CacheEntry]
    /// There are more than were asked for.
    public var hasMore: Bool

    enum CodingKeys: String, CodingKey {
        case entries
        case hasMore = "has_more"
    }
}

/// How the cache does, since it was last emptied as a whole by a reload.
public struct CacheStatistics: Sendable, Hashable, Codable {
    public var entries: Int
    public var bytes: Int
    /// In bytes.
    public var capacity: Int
    public var hits: UInt64
    public var misses: UInt64
    public var evictions: UInt64
    /// Answers that had run out and were given where upstream was silent.
    public var stale: UInt64
    public var prefetches: UInt64
}

extension DaemonControl {
    private var cache: AnswerCache { daemon.store.current().data.chain.cache }

    /// Entries whose names hold `text`, or are below acme.org for `*.acme.org`.
    public func cacheEntries(matching text: String = "", limit: Int = 100) -> CacheListing {
        let found = cache.entries(
            matching: NameSearch(text), limit: max(0, limit), now: Moment.monotonicMicroseconds())
        let sorted = found.entries.sorted { ($0.name, $0.type.rawValue) < ($1.name, $1.type.rawValue) }
        return CacheListing(
            entries: sorted.map { CacheEntry($0, daemon.forwarding.numbers) }, hasMore: found.hasMore)
    }

    /// Forgets everything, or all types of `name`, and with `tree` of every name below it; returns how many entries.
    @discardableResult
    public func flushCache(_ name: Name? = nil, tree: Bool = false) -> Int {
        guard let name else { return cache.flush() }
        return cache.flush(name, tree: tree)
    }

    public var cacheStatistics: CacheStatistics {
        let cache = cache
        let now = cache.statistics
        return CacheStatistics(
            entries: now.entries, bytes: now.bytes, capacity: cache.settings.capacity, hits: now.hits,
            misses: now.misses, evictions: now.evictions, stale: now.stale, prefetches: now.prefetches)
    }

    /// How each upstream server does, in the order of the configuration.
    public func upstreams() -> [UpstreamReport] { daemon.forwarding.status.map(UpstreamReport.init) }
}
