import ArgumentParser
import Daemon

/// `stub53 stats`: shows a running daemon's counters.
struct StatsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Show a running daemon in numbers: lookups, latency, cache, reloads.",
        discussion: """
            Examples:
              stub53 stats
              stub53 stats --json
              stub53 stats --metrics
            """)

    @OptionGroup var control: ControlOptions

    @Flag(help: "As JSON.")
    var json = false

    @Flag(help: "As Prometheus reads it.")
    var metrics = false

    mutating func run() async throws {
        let client = try control.client()
        if json || metrics {
            try await client.send(.get, metrics ? "/metrics" : "/v1/stats") { Terminal.write($0) }
            return
        }
        let statistics = try await client.ask(.get, "/v1/stats", as: DaemonStatistics.self)
        print(Self.text(statistics, try await client.ask(.get, "/v1/upstreams", as: [UpstreamReport].self)))
    }

    static func text(_ statistics: DaemonStatistics, _ upstreams: [UpstreamReport] = []) -> String {
        var lines: [String] = []
        func line(_ name: String, _ text: String) { lines.append(Terminal.padded(name, 11) + text) }
        line("stub53", "\(statistics.version), process \(statistics.process), up \(duration(statistics.uptime))")
        for (index, address) in statistics.addresses.enumerated() {
            line(index == 0 ? "serves" : "", address.summary)
        }
        line(
            "data",
            "\(Terminal.count(statistics.overrideNames, "override name")), \(Terminal.count(statistics.zones, "zone"))")
        let lost = statistics.lookupsLost > 0 ? ", \(statistics.lookupsLost) not logged" : ""
        line("lookups", "\(statistics.lookups)\(lost)")
        line("sources", shares(statistics.bySource))
        line("rcodes", shares(statistics.byRcode))
        line("types", shares(statistics.byType))
        for (index, source) in statistics.latency.sorted(by: { $0.value.count > $1.value.count }).enumerated() {
            let latency = source.value
            let text = [("p50", latency.p50Us), ("p90", latency.p90Us), ("p99", latency.p99Us)]
                .map { "\($0) \(bound($1))" }.joined(separator: "  ")
            line(index == 0 ? "latency" : "", Terminal.padded(source.key, 10) + text)
        }
        let cache = statistics.cache
        let asked = cache.hits + cache.misses
        let rate = asked > 0 ? ", \(cache.hits * 100 / asked) % of \(asked) asked were there" : ""
        line("cache", "\(cache.entries) answers, \(size(cache.bytes)) of \(size(cache.capacity))\(rate)")
        for (index, server) in upstreams.enumerated() {
            let time = server.roundTripMicroseconds.map { ", \(decimal(Double($0 / 100) / 10)) ms" } ?? ""
            let counts = ", \(server.answers) of \(server.queries) answered"
            let text = "\(server.server) \(server.state)\(time)\(counts)"
            line(index == 0 ? "upstream" : "", ([text] + server.remarks).joined(separator: "; "))
        }
        let last = statistics.reloads.last.map { ": \($0.reason): \($0.changes)" } ?? ""
        let failed = statistics.reloads.failed > 0 ? ", \(statistics.reloads.failed) with problems" : ""
        line("reloads", "\(statistics.reloads.done)\(failed)\(last)")
        return lines.joined(separator: "\n")
    }

    private static func shares(_ counts: [String: UInt64]) -> String {
        if counts.isEmpty { return "-" }
        return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(8).map { "\($0.key) \($0.value)" }
            .joined(separator: "  ")
    }

    private static func bound(_ microseconds: UInt32) -> String {
        if microseconds == .max { return "> 5 s" }
        if microseconds < 1000 { return "<= \(microseconds) us" }
        if microseconds < 1_000_000 { return "<= \(decimal(Double(microseconds) / 1000)) ms" }
        return "<= \(decimal(Double(microseconds) / 1_000_000)) s"
    }

    private static func decimal(_ value: Double) -> String {
        value == value.rounded() ? "\(Int(value))" : "\((value * 10).rounded() / 10)"
    }

    static func size(_ bytes: Int) -> String {
        if bytes < 10 << 10 { return "\(bytes) bytes" }
        if bytes < 10 << 20 { return "\(bytes >> 10) KiB" }
        return "\(bytes >> 20) MiB"
    }

    static func duration(_ seconds: UInt64) -> String {
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7200 { return "\(seconds / 60) min" }
        if seconds < 172_800 { return "\(seconds / 3600) h \(seconds / 60 % 60) min" }
        return "\(seconds / 86_400) d \(seconds / 3600 % 24) h"
    }
}
