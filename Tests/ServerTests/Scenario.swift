import DNSWire
import Foundation
import Testing

/// A test as a text: what is configured, then what happens, step by step. The same text runs in process, with a clock
/// and an upstream of its own, and against the real daemon.
///
/// ```
/// hosts                            a block: the lines below it, indented
///   127.0.0.14 over.acme.org
/// zone acme.org.                   a local zone
///   @ 3600 IN SOA ...
/// upstream example.net.            a zone that the upstream server has
///   @ 3600 IN SOA ...
/// config                           lines of the configuration file
///   hosts: {https: synthesize}
/// query over.acme.org A [do] [nord]
///   rcode NOERROR
///   answer over.acme.org. 0 IN A 127.0.0.14
///   source hosts hosts:1
/// pass 301                         seconds; in process only
/// upstream-is dead|alive|servfail
/// ```
///
/// What a query's lines do not mention is not looked at, but `answer` lines name the whole section, and a query without
/// any must get an empty one.
struct Scenario: Sendable, CustomTestStringConvertible {
    enum Step: Sendable {
        case query(Expectation)
        case pass(seconds: UInt64)
        case upstream(UpstreamMood)
        case edit(file: String, text: String)
    }

    enum UpstreamMood: String, Sendable { case alive, dead, servfail }

    struct Expectation: Sendable {
        var line: Int
        var name: String
        var type: String
        var dnssecOK = false
        var recursionDesired = true
        var rcode: String?
        var flags: [String] = []
        var answers: [String] = []
        var anyAnswers = false
        var authority: [String]?
        var source: String?
        var ede: UInt16?
        var masked: Bool?
    }

    let path: String
    var hosts: [String] = []
    var zones: [(name: String, lines: [String])] = []
    var upstreamZones: [(name: String, lines: [String])] = []
    var config: [String] = []
    var steps: [Step] = []

    var testDescription: String { path }

    struct SyntaxError: Error, CustomStringConvertible {
        var description: String
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios")

    static let all: [Scenario] = {
        let names =
            FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String }
            .filter { $0.hasSuffix(".scenario") }.sorted() ?? []
        return names.compactMap { try? Scenario(path: $0) }
    }()

    init(path: String) throws {
        self.path = path
        let text = try String(contentsOf: Self.folder.appending(path: path), encoding: .utf8)
        var block: [String] = []
        var head: [String] = []
        var headLine = 0
        for (index, line) in (text + "\nend").split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.hasPrefix("#") || line.trimmingCharacters(in: .whitespaces).isEmpty { continue }
            if line.hasPrefix("  ") {
                block.append(String(line.dropFirst(2)))
                continue
            }
            if !head.isEmpty { try finish(head, block, headLine) }
            head = line.split(separator: " ").map(String.init)
            headLine = index + 1
            block = []
        }
    }

    private mutating func finish(_ head: [String], _ block: [String], _ line: Int) throws {
        switch head[0] {
        case "hosts": hosts = block
        case "zone": zones.append((head[1], block))
        case "upstream": upstreamZones.append((head[1], block))
        case "config": config = block
        case "pass": steps.append(.pass(seconds: UInt64(head[1]) ?? 0))
        case "upstream-is":
            guard let mood = UpstreamMood(rawValue: head[1]) else { throw fault(line, "no such mood") }
            steps.append(.upstream(mood))
        case "edit": steps.append(.edit(file: head[1], text: block.joined(separator: "\n") + "\n"))
        case "query":
            var expected = Expectation(line: line, name: head[1], type: head[2])
            expected.dnssecOK = head.contains("do")
            expected.recursionDesired = !head.contains("nord")
            for entry in block {
                let words = entry.split(separator: " ", maxSplits: 1).map(String.init)
                let rest = words.count > 1 ? words[1] : ""
                switch words[0] {
                case "rcode": expected.rcode = rest
                case "flags": expected.flags = rest.split(separator: " ").map(String.init)
                case "answer": expected.answers.append(rest)
                case "answers": expected.anyAnswers = rest == "any"
                case "authority": expected.authority = (expected.authority ?? []) + (rest == "none" ? [] : [rest])
                case "source": expected.source = rest
                case "ede": expected.ede = UInt16(rest)
                case "masked": expected.masked = rest == "yes"
                default: throw fault(line, "'\(words[0])' is not known")
                }
            }
            steps.append(.query(expected))
        default: throw fault(line, "'\(head[0])' is not known")
        }
    }

    private func fault(_ line: Int, _ why: String) -> SyntaxError {
        SyntaxError(description: "\(path):\(line): \(why)")
    }

    /// Writes the files of the scenario into `folder`; returns the configuration file.
    func write(to folder: URL) throws -> URL {
        try Data((hosts.joined(separator: "\n") + "\n").utf8).write(to: folder.appending(path: "hosts"))
        let zonesFolder = folder.appending(path: "zones")
        try FileManager.default.createDirectory(at: zonesFolder, withIntermediateDirectories: true)
        for zone in zones { try Self.write(zone, to: zonesFolder) }
        let upstreamFolder = folder.appending(path: "upstream")
        try FileManager.default.createDirectory(at: upstreamFolder, withIntermediateDirectories: true)
        for zone in upstreamZones { try Self.write(zone, to: upstreamFolder) }
        let file = folder.appending(path: "stub53.yaml")
        try Data((config.joined(separator: "\n") + "\n").utf8).write(to: file)
        return file
    }

    private static func write(_ zone: (name: String, lines: [String]), to folder: URL) throws {
        let text = "$ORIGIN \(zone.name)\n$TTL 3600\n" + zone.lines.joined(separator: "\n") + "\n"
        let name = zone.name == "." ? "root" : String(zone.name.dropLast())
        try Data(text.utf8).write(to: folder.appending(path: "\(name).zone"))
    }
}
