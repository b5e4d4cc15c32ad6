import DNSWire
import Daemon
import History
import Lookup
import LookupLog

/// The service's metrics in the Prometheus text format, version 0.0.4.
enum Metrics {
    static func text(_ control: DaemonControl, _ history: KeptHistory?) -> String {
        var page = Page()
        let totals = control.totals.snapshot
        let statistics = control.statistics
        page.begin("stub53_build_info", "gauge", "The version that runs; always 1.")
        page.sample("stub53_build_info", [("version", statistics.version)], 1)
        page.begin("stub53_start_time_seconds", "gauge", "When the service was started, in seconds since 1970.")
        page.sample("stub53_start_time_seconds", [], control.startTime)

        page.begin("stub53_lookups_total", "counter", "Lookups, by who answered, type, response code and transport.")
        for count in totals.counts.sorted(by: { $0.lookups > $1.lookups }) {
            page.sample(
                "stub53_lookups_total",
                [
                    ("source", "\(count.source)"), ("type", count.type?.description ?? "other"),
                    ("rcode", count.responseCode?.description ?? "dropped"), ("transport", "\(count.transport)"),
                ], count.lookups)
        }
        page.begin("stub53_lookup_duration_seconds", "histogram", "How long answers took, by who answered.")
        for source in SourceKind.allCases {
            guard let durations = totals.durations[source] else { continue }
            page.histogram("stub53_lookup_duration_seconds", ("source", "\(source)"), durations)
        }
        page.begin(
            "stub53_upstream_round_trip_seconds", "histogram", "Round trips of the answers that came, by server.")
        for upstream in totals.upstreams {
            page.histogram("stub53_upstream_round_trip_seconds", ("server", upstream.server), upstream.roundTrips)
        }
        let servers = control.upstreams()
        for (name, help, value) in [
            ("queries", "Queries sent to upstream servers.", \.queries),
            ("answers", "Answers of theirs that were used.", \.answers),
            ("timeouts", "Queries that were not answered in time.", \.timeouts),
            ("errors", "Unusable answers, and errors of the network.", \.errors),
            ("connections_opened", "TCP and encrypted connections to upstream servers.", \.connectionsOpened),
            ("connection_queries", "Queries sent over connections.", \.connectionQueries),
        ] as [(String, String, KeyPath<UpstreamReport, UInt64>)] {
            page.begin("stub53_upstream_\(name)_total", "counter", help)
            for server in servers {
                page.sample(
                    "stub53_upstream_\(name)_total",
                    [("server", server.address), ("transport", server.transport), ("domain", server.domain)],
                    server[keyPath: value])
            }
        }
        page.begin(
            "stub53_upstream_up", "gauge", "1 where a server answers or has not been tried, 0 where it is silent.")
        for server in servers {
            page.sample(
                "stub53_upstream_up",
                [("server", server.address), ("transport", server.transport), ("domain", server.domain)],
                server.state == "down" ? 0 : 1)
        }
        page.begin(
            "stub53_upstream_private_answers_total", "counter",
            "Answers of theirs with a private address for a public name, cached ones included.")
        for (answer, count) in totals.privateAnswers.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            page.sample("stub53_upstream_private_answers_total", [("result", answer.word.map { "\($0)" } ?? "")], count)
        }
        page.begin("stub53_log_lost_total", "counter", "Lookups that are missing in a log, since it could not keep up.")
        page.sample("stub53_log_lost_total", [], statistics.lookupsLost)

        page.begin("stub53_cache_entries", "gauge", "Answers that are held.")
        page.sample("stub53_cache_entries", [], UInt64(statistics.cache.entries))
        page.begin("stub53_cache_bytes", "gauge", "Memory that they take.")
        page.sample("stub53_cache_bytes", [], UInt64(statistics.cache.bytes))
        page.begin("stub53_cache_capacity_bytes", "gauge", "Memory that they may take.")
        page.sample("stub53_cache_capacity_bytes", [], UInt64(statistics.cache.capacity))
        for (name, help, value) in [
            ("hits", "Lookups that the cache answered.", statistics.cache.hits),
            ("misses", "Lookups that it could not answer.", statistics.cache.misses),
            ("stale_answers", "Answers that had run out and were given all the same.", statistics.cache.stale),
            ("evictions", "Answers that made room for others.", statistics.cache.evictions),
            ("prefetches", "Answers that were renewed before they expired.", statistics.cache.prefetches),
        ] {
            page.begin("stub53_cache_\(name)_total", "counter", help)
            page.sample("stub53_cache_\(name)_total", [], value)
        }
        page.begin("stub53_override_names", "gauge", "Names with an override.")
        page.sample("stub53_override_names", [], UInt64(statistics.overrideNames))
        page.begin("stub53_zones", "gauge", "Zones that are served.")
        page.sample("stub53_zones", [], UInt64(statistics.zones))
        if let history {
            let numbers = history.writer.statistics
            page.begin("stub53_history_written_total", "counter", "Lookups that went into the history.")
            page.sample("stub53_history_written_total", [], UInt64(numbers.written))
            page.begin("stub53_history_lost_total", "counter", "Lookups that did not, by reason.")
            for reason in HistoryLoss.Reason.allCases {
                page.sample(
                    "stub53_history_lost_total", [("reason", reason.rawValue)], UInt64(numbers.lost[reason] ?? 0))
            }
            page.begin("stub53_history_bytes", "gauge", "Size of the history's files.")
            page.sample("stub53_history_bytes", [], UInt64(history.store.fileSize))
        }
        appendDnstap(control.dnstap, to: &page)
        let reloads = control.reloadCounts
        page.begin("stub53_reloads_total", "counter", "Reloads, those apart in which something could not be loaded.")
        page.sample("stub53_reloads_total", [("result", "ok")], reloads.done - reloads.failed)
        page.sample("stub53_reloads_total", [("result", "failed")], reloads.failed)
        return page.text
    }

    private static func appendDnstap(_ destinations: [DnstapWriter.Statistics], to page: inout Page) {
        guard !destinations.isEmpty else { return }
        for (name, type, help, value) in [
            ("frames_total", "counter", "dnstap frames that a destination got.", { $0.frames }),
            ("lost_total", "counter", "dnstap frames that it did not and will not get.", { $0.lost }),
            ("up", "gauge", "1 where the last frame could be written, 0 where it could not.", { $0.isWorking ? 1 : 0 }),
        ] as [(String, String, String, (DnstapWriter.Statistics) -> UInt64)] {
            page.begin("stub53_dnstap_\(name)", type, help)
            for one in destinations {
                page.sample("stub53_dnstap_\(name)", [("destination", "\(one.destination)")], value(one))
            }
        }
    }

    /// Lines of the format. Label values come from the network, so backslash, quote and newline are escaped.
    private struct Page {
        var text = ""

        mutating func begin(_ name: String, _ type: String, _ help: String) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }

        mutating func sample(_ name: String, _ labels: [(String, String)], _ value: UInt64) {
            sample(name, labels, "\(value)")
        }

        mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
            text += name
            if !labels.isEmpty {
                text += "{" + labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",") + "}"
            }
            text += " \(value)\n"
        }

        mutating func histogram(_ name: String, _ label: (String, String), _ durations: LookupTotals.Durations) {
            var sum: UInt64 = 0
            for (index, bucket) in durations.buckets.enumerated() {
                sum += bucket
                let bounds = LookupTotals.Durations.bounds
                let bound = index < bounds.count ? Self.seconds(UInt64(bounds[index])) : "+Inf"
                sample(name + "_bucket", [label, ("le", bound)], sum)
            }
            sample(name + "_sum", [label], Self.seconds(durations.sum))
            sample(name + "_count", [label], durations.count)
        }

        /// `0.00025`.
        private static func seconds(_ microseconds: UInt64) -> String {
            let fraction = String(microseconds % 1_000_000 + 1_000_000).dropFirst()
            var text = "\(microseconds / 1_000_000).\(fraction)"
            while text.hasSuffix("0") { text.removeLast() }
            if text.hasSuffix(".") { text.removeLast() }
            return text
        }

        private static func escaped(_ value: String) -> String {
            var text = ""
            for character in value.unicodeScalars {
                switch character {
                case "\\": text += "\\\\"
                case "\"": text += "\\\""
                case "\n": text += "\\n"
                default: text.unicodeScalars.append(character)
                }
            }
            return text
        }
    }
}
