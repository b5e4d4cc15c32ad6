import DNSWire
public import LookupLog
import Resolution
import Synchronization

/// The service in numbers.
public struct DaemonStatistics: Codable, Sendable {
    public struct Address: Codable, Sendable {
        public var address: String
        /// `udp tcp`, `dot` or `doh`.
        public var transports: String
        public var url: String?
    }

    public struct Latency: Codable, Sendable {
        public var count: UInt64
        /// Microseconds: the bounds that half, 90 and 99 of a hundred lookups did not pass.
        public var p50Us: UInt32
        public var p90Us: UInt32
        public var p99Us: UInt32

        enum CodingKeys: String, CodingKey {
            case count
            case p50Us = "p50_us"
            case p90Us = "p90_us"
            case p99Us = "p99_us"
        }
    }

    public struct Reloads: Codable, Sendable {
        public var done: UInt64
        public var failed: UInt64
        public var last: ReloadOutcome?
    }

    public var version: String
    /// Seconds.
    public var uptime: UInt64
    public var process: Int32
    public var addresses: [Address]
    public var overrideNames: Int
    public var zones: Int
    public var lookups: UInt64
    /// Not logged, since nobody could keep up.
    public var lookupsLost: UInt64
    public var bySource: [String: UInt64]
    public var byRcode: [String: UInt64]
    public var byType: [String: UInt64]
    public var byTransport: [String: UInt64]
    public var latency: [String: Latency]
    public var cache: CacheStatistics
    public var reloads: Reloads

    enum CodingKeys: String, CodingKey {
        case version, uptime, process, addresses, zones, lookups, latency, cache, reloads
        case overrideNames = "override_names"
        case lookupsLost = "lookups_lost"
        case bySource = "by_source"
        case byRcode = "by_rcode"
        case byType = "by_type"
        case byTransport = "by_transport"
    }
}

extension DaemonControl {
    public var statistics: DaemonStatistics {
        let sources = daemon.state.withLock { $0.sources }
        let totals = daemon.totals.snapshot
        let counts = daemon.reloads.counts
        var statistics = DaemonStatistics(
            version: Release.version, uptime: (Moment.monotonicMicroseconds() - daemon.started.monotonic) / 1_000_000,
            process: processID,
            addresses: addresses,
            overrideNames: sources.hosts.nameCount, zones: sources.zones.zones.count, lookups: totals.lookups,
            lookupsLost: lookupsLost, bySource: [:], byRcode: [:], byType: [:], byTransport: [:],
            latency: [:], cache: cacheStatistics,
            reloads: .init(done: counts.done, failed: counts.failed, last: counts.last))
        for count in totals.counts {
            statistics.bySource["\(count.source)", default: 0] += count.lookups
            statistics.byRcode[count.responseCode?.description ?? "dropped", default: 0] += count.lookups
            statistics.byType[count.type?.description ?? "other", default: 0] += count.lookups
            statistics.byTransport["\(count.transport)", default: 0] += count.lookups
        }
        for (source, durations) in totals.durations {
            statistics.latency["\(source)"] = DaemonStatistics.Latency(
                count: durations.count, p50Us: durations.quantile(0.5), p90Us: durations.quantile(0.9),
                p99Us: durations.quantile(0.99))
        }
        return statistics
    }

    private var processID: Int32 { ProcessID.own }

    /// Where the service is reached.
    public var addresses: [DaemonStatistics.Address] {
        daemon.addresses.map { .init(address: "\($0.address)", transports: $0.transports, url: $0.url) }
    }

    /// Lookups that are missing in a log.
    public var lookupsLost: UInt64 { daemon.log?.lost ?? 0 }

    /// What has been counted of the lookups.
    public var totals: LookupTotals { daemon.totals }

    /// Counters of reloads: done, and those of them in which something could not be loaded.
    public var reloadCounts: (done: UInt64, failed: UInt64) {
        let counts = daemon.reloads.counts
        return (counts.done, counts.failed)
    }

    /// Waits until what was answered before this call is in totals and history's hands, too.
    public func catchUp() async { await daemon.log?.catchUp() }

    /// Lookups that the log has handed on so far: the number of the last one.
    public var logged: UInt64 { daemon.log?.count ?? 0 }

    /// Seconds since 1970.
    public var startTime: UInt64 { daemon.started.wall / 1_000_000 }

    /// Reads all files again, and tells what came of it.
    public func reload() async -> ReloadOutcome {
        await daemon.reloads.next { daemon.watcher.request() }
    }
}
