import DNSWire
import Glibc
import LocalData
package import LookupLog
import Platform
import Synchronization

/// The service's counters.
package struct DaemonStatistics: Codable, Sendable {
    package struct Address: Codable, Sendable {
        package var address: String
        /// `udp tcp`, `dot` or `doh`.
        package var transports: String
        package var url: String?
        /// It is served once this machine has the address.
        package var waits = false

        /// For people.
        package var summary: String { "\(address) \(transports)\(waits ? RunningDaemon.waitNote : "")" }
    }

    package struct Latency: Codable, Sendable {
        package var count: UInt64
        /// Upper bounds of latency for 50, 90 and 99 percent of lookups, in microseconds.
        package var p50Us: UInt32
        package var p90Us: UInt32
        package var p99Us: UInt32

        enum CodingKeys: String, CodingKey {
            case count
            case p50Us = "p50_us"
            case p90Us = "p90_us"
            case p99Us = "p99_us"
        }
    }

    package struct Reloads: Codable, Sendable {
        package var done: UInt64
        package var failed: UInt64
        package var last: ReloadOutcome?
    }

    package var version: String
    /// Seconds.
    package var uptime: UInt64
    package var process: Int32
    package var addresses: [Address]
    package var overrideNames: Int
    package var zones: Int
    package var lookups: UInt64
    /// Not logged, because the log could not keep up.
    package var lookupsLost: UInt64
    package var bySource: [String: UInt64]
    package var byRcode: [String: UInt64]
    package var byType: [String: UInt64]
    package var byTransport: [String: UInt64]
    package var latency: [String: Latency]
    package var cache: CacheStatistics
    package var reloads: Reloads

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
    package var statistics: DaemonStatistics {
        let sources = daemon.state.withLock { $0.sources }
        let totals = daemon.totals.snapshot
        let counts = daemon.reloading.record.counts
        var statistics = DaemonStatistics(
            version: Release.version, uptime: (SystemClock.monotonic() - daemon.started.monotonic) / 1_000_000,
            process: getpid(),
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

    /// The addresses that are served.
    package var addresses: [DaemonStatistics.Address] {
        daemon.addresses.map {
            .init(address: "\($0.address)", transports: $0.transports, url: $0.url, waits: !$0.isThere)
        }
    }

    /// Lookups missing from the log.
    package var lookupsLost: UInt64 { daemon.log?.lost ?? 0 }

    /// Totals of lookups.
    package var totals: LookupTotals { daemon.totals }

    /// Counters of reloads: all, and those that could not load something.
    package var reloadCounts: (done: UInt64, failed: UInt64) {
        let counts = daemon.reloading.record.counts
        return (counts.done, counts.failed)
    }

    /// Waits until all lookups answered before this call are counted in `totals` and passed to the history.
    package func catchUp() async { await daemon.log?.catchUp() }

    /// Lookups that the log has passed on so far: the number of the last one.
    package var logged: UInt64 { daemon.log?.count ?? 0 }

    /// Seconds since 1970.
    package var startTime: UInt64 { daemon.started.wall / 1_000_000 }

    /// Reads all files again and returns the outcome.
    package func reload() async -> ReloadOutcome {
        await daemon.reloading.record.next { daemon.reloading.watcher.request() }
    }
}
