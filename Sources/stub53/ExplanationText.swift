import Resolution
import Server

/// An explanation for the terminal.
struct ExplanationText {
    let explanation: Explanation

    init(_ explanation: Explanation) { self.explanation = explanation }

    var text: String {
        var lines = headline
        lines.append("")
        lines += table
        let more = browserLines
        if !more.isEmpty { lines += [""] + more }
        return lines.joined(separator: "\n")
    }

    private static func source(_ word: String) -> Source {
        Source.allCases.first { $0.description == word } ?? .none
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
        // The end of a chain is in the first line already.
        for hop in answer.needsUpstream ? explanation.chain[...] : explanation.chain.dropLast() {
            lines.append("  by way of  \(hop.name)  (\(hop.source)\(hop.rule.map { ", \($0)" } ?? ""))")
        }
        return lines
    }

    // MARK: The sources

    private var table: [String] {
        let rows = explanation.rows
        let placeWidth = max(rows.map { ($0.rule ?? "-").count }.max() ?? 0, 22)
        let textWidth = max(rows.map { Self.cut($0.text).count }.max() ?? 0, 12)
        func rest(_ rule: String?, _ text: String, _ comment: String) -> String {
            Terminal.padded(rule ?? "-", placeWidth) + "  " + Terminal.padded(Self.cut(text), textWidth) + "  "
                + comment
        }
        return rows.enumerated().flatMap { index, row in
            let name = row.source == "zone" ? "zones" : row.source
            let source = Terminal.colored(
                Terminal.padded(name, 8), row.decides ? .init(Self.source(row.source)) : nil)
            let line = rest(row.rule, row.text, row.comment)
            return ["  \(index + 1)  \(source)  \(row.decides ? line : Terminal.colored(line, .grey))"]
                + row.shadowed.map {
                    Terminal.colored(
                        String(repeating: " ", count: 15) + rest($0.rule, "\($0.name) \($0.data)", $0.reason), .grey)
                }
        }
    }

    private static func cut(_ text: String) -> String { text.count <= 48 ? text : text.prefix(45) + "..." }

    // MARK: What a browser makes of it

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
