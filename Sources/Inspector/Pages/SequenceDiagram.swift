import Lookup
import Platform

/// The DNS part of the flow as a diagram: who asked whom, when, and what was answered.
struct SequenceDiagram {
    private let navigation: Navigation
    private let lanes: [String]

    private static let laneWidth = 230
    private static let rowHeight = 26
    private static let top = 44

    init(_ navigation: Navigation) {
        self.navigation = navigation
        var lanes = [navigation.asker, "stub53"]
        for lookup in navigation.lookups {
            for source in Self.sources(of: lookup) where !lanes.contains(source) { lanes.append(source) }
        }
        self.lanes = lanes
    }

    /// The source of each hop, as lanes.
    private static func sources(of lookup: LoggedLookup) -> [String] {
        if !lookup.chain.isEmpty { return lookup.chain.map { lane($0.source, $0.place, lookup) } }
        return lookup.source == .none ? [] : [lane(lookup.source, lookup.place, lookup)]
    }

    /// A source that reads files has a lane per file.
    private static func lane(_ source: SourceKind, _ place: Place, _ lookup: LoggedLookup) -> String {
        if source == .upstream { return lookup.upstream ?? source.description }
        guard place.line > 0 else { return source.description }
        let file = place.path
        return "\(source) \(file.count <= 22 ? file : "…" + file.suffix(21))"
    }

    /// Further facts about an answer's origin.
    private static func note(_ source: SourceKind, _ place: Place, _ lookup: LoggedLookup) -> String {
        switch source {
        case .upstream: lookup.upstreamMicroseconds.map { "answered in \(Format.duration($0))" } ?? ""
        case .cache: "held"
        case .stale: "held, has run out"
        default: place.line > 0 ? "line \(place.line)" : place.path
        }
    }

    private func x(_ lane: Int) -> Int { Self.laneWidth / 2 + lane * Self.laneWidth }

    var svg: HTML {
        var rows: [HTML] = []
        var y = Self.top + 22
        let start = navigation.lookups[0].time
        for lookup in navigation.lookups {
            let asked = lookup.time - start
            rows.append(arrow(0, 1, y, "\(lookup.typeWord) \(lookup.name)?", at: asked))
            y += Self.rowHeight
            for (index, source) in Self.sources(of: lookup).enumerated() {
                guard let lane = lanes.firstIndex(of: source) else { continue }
                let hop = lookup.chain.isEmpty ? nil : lookup.chain[index]
                let what = Self.note(hop?.source ?? lookup.source, hop?.place ?? lookup.place, lookup)
                rows.append(
                    arrow(
                        1, lane, y, [hop?.name, what].compactMap { $0 }.joined(separator: ": "), at: nil,
                        hop?.source ?? lookup.source))
                y += Self.rowHeight
            }
            let data = lookup.data
            let parts =
                (lookup.isPlain ? [] : [lookup.outcome]) + data.prefix(2) + (lookup.isMasked ? ["masked"] : [])
                + (lookup.privateAnswer == .passed ? ["private"] : [])
            let text = parts.joined(separator: ", ")
            rows.append(arrow(1, 0, y, text, at: asked + UInt64(lookup.durationMicroseconds), lookup.source))
            y += Self.rowHeight + 8
        }
        let width = lanes.count * Self.laneWidth
        let heads = lanes.enumerated().map { index, lane -> HTML in
            """
            <line class="lane" x1="\(x(index))" y1="\(Self.top)" x2="\(x(index))" y2="\(y)"/>\
            <rect class="head" x="\(x(index) - 100)" y="8" width="200" height="28" rx="4"/>\
            <text class="headtext" x="\(x(index))" y="27">\(Format.cut(lane, 28))</text>
            """
        }
        return """
            <svg class="sequence" role="img" aria-label="Sequence of the lookups of \(navigation.name)" \
            viewBox="0 0 \(width) \(y + 6)" width="\(width)" height="\(y + 6)">\(heads)\(rows)</svg>
            """
    }

    private func arrow(
        _ from: Int, _ to: Int, _ y: Int, _ text: String, at time: UInt64?, _ source: SourceKind? = nil
    ) -> HTML {
        let (a, b) = (x(from), x(to))
        let head =
            b > a ? "\(b),\(y) \(b - 8),\(y - 4) \(b - 8),\(y + 4)" : "\(b),\(y) \(b + 8),\(y - 4) \(b + 8),\(y + 4)"
        // At the left end of the arrow, where the next lane leaves room.
        let left = min(a, b) + 12
        let stamp: HTML =
            time.map { "<text class=\"stamp\" x=\"\(min(a, b) - 6)\" y=\"\(y + 4)\">\(Format.duration($0))</text>" }
            ?? ""
        return """
            <g class="\(source?.description ?? "")"><line class="arrow" x1="\(a)" y1="\(y)" x2="\(b)" y2="\(y)"/>\
            <polygon class="tip" points="\(head)"/>\
            <text class="message" x="\(left)" y="\(y - 5)">\(Format.cut(text, max(abs(a - b) / 7 - 2, 28)))</text>\(stamp)</g>
            """
    }
}

/// Formats numbers and long texts for display.
enum Format {
    static func duration(_ microseconds: some BinaryInteger) -> String {
        let value = UInt64(clamping: microseconds)
        if value < 1000 { return "\(value) us" }
        if value < 1_000_000 { return "\(value / 1000).\(value / 100 % 10) ms" }
        return "\(value / 1_000_000).\(value / 100_000 % 10) s"
    }

    static func cut(_ text: String, _ length: Int) -> String {
        text.count <= length ? text : text.prefix(length - 1) + "…"
    }

    static func size(_ bytes: Int) -> String {
        if bytes < 10 << 10 { return "\(bytes) B" }
        if bytes < 10 << 20 { return "\(bytes >> 10) KiB" }
        return "\(bytes >> 20) MiB"
    }

    static func age(_ seconds: UInt64) -> String {
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7200 { return "\(seconds / 60) min" }
        if seconds < 172_800 { return "\(seconds / 3600) h" }
        return "\(seconds / 86_400) d"
    }

    static func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
}
