import Daemon
import Lookup
import LookupLog

/// The service's health: rates, durations, codes, losses.
enum HealthPage {
    static func body(
        _ statistics: DaemonStatistics, _ seconds: [LookupTotals.Second], now: UInt64, history: [(String, String)]
    ) -> HTML {
        let columns = Chart.columns(seconds, now: now, span: 900, each: 10)
        let legend = SourceKind.allCases.map { source -> HTML in
            "<span class=\"pill \(source.description)\">\(source.description) \(statistics.bySource[source.description] ?? 0)</span>"
        }
        let curves = Chart.shares.map { "<span class=\"pill \($0.color.description)\">\($0.words)</span>" as HTML }
        return """
            <h1>Health</h1>
            <div class="charts"><section><h2>Lookups per second</h2>\(Chart.rate(columns, each: 10))\
            <p class="legend">\(legend)</p></section>
            <section><h2>Durations</h2>\(Chart.latency(columns))<p class="legend">\(curves)</p></section></div>
            <div class="charts"><section><h2>Since the start</h2>\(facts(statistics))</section>
            <section><h2>Response codes</h2>\(counts(statistics.byRcode))<h2>Types</h2>\(counts(statistics.byType))\
            <h2>Transports</h2>\(counts(statistics.byTransport))</section></div>
            <h2>History</h2><dl class="facts">\(history.map { "<dt>\($0.0)</dt><dd>\($0.1)</dd>" as HTML })</dl>
            """
    }

    private static func facts(_ statistics: DaemonStatistics) -> HTML {
        let cache = statistics.cache
        let reload = statistics.reloads.last
        let problems: [HTML] = (reload?.problems ?? []).prefix(20).map { "<div class=\"bad mono\">\($0)</div>" }
        let lost: HTML =
            statistics.lookupsLost > 0 ? "<dt>Not logged</dt><dd class=\"bad\">\(statistics.lookupsLost)</dd>" : ""
        return """
            <dl class="facts"><dt>Version</dt><dd>\(statistics.version), process \(statistics.process)</dd>\
            <dt>Up</dt><dd>\(Format.age(statistics.uptime))</dd>\
            <dt>Serves</dt><dd>\(statistics.addresses.map(\.summary).joined(separator: ", "))</dd>\
            <dt>Lookups</dt><dd>\(statistics.lookups)</dd>\(lost)\
            <dt>Cache</dt><dd>\(cache.entries) answers, \(Format.size(cache.bytes)) of \(Format.size(cache.capacity)); \
            \(cache.hits) hits, \(cache.misses) misses, \(cache.stale) stale</dd>\
            <dt>Reloads</dt><dd>\(statistics.reloads.done), \(statistics.reloads.failed) with problems\
            \(reload.map { "; \($0.reason): \($0.changes)" } ?? "")\(problems)</dd></dl>
            """
    }

    private static func counts(_ counts: [String: UInt64]) -> HTML {
        let all = max(counts.values.reduce(0, +), 1)
        let rows = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { name, count -> HTML in
            """
            <tr><td>\(name)</td><td class="number">\(count)</td><td><svg width="200" height="8" aria-hidden="true">\
            <rect class="bar" width="\(max(1, count * 200 / all))" height="8"/></svg></td></tr>
            """
        }
        return rows.isEmpty ? "<p class=\"muted\">none yet</p>" : "<table><tbody>\(rows)</tbody></table>"
    }
}
