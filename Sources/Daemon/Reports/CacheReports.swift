package import DNSWire
import LocalData
import Pipeline
import Platform
import Transports
import Upstream

/// A selection of cache entries.
package struct CacheListing: Sendable, Hashable, Codable {
    /// By name, then by type.
    package var entries: [CacheEntry]
    /// There are more than the limit.
    package var hasMore: Bool

    enum CodingKeys: String, CodingKey {
        case entries
        case hasMore = "has_more"
    }
}

/// The cache's statistics, since a reload last emptied it.
package struct CacheStatistics: Sendable, Hashable, Codable {
    package var entries: Int
    package var bytes: Int
    /// In bytes.
    package var capacity: Int
    package var hits: UInt64
    package var misses: UInt64
    package var evictions: UInt64
    /// Expired answers used because upstream was silent.
    package var stale: UInt64
    package var prefetches: UInt64
}

extension DaemonControl {
    private var cache: AnswerCache { daemon.store.current().data.pipeline.cache }

    /// The common one, and those of views with servers of their own.
    private var caches: [AnswerCache] {
        let data = daemon.store.current().data
        return [data.pipeline.cache]
            + data.views.filter { $0.data.partition > 0 }.map(\.data.pipeline.cache)
    }

    /// Entries whose names contain `text`; for `*.acme.org`, those below acme.org.
    package func cacheEntries(matching text: String = "", limit: Int = 100) -> CacheListing {
        let found = cache.entries(
            limit: max(0, limit), now: SystemClock.monotonic(), where: NameSearch(text).matches)
        let sorted = found.entries.sorted { ($0.name, $0.type.rawValue) < ($1.name, $1.type.rawValue) }
        return CacheListing(
            entries: sorted.map { CacheEntry($0, daemon.forwarding.numbers) }, hasMore: found.hasMore)
    }

    /// Removes everything, or all types of `name`; with `tree`, of every name below it too, as for `*.NAME`.
    ///
    /// Returns the number of entries.
    @discardableResult
    package func flushCache(_ name: Name? = nil, tree: Bool = false) -> Int {
        caches.reduce(0) { count, cache in
            guard let name else { return count + cache.flush() }
            if name.isWildcard, let parent = name.parent { return count + cache.flush(parent, tree: true) }
            return count + cache.flush(name, tree: tree)
        }
    }

    package var cacheStatistics: CacheStatistics {
        let cache = cache
        let now = cache.statistics
        return CacheStatistics(
            entries: now.entries, bytes: now.bytes, capacity: cache.settings.capacity, hits: now.hits,
            misses: now.misses, evictions: now.evictions, stale: now.stale, prefetches: now.prefetches)
    }

    /// Each upstream server's state, in the order of the configuration.
    package func upstreams() -> [UpstreamReport] { daemon.forwarding.status.map(UpstreamReport.init) }
}
