extension Flow {
    /// One line of the text form.
    package struct Line: Sendable {
        package var text: String
        package var isProblem = false
    }

    /// The flow as a list with times, followed by the verdict; safe to print.
    package var lines: [Line] {
        let rows = steps.map { step in
            let words = step.event.words
            return (
                time: Self.milliseconds(step.time), who: "\(step.from.rawValue) -> \(step.to.rawValue)",
                subject: printable(words.subject), detail: printable(words.detail), isProblem: step.event.isProblem
            )
        }
        let timeWidth = max(rows.map(\.time.count).max() ?? 0, 5)
        let whoWidth = rows.map(\.who.count).max() ?? 0
        // A long subject shifts only its own detail.
        let subjectWidth = min(rows.filter { !$0.detail.isEmpty }.map(\.subject.count).max() ?? 0, 28)
        var lines = [
            Line(text: Self.padded("ms", timeWidth, atEnd: false) + "  " + Self.padded("who", whoWidth) + "  what")
        ]
        for row in rows {
            let subject = row.detail.isEmpty ? row.subject : Self.padded(row.subject, subjectWidth) + "  " + row.detail
            lines.append(
                Line(
                    text: Self.padded(row.time, timeWidth, atEnd: false) + "  " + Self.padded(row.who, whoWidth) + "  "
                        + subject, isProblem: row.isProblem))
        }
        lines.append(Line(text: ""))
        return lines + verdictLines
    }

    private var verdictLines: [Line] {
        let verdict = DowngradeVerdict(self)
        let sentences = verdict.reasons + verdict.mends
        return (["\(verdict.answer.rawValue)." + (sentences.first.map { " " + $0 } ?? "")] + sentences.dropFirst())
            .enumerated().map { index, sentence in
                Line(text: (index == 0 ? "downgrade: " : "           ") + printable(sentence))
            }
    }

    /// `12.3`.
    private static func milliseconds(_ duration: Duration) -> String {
        let tenths = Int((duration / .microseconds(100)).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    private static func padded(_ text: String, _ width: Int, atEnd: Bool = true) -> String {
        let blanks = String(repeating: " ", count: max(width - text.count, 0))
        return atEnd ? text + blanks : blanks + text
    }
}
