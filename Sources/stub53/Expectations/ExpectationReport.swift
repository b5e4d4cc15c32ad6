import DNSWire

/// The verdicts on expectations, for people and for CI.
struct ExpectationReport: Sendable {
    let verdicts: [LookupExpectation.Verdict]

    private static let mostShown = 20

    var failures: [LookupExpectation.Verdict] { verdicts.filter { $0.failure != nil } }

    private func shown(_ verdict: LookupExpectation.Verdict) -> [String] {
        let lines = verdict.broken.prefix(Self.mostShown).map(\.description)
        let left = verdict.broken.count - lines.count
        return left > 0 ? lines + ["and \(left) more"] : lines
    }

    /// One line for each that failed, with the lookups that broke it, and a line for all.
    var text: String {
        var lines: [String] = []
        for verdict in failures {
            lines.append("\(verdict.expectation.place): \(verdict.expectation.text): \(verdict.failure ?? "")")
            lines += shown(verdict).map { "  " + $0 }
        }
        lines.append("\(verdicts.count - failures.count) of \(verdicts.count) expectations hold")
        return lines.joined(separator: "\n") + "\n"
    }

    /// The Test Anything Protocol, of the version that `prove` reads, too.
    /// - See: https://testanything.org/tap-version-13-specification.html
    var tap: String {
        var lines = ["TAP version 13", "1..\(verdicts.count)"]
        for (index, verdict) in verdicts.enumerated() {
            // '#' would begin a directive; expectations hold none.
            let state = verdict.failure == nil ? "ok" : "not ok"
            lines.append("\(state) \(index + 1) - \(verdict.expectation.text)")
            guard let failure = verdict.failure else { continue }
            lines += [
                "  ---", "  message: \(Self.yaml(failure))", "  at: \(Self.yaml("\(verdict.expectation.place)"))",
            ]
            let broken = shown(verdict)
            if !broken.isEmpty { lines += ["  lookups:"] + broken.map { "    - \(Self.yaml($0))" } }
            lines.append("  ...")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The XML that CI servers read as test results.
    var junit: String {
        var lines = [
            #"<?xml version="1.0" encoding="UTF-8"?>"#,
            #"<testsuites tests="\#(verdicts.count)" failures="\#(failures.count)">"#,
            #"<testsuite name="stub53" tests="\#(verdicts.count)" failures="\#(failures.count)" errors="0" skipped="0">"#,
        ]
        for verdict in verdicts {
            let head =
                #"<testcase classname="\#(Self.xml("\(verdict.expectation.place)"))" name="\#(Self.xml(verdict.expectation.text))""#
            guard let failure = verdict.failure else {
                lines.append(head + "/>")
                continue
            }
            lines.append(head + ">")
            lines.append(
                #"<failure message="\#(Self.xml(failure))">"# + Self.xml(shown(verdict).joined(separator: "\n"))
                    + "</failure>")
            lines.append("</testcase>")
        }
        return (lines + ["</testsuite>", "</testsuites>"]).joined(separator: "\n") + "\n"
    }

    /// Markdown, as for the summary of a CI job.
    var markdown: String {
        var lines = [
            "### DNS: \(verdicts.count - failures.count) of \(verdicts.count) expectations hold", "",
            "| | expectation | lookups |", "| --- | --- | --- |",
        ]
        for verdict in verdicts {
            let why = verdict.failure.map { ": " + Self.cell($0) } ?? ""
            lines.append(
                "| \(verdict.failure == nil ? "ok" : "**failed**") | `\(Self.cell(verdict.expectation.text))`\(why) | \(verdict.count) |"
            )
        }
        for verdict in failures where !verdict.broken.isEmpty {
            lines += ["", "`\(Self.cell(verdict.expectation.text))`", "", "```"] + shown(verdict) + ["```"]
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func cell(_ text: String) -> String {
        text.replacing("|", with: "\\|").replacing("`", with: "'")
    }

    /// In double quotes. The texts hold no control characters: names are escaped.
    private static func yaml(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private static func xml(_ text: String) -> String {
        // XML has no way to write these; a path may hold them.
        let text = String(String.UnicodeScalarView(text.unicodeScalars.filter { $0.value >= 0x20 || $0 == "\n" }))
        return text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }
}
