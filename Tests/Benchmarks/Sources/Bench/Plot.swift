import Foundation

/// Plots CPU time per query of each server, in echoes, as dots on a logarithmic axis: one line per task.
struct Plot {
    let works: [Work]
    let results: Results

    private static let left = 290.0
    private static let width = 900.0
    private static let right = 30.0
    private static let top = 62.0
    private static let rowHeight = 30.0

    /// Shows tasks with an echo to compare with, except series of growing size.
    private var shown: [Work] {
        works.filter { work in
            results.median(work, .echo, .cpu) != nil && results.median(work, .stub53, .cpu) != nil
                && !work.id.hasPrefix("growth") && work.id != "workers"
        }
    }

    var svg: String {
        let shown = shown
        let ratios = shown.flatMap { work in work.servers.compactMap { ratio(work, $0) } }
        let high = max(10, ratios.max() ?? 10) * 1.3
        let low = min(0.8, (ratios.min() ?? 1) * 0.85)
        let height = Self.top + Double(shown.count) * Self.rowHeight + 34
        let bottom = height - 30
        func x(_ ratio: Double) -> Double {
            Self.left + (Self.width - Self.left - Self.right) * log(ratio / low) / log(high / low)
        }

        var svg = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(height))" role="img" \
            aria-label="CPU time per query, in echoes">
            <style>
            text { font: 13px system-ui, sans-serif; fill: #24292f } .small { font-size: 11px; fill: #57606a }
            .grid { stroke: #d0d7de } .bar { stroke: #57606a; stroke-width: 2 }
            @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9da7b1 }
            .grid { stroke: #3d444d } .bar { stroke: #9da7b1 } }
            </style>
            <text x="10" y="20" font-weight="600">CPU time per query, in times of a bare echo (less is better; | is the bar)</text>

            """
        svg += legend(shown)
        for tick in [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500] where tick > low && tick < high {
            let place = Self.round(x(tick))
            svg += "<line class=\"grid\" x1=\"\(place)\" x2=\"\(place)\" y1=\"\(Self.top)\" y2=\"\(bottom)\"/>\n"
            svg +=
                "<text class=\"small\" x=\"\(place)\" y=\"\(bottom + 16)\" text-anchor=\"middle\">\(Report.number(tick))</text>\n"
        }
        for (index, work) in shown.enumerated() {
            let y = Self.top + (Double(index) + 0.5) * Self.rowHeight
            svg += "<text x=\"10\" y=\"\(y + 4)\">\(Self.escaped(work.title))</text>\n"
            if let limit = work.lines.first(where: { $0.metric == .cpu })?.bar?.echoes {
                let place = Self.round(x(limit))
                svg += "<line class=\"bar\" x1=\"\(place)\" x2=\"\(place)\" y1=\"\(y - 10)\" y2=\"\(y + 10)\"/>\n"
            }
            // stub53 last, so that it is on top.
            for peer in work.servers.filter({ $0 != .stub53 }) + [.stub53] {
                guard let ratio = ratio(work, peer) else { continue }
                svg += """
                    <circle cx="\(Self.round(x(ratio)))" cy="\(y)" r="\(peer == .stub53 ? 7 : 5)" \
                    fill="\(Self.color(peer))"><title>\(peer.rawValue): \(Report.number(ratio)) x echo</title></circle>

                    """
            }
        }
        return svg + "</svg>\n"
    }

    private func ratio(_ work: Work, _ peer: Peer) -> Double? {
        guard let echo = results.median(work, .echo, .cpu), let own = results.median(work, peer, .cpu), echo > 0 else {
            return nil
        }
        return own / echo
    }

    private func legend(_ shown: [Work]) -> String {
        var x = 16.0
        var svg = ""
        for peer in Peer.allCases where shown.contains(where: { ratio($0, peer) != nil }) {
            svg += "<circle cx=\"\(x)\" cy=\"40\" r=\"\(peer == .stub53 ? 7 : 5)\" fill=\"\(Self.color(peer))\"/>\n"
            svg += "<text x=\"\(x + 11)\" y=\"44\">\(peer.rawValue)</text>\n"
            x += 34 + 8 * Double(peer.rawValue.count)
        }
        return svg
    }

    private static func color(_ peer: Peer) -> String {
        switch peer {
        case .echo: "#8c959f"
        case .stub53, .stub53Two: "#1a7f37"
        case .unbound: "#0969da"
        case .nsd: "#bf8700"
        case .knot: "#8250df"
        case .dnsdist: "#d4498c"
        case .recursor: "#0e8a8a"
        case .dnsmasq: "#cf222e"
        }
    }

    private static func round(_ value: Double) -> Double { (value * 10).rounded() / 10 }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
    }
}
