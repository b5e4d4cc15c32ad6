import DNSWire
import Foundation

/// Seeds from other tests' files.
enum Corpus {
    private static let tests = "Tests"

    private static func text(_ path: String) throws -> String {
        try String(contentsOfFile: "\(tests)/\(path)", encoding: .utf8)
    }

    private static func files(below folder: String, _ suffix: String) -> [String] {
        let found = FileManager.default.enumerator(atPath: "\(tests)/\(folder)")
        return (found?.compactMap { $0 as? String } ?? []).filter { $0.hasSuffix(suffix) }.sorted().map {
            "\(folder)/\($0)"
        }
    }

    /// Malformed queries.
    static func malformed() throws -> [[UInt8]] {
        try files(below: "ServerTests/Malformed", ".hex").map { path in
            try text(path).split(separator: "\n").filter { line in
                !["#", "expect", "over"].contains(line.split(separator: " ").first)
            }.flatMap { line in
                let digits = line.prefix { $0 != ";" }.filter { $0 != " " }
                return stride(from: 0, to: digits.count - 1, by: 2).compactMap { at in
                    UInt8(digits.dropFirst(at).prefix(2), radix: 16)
                }
            }
        }
    }

    /// Complete master files, good and bad.
    static func zones() throws -> [String] {
        try text("ResolutionTests/Corpus/files.txt").split(separator: "\n=== ").dropFirst().map { part in
            String(part.drop { $0 != "\n" }.dropFirst()).replacing("\\r", with: "\r")
                .replacing("<BOM>", with: "\u{FEFF}").replacing("<NONL>", with: "")
        } + scenarios("zone")
    }

    /// Records as text, good and bad, with their RDATA if it is known.
    static func records() throws -> [(text: String, type: RecordType?, rdata: [UInt8])] {
        try text("ResolutionTests/Corpus/records.txt").split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap {
            let columns = $0.split(separator: "\t", omittingEmptySubsequences: false)
            guard columns.count == 4 else { return nil }
            let digits = columns[2].filter(\.isHexDigit)
            let rdata = stride(from: 0, to: digits.count, by: 2).compactMap {
                UInt8(digits.dropFirst($0).prefix(2), radix: 16)
            }
            let type = columns[3].split(separator: " ").first.flatMap { RecordType(mnemonic: $0) }
            return (String(columns[3]), columns[2] == "-" ? nil : type, rdata)
        }
    }

    /// The contents of sections in scenario files that start with `keyword`.
    static func scenarios(_ keyword: String) throws -> [String] {
        var found: [String] = []
        for path in files(below: "", ".scenario") {
            var section = ""
            var isWanted = false
            for line in try text(path).split(separator: "\n", omittingEmptySubsequences: false) {
                if line.hasPrefix("  ") {
                    if isWanted { section += line.dropFirst(2) + "\n" }
                    continue
                }
                if !section.isEmpty { found.append(section) }
                section = ""
                isWanted = line.split(separator: " ").first == Substring(keyword)
            }
            if !section.isEmpty { found.append(section) }
        }
        return found
    }

    /// Code blocks in `language` from the documentation.
    static func examples(_ language: String) throws -> [String] {
        var found: [String] = []
        for path in files(below: "../Sources/stub53/Documentation.docc", ".md") {
            for part in try text(path).components(separatedBy: "\n```\(language)\n").dropFirst() {
                found.append(part.components(separatedBy: "\n```")[0] + "\n")
            }
        }
        return found
    }
}
