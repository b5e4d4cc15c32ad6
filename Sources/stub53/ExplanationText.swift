import Daemon
import Lookup
import Platform

/// Formats an explanation for the terminal.
struct ExplanationText {
    let explanation: Explanation

    init(_ explanation: Explanation) { self.explanation = explanation }

    var text: String {
        var lines = headline
        lines.append("")
        lines += table
        for more in [upstreamLines, browserLines] where !more.isEmpty { lines += [""] + more }
        return lines.joined(separator: "\n")
    }

    private static func source(_ word: String) -> SourceKind {
        SourceKind(word: word) ?? .none
    }

    // MARK: The answer

    private var headline: [String] {
        let answer = explanation.answer
        let question = "\(explanation.name) \(explanation.type)"
        var lines: [String] = []
        if answer.needsUpstream {
            let through = explanation.chain.isEmpty ? "" : " leads to \(answer.lastName), which"
            lines.append(Terminal.colored("\(question)\(through) is asked upstream", .bold))
        } else {
            let reason = answer.source + (answer.rule.map { ", \($0)" } ?? "")
            let result = Terminal.colored("\(question) = \(answer.summary)", .bold)
            lines.append("\(result)    (\(Terminal.colored(reason, .init(Self.source(answer.source)))))")
        }
        if let note = answer.note { lines.append("  private  \(note)") }
        // The first line already shows the end of a chain.
        for hop in answer.needsUpstream ? explanation.chain[...] : explanation.chain.dropLast() {
            lines.append("  by way of  \(hop.name)  (\(hop.source)\(hop.rule.map { ", \($0)" } ?? ""))")
        }
        return lines
    }

    // MARK: The sources

    private var table: [String] {
        let rows = explanation.rows
        let beaten = rows.flatMap(\.shadowed)
        let placeWidth = max((rows.map(\.rule) + beaten.map(\.rule)).map { ($0 ?? "-").count }.max() ?? 0, 22)
        let texts = rows.map(\.text) + beaten.map(Self.text)
        let textWidth = max(texts.map { Self.cut($0).count }.max() ?? 0, 12)
        func rest(_ rule: String?, _ text: String, _ comment: String) -> String {
            Terminal.padded(rule ?? "-", placeWidth) + "  " + Terminal.padded(Self.cut(text), textWidth) + "  "
                + comment
        }
        return rows.enumerated().flatMap { index, row in
            let kind = SourceKind(word: row.source)
            let name = Terminal.padded(kind.map { "\($0.heading)" } ?? row.source, SourceKind.longestWord)
            let source = Terminal.colored(name, row.decides ? .init(kind ?? .none) : nil)
            let line = rest(row.rule, row.text, row.comment)
            return ["  \(index + 1)  \(source)  \(row.decides ? line : Terminal.colored(line, .grey))"]
                + (kind == .rule ? row.records : []).map {
                    Terminal.colored(String(repeating: " ", count: 15) + rest($0.rule, $0.data, ""), .grey)
                }
                + row.shadowed.map {
                    Terminal.colored(
                        String(repeating: " ", count: 15) + rest($0.rule, Self.text($0), $0.reason), .grey)
                }
        }
    }

    private static func text(_ entry: Explanation.Entry) -> String { "\(entry.name) \(entry.data)" }

    private static func cut(_ text: String) -> String { text.count <= 48 ? text : text.prefix(45) + "..." }

    // MARK: Cache and upstream

    /// From a running daemon.
    private var upstreamLines: [String] {
        var lines: [String] = []
        if let asked = explanation.asked {
            let server = asked.upstream.map { Self.scheme(asked.transport) + $0 } ?? "upstream"
            let setup =
                asked.handshakeMicroseconds.map { ", of which the handshake took \(Self.milliseconds(UInt64($0)))" }
                ?? asked.connection.map { ", over a \($0) connection" } ?? ""
            if let code = asked.responseCode, let time = asked.roundTripMicroseconds {
                lines.append("  asked    \(server) says \(code) in \(Self.milliseconds(UInt64(time)))\(setup)")
            } else {
                lines.append("  asked    in vain: \(asked.error ?? "no answer")")
            }
        }
        for entry in explanation.cached {
            let bits = (entry.dnssecOK ? " DO" : "") + (entry.checkingDisabled ? " CD" : "")
            var parts = ["\(entry.responseCode)", "\(entry.age) s old"]
            parts.append(entry.isStale ? "stale" : "\(entry.remaining) s left of \(entry.ttl)")
            parts.append(Terminal.count(Int(entry.hits), "hit"))
            if let server = entry.upstream {
                let time = entry.upstreamMicroseconds.map { " in \(Self.milliseconds(UInt64($0)))" } ?? ""
                parts.append("from \(Self.scheme(entry.upstreamTransport))\(server)\(time)")
            }
            if entry.isPrefetched { parts.append("renewed before it expired") }
            lines.append("  cache    \(entry.name) \(entry.type)\(bits): " + parts.joined(separator: ", "))
        }
        for server in explanation.upstreams {
            var parts = [server.state]
            if let time = server.roundTripMicroseconds { parts.append("\(Self.milliseconds(time)) smoothed") }
            parts.append("\(server.queries) asked, \(server.answers) answered, \(server.timeouts) late")
            if server.errors > 0 { parts.append(Terminal.count(Int(clamping: server.errors), "error")) }
            lines.append("  server   \(server.server): " + (parts + server.remarks).joined(separator: ", "))
        }
        return lines
    }

    /// The scheme of the transport that a report names.
    private static func scheme(_ transport: String?) -> String {
        UpstreamTransport.allCases.first { $0.description == transport }.map { "\($0.scheme)" } ?? ""
    }

    private static func milliseconds(_ microseconds: UInt64) -> String {
        "\(microseconds / 1000).\(microseconds % 1000 / 100) ms"
    }

    // MARK: Browsers

    private var browserLines: [String] {
        guard let browser = explanation.browser else { return [] }
        let family = explanation.family.map(Self.memberText).joined(separator: " · ")
        return ["  family   " + family, "  browser  " + browser.sentence]
    }

    private static func memberText(_ member: Explanation.Member) -> String {
        switch member.state {
        case .upstream: "\(member.type) from upstream"
        case .masked: "\(member.type) masked" + (member.hidden.map { " (\($0) has one)" } ?? "")
        case .data where member.type == "MX": "MX from \(member.rule ?? "upstream")"
        default: "\(member.type) \(cut(member.text))"
        }
    }
}
