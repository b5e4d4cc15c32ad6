extension Flow {
    /// The flow as a Mermaid sequence diagram.
    ///
    /// Received text can't end a message or start a directive: characters with a meaning in Mermaid are escaped.
    package var mermaid: String {
        var lines = ["sequenceDiagram", "    autonumber"]
        for participant in FlowStep.Participant.allCases {
            lines.append("    participant \(participant.identifier) as \(participant.rawValue)")
        }
        for step in steps {
            let words = step.event.words
            let message = words.detail.isEmpty ? words.subject : "\(words.subject), \(words.detail)"
            lines.append(
                "    \(step.from.identifier)\(step.arrow)\(step.to.identifier): \(Self.message(message))")
        }
        let verdict = DowngradeVerdict(self)
        let sentences = ["downgrade: \(verdict.answer.rawValue)."] + verdict.reasons + verdict.mends
        lines.append("    Note over User,WebServer: " + sentences.map(Self.message).joined(separator: "<br/>"))
        return lines.joined(separator: "\n") + "\n"
    }

    /// Keeps letters, digits and harmless punctuation; everything else becomes Mermaid's `#NUMBER;`.
    private static func message(_ text: String) -> String {
        var result = ""
        for scalar in printable(text).unicodeScalars {
            switch scalar {
            case "#", ";", "<", ">", "&", "\"", "'", "`", "{", "}", "[", "]", "$", "%", "\\", "*", "_", "~", "|":
                result += "#\(scalar.value);"
            default: result.unicodeScalars.append(scalar)
            }
        }
        // These prefixes are options of a message, and the word "end" alone ends a block.
        for word in ["wrap", "nowrap"] where result.lowercased().hasPrefix(word + ":") {
            return "#\(result.unicodeScalars.first!.value);" + result.dropFirst()
        }
        return result.isEmpty || result.lowercased() == "end" ? "(\(result))" : result
    }
}

extension FlowStep.Participant {
    fileprivate var identifier: String {
        switch self {
        case .user: "User"
        case .browser: "Browser"
        case .nameServer: "DNSServer"
        case .webServer: "WebServer"
        }
    }
}

extension FlowStep {
    /// Solid for requests, dashed for responses, with a cross for failures.
    fileprivate var arrow: String {
        switch event {
        case .lookupFailure, .connectionFailure, .failure: "--x"
        default: from == .nameServer || from == .webServer ? "-->>" : "->>"
        }
    }
}
