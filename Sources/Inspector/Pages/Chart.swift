import Glibc
import Lookup
import LookupLog

/// Plots as SVG, drawn by the server: bars stacked by source, and curves.
enum Chart {
    private static let width = 720
    private static let height = 150
    private static let left = 46
    private static let bottom = 20

    /// The values of some seconds, merged into one column.
    struct Column {
        /// Seconds since 1970.
        var time: UInt64
        var bySource = BySource<UInt64>(repeating: 0)
        var failures: UInt64 = 0
        var absent: UInt64 = 0
        var durations = [UInt64](repeating: 0, count: LookupTotals.Durations.bucketCount)

        /// The upper bound of this share of the lookups, in microseconds.
        func quantile(_ share: Double) -> UInt64 {
            let all = durations.reduce(0, +)
            var seen: UInt64 = 0
            for (index, count) in durations.enumerated() {
                seen += count
                if all > 0, Double(seen) >= Double(all) * share {
                    return UInt64(LookupTotals.Durations.bounds[min(index, LookupTotals.Durations.bounds.count - 1)])
                }
            }
            return 0
        }
    }

    static func columns(_ seconds: [LookupTotals.Second], now: UInt64, span: Int, each: Int) -> [Column] {
        // An unset clock starts at 1970.
        let first = now - min(now, UInt64(span))
        var columns = (0..<(span / each)).map { Column(time: first + UInt64($0 * each) + 1) }
        for second in seconds where second.time > first && second.time <= now {
            let index = Int(second.time - first - 1) / each
            guard columns.indices.contains(index) else { continue }
            for source in SourceKind.allCases { columns[index].bySource[source] += UInt64(second.bySource[source]) }
            columns[index].failures += UInt64(second.failures)
            columns[index].absent += UInt64(second.absent)
            for (bucket, count) in second.durations.enumerated() { columns[index].durations[bucket] += UInt64(count) }
        }
        return columns
    }

    /// Lookups per second, stacked by source.
    static func rate(_ columns: [Column], each: Int) -> HTML {
        let most = max(columns.map(\.bySource.sum).max() ?? 0, UInt64(each))
        let plot = Double(height - bottom - 8)
        let step = Double(width - left) / Double(max(columns.count, 1))
        var bars: [HTML] = []
        for (index, column) in columns.enumerated() {
            var base = Double(height - bottom)
            for source in SourceKind.allCases {
                let count = column.bySource[source]
                guard count > 0 else { continue }
                let tall = max(Double(count) / Double(most) * plot, 0.5)
                base -= tall
                bars.append(
                    "<rect class=\"area \(source.description)\" x=\"\(rounded(Double(left) + Double(index) * step))\" y=\"\(rounded(base))\" width=\"\(rounded(max(step - 0.5, 0.5)))\" height=\"\(rounded(tall))\"/>"
                )
            }
        }
        return frame(
            "Lookups per second",
            top:
                "\(Double(most) / Double(each) >= 10 ? "\(most / UInt64(each))" : rounded(Double(most) / Double(each)))/s",
            columns, bars)
    }

    /// The quantiles that have a curve, each in the colour of a source.
    static let shares: [(share: Double, words: String, color: SourceKind)] = [
        (0.5, "half are below", .hosts), (0.9, "90 %", .upstream), (0.99, "99 %", .none),
    ]

    /// Curves on a logarithmic scale from 10 us to 5 s.
    static func latency(_ columns: [Column]) -> HTML {
        let drawn = shares.map { curve in line(columns, curve.color) { $0.quantile(curve.share) } }
        return frame("Durations", top: "5 s", columns, drawn)
    }

    private static func line(_ columns: [Column], _ color: SourceKind, _ value: (Column) -> UInt64) -> HTML {
        let step = Double(width - left) / Double(max(columns.count, 1))
        let plot = Double(height - bottom - 8)
        var path = ""
        var isDown = false
        for (index, column) in columns.enumerated() {
            let value = value(column)
            guard value > 0 else {
                isDown = false
                continue
            }
            let share = min(max((log10(Double(value)) - 1) / 5.7, 0), 1)
            let x = rounded(Double(left) + (Double(index) + 0.5) * step)
            let y = rounded(Double(height - bottom) - share * plot)
            // A single value becomes a dash as wide as its column.
            path += isDown ? "L\(x) \(y)" : "M\(rounded(Double(left) + Double(index) * step)) \(y)L\(x) \(y)"
            isDown = true
        }
        return "<path class=\"curve \(color.description)\" d=\"\(path)\"/>"
    }

    /// A histogram as bars beside the bounds of its buckets.
    static func histogram(_ durations: LookupTotals.Durations, _ color: SourceKind) -> HTML {
        let most = max(durations.buckets.max() ?? 0, 1)
        let bounds = LookupTotals.Durations.bounds
        let step = Double(width - left) / Double(durations.buckets.count)
        let plot = Double(height - bottom - 8)
        var bars: [HTML] = []
        for (index, count) in durations.buckets.enumerated() {
            let x = Double(left) + Double(index) * step
            let tall = Double(count) / Double(most) * plot
            if count > 0 {
                bars.append(
                    "<rect class=\"area \(color.description)\" x=\"\(rounded(x + 1))\" y=\"\(rounded(Double(height - bottom) - tall))\" width=\"\(rounded(step - 2))\" height=\"\(rounded(max(tall, 1)))\"><title>\(count)</title></rect>"
                )
            }
            if index.isMultiple(of: 3) {
                let bound = index < bounds.count ? Format.duration(bounds[index]) : "more"
                bars.append("<text class=\"axistext\" x=\"\(rounded(x))\" y=\"\(height - 6)\">\(bound)</text>")
            }
        }
        return """
            <svg class="chart" role="img" aria-label="Histogram of durations" viewBox="0 0 \(width) \(height)">\
            <text class="axistext" x="4" y="16">\(most)</text>\
            <line class="axis" x1="\(left)" y1="\(height - bottom)" x2="\(width)" y2="\(height - bottom)"/>\(bars)</svg>
            """
    }

    private static func frame(_ title: String, top: String, _ columns: [Column], _ content: [HTML]) -> HTML {
        let span = columns.count > 1 ? columns[columns.count - 1].time - columns[0].time : 0
        return """
            <svg class="chart" role="img" aria-label="\(title)" viewBox="0 0 \(width) \(height)">\
            <text class="axistext" x="4" y="16">\(top)</text>\
            <text class="axistext" x="\(left)" y="\(height - 5)">\(Format.age(span + 1)) ago</text>\
            <text class="axistext" x="\(width - 28)" y="\(height - 5)">now</text>\
            <line class="axis" x1="\(left)" y1="\(height - bottom)" x2="\(width)" y2="\(height - bottom)"/>\(content)</svg>
            """
    }

    /// The last minute in the header: the rate as a sparkline, and the sources as a bar.
    static func pulse(_ seconds: [LookupTotals.Second], now: UInt64, lost: UInt64) -> HTML {
        let columns = columns(seconds, now: now, span: 60, each: 1)
        let rates = columns.map(\.bySource.sum)
        let most = max(rates.max() ?? 0, 1)
        var points = ""
        for (index, rate) in rates.enumerated() {
            points += "\(index * 2),\(rounded(22 - Double(rate) / Double(most) * 20)) "
        }
        let all = rates.reduce(0, +)
        var x = 0.0
        var parts: [HTML] = []
        var words: [String] = []
        for source in SourceKind.allCases {
            let count = columns.reduce(0) { $0 + $1.bySource[source] }
            guard count > 0 else { continue }
            let share = Double(count) / Double(all) * 120
            parts.append(
                "<rect class=\"bar \(source.description)\" x=\"\(rounded(x))\" y=\"0\" width=\"\(rounded(share))\" height=\"6\"/>"
            )
            words.append("\(source) \(count)")
            x += share
        }
        let rate = (rates.suffix(5).reduce(0, +) + 4) / 5
        let loss: HTML = lost > 0 ? "<span class=\"bad\">\(lost) not logged</span>" : ""
        return """
            \(loss)<span title="lookups per second, the last minute">\(rate)/s</span>\
            <svg width="120" height="24" role="img" aria-label="Lookups per second in the last minute">\
            <polyline class="curve" points="\(points)"/></svg>\
            <svg width="120" height="6" role="img" aria-label="\(words.isEmpty ? "no lookups" : words.joined(separator: ", "))"><title>\(words.joined(separator: ", "))</title>\(parts)</svg>
            """
    }

    private static func rounded(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }
}
