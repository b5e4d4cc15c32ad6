import Foundation

/// The results as table, details and JSON.
struct Report {
    let works: [Work]
    let results: Results
    let settings: Settings

    private static let columns: [Peer] = [
        .echo, .stub53, .stub53Two, .unbound, .nsd, .knot, .dnsdist, .recursor, .dnsmasq,
    ]

    /// Three significant digits.
    static func number(_ value: Double) -> String {
        if !value.isFinite { return "-" }
        if value == value.rounded(), abs(value) < 1000 { return String(Int(value)) }
        return String(format: abs(value) >= 100 ? "%.0f" : abs(value) >= 10 ? "%.1f" : "%.2f", value)
    }

    // MARK: Tables

    /// A row for each task and figure: what each server needs, and whether the bar holds.
    var table: String {
        let peers = Self.columns.filter { peer in works.contains { $0.servers.contains(peer) } }
        var rows = [["work", "figure"] + peers.map(\.rawValue) + ["x echo", "bar", "holds"]]
        for work in works where results.has(work) {
            for line in work.lines {
                var row = [
                    work.title, "\(line.metric.title)\(line.metric.unit.isEmpty ? "" : ", \(line.metric.unit)")",
                ]
                for peer in peers { row.append(cell(results.statistic(work, peer, line.metric))) }
                row.append(results.echoes(work, line.metric).map { String(format: "%.2f", $0) } ?? "")
                row.append(line.bar?.text ?? "")
                row.append(line.bar.map { results.holds($0, work, line.metric).map { $0 ? "yes" : "NO" } ?? "?" } ?? "")
                rows.append(row)
            }
        }
        return Self.aligned(rows)
    }

    /// All other metrics.
    var details: String {
        let metrics = Metric.allCases.filter { metric in
            works.contains { work in work.servers.contains { results.statistic(work, $0, metric) != nil } }
        }
        var rows = [["work", "server"] + metrics.map { $0.unit.isEmpty ? "\($0)" : "\($0), \($0.unit)" }]
        for work in works {
            for peer in work.servers where metrics.contains(where: { results.statistic(work, peer, $0) != nil }) {
                rows.append([work.id, peer.rawValue] + metrics.map { cell(results.statistic(work, peer, $0)) })
            }
        }
        return Self.aligned(rows)
    }

    private func cell(_ statistic: Statistic?) -> String {
        guard let statistic else { return "" }
        let median = Self.number(statistic.median)
        return statistic.samples.count > 1 ? "\(median) ±\(Self.number(statistic.spread))" : median
    }

    /// An aligned table in Markdown.
    private static func aligned(_ rows: [[String]]) -> String {
        guard let head = rows.first else { return "" }
        let widths = head.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        func line(_ row: [String]) -> String {
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return "| " + cells.joined(separator: " | ") + " |\n"
        }
        return line(head) + line(widths.map { String(repeating: "-", count: $0) }) + rows.dropFirst().map(line).joined()
    }

    // MARK: JSON

    private struct Document: Encodable {
        struct Row: Encodable {
            struct Figure: Encodable {
                var median: Double
                var spread: Double
                var samples: [Double]
            }
            struct Verdict: Encodable {
                var metric: String
                var bar: String
                var holds: Bool?
            }
            var id: String
            var title: String
            /// By server and metric.
            var servers: [String: [String: Figure]]
            var cpuPerEcho: Double?
            var bars: [Verdict]
        }
        var date: String
        var kernel: String
        var processor: String
        var rounds: Int
        var seconds: Int
        var units: [String: String]
        var rows: [Row]
    }

    func json() throws -> Data {
        let rows = works.filter { results.has($0) }.map { work in
            var servers: [String: [String: Document.Row.Figure]] = [:]
            for peer in work.servers {
                for metric in Metric.allCases {
                    guard let statistic = results.statistic(work, peer, metric), statistic.median.isFinite else {
                        continue
                    }
                    servers[peer.rawValue, default: [:]][metric.rawValue] = Document.Row.Figure(
                        median: statistic.median, spread: statistic.spread, samples: statistic.samples)
                }
            }
            return Document.Row(
                id: work.id, title: work.title, servers: servers, cpuPerEcho: results.echoes(work, .cpu),
                bars: work.lines.compactMap { line in
                    line.bar.map {
                        .init(metric: line.metric.rawValue, bar: $0.text, holds: results.holds($0, work, line.metric))
                    }
                })
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try encoder.encode(
            Document(
                date: ISO8601DateFormatter().string(from: Date()), kernel: Machine.kernel, processor: Machine.processor,
                rounds: settings.rounds, seconds: settings.seconds,
                units: Dictionary(uniqueKeysWithValues: Metric.allCases.map { ($0.rawValue, $0.unit) }), rows: rows))
    }
}

/// The properties of the machine that figures depend on.
enum Machine {
    static var processor: String {
        let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
        return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
    }

    static var kernel: String {
        ((try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)) ?? "unknown")
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
