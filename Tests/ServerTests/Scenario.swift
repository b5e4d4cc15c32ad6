import DNSWire
import Foundation
import Testing

/// A test written as text: the configuration, the upstream servers, and then the steps. The same text runs in process,
/// with a simulated clock, and against the real daemon.
///
/// A line without indentation starts a block; its lines are indented by two blanks. `#` starts a comment. First the
/// data:
///
/// ```
/// hosts                            lines of the hosts file
/// rules                            lines of the rules file
/// zone acme.org.                   a local zone: records, below `$ORIGIN acme.org.` and `$TTL 3600`
/// config                           lines of the configuration file; $NAME is the address of a server
/// server NAME [BEHAVIOR [SECONDS]]     an upstream server; the default is one, if there are zones or replies for it
/// upstream example.net.            a zone of the server above; before the first server: of every server
/// reply www.example.net A          that server's reply to this question, whatever its zones have:
///   rcode NXDOMAIN                 default NOERROR
///   flags aa ad cd -ra tc          besides QR, RD and RA
///   answer OWNER TTL IN TYPE RDATA, and authority, additional likewise
///   ede 15 text
/// ```
///
/// The daemon is configured with these servers, in this order, unless `config` has `servers:`. Behaviors are those of
/// `ScenarioServer.Behavior`. Then the steps:
///
/// ```
/// query www.example.net A [udp|tcp] [do] [cd] [ad] [nord] [plain] [cookie] [nsid] [size N] [class CH] [times N]
///     [extra N]                  zero bytes behind it
///   rcode NOERROR
///   flags aa -ra                   these are set, and those are not
///   answer LINE                    the whole section, in order; without any it is empty; `answers any`: not checked
///   authority LINE | none          the whole section, in any order
///   additional LINE | none         the same, without OPT
///   edns yes|no                    there is an OPT record
///   ede CODE [TEXT] | none         the extended error, and its whole text
///   nsid TEXT
///   cookie yes|no                  with a server cookie
///   source hosts hosts:1           the source and line that decided, as in the lookup log
///   logged NODATA                  the RCODE of the lookup log
///   reason TEXT                    the extended error's text there
///   upstream NAME[/tcp] | none     the server in the lookup log
///   masked yes|no
///   faults ttl rules:1, keep rules:2   what rules did to the answer; `faults none`
///   private passed|refused|no      the private address of a public name, in the lookup log
///   takes SECONDS                  to a tenth; in process only
///   asks NAME TYPE [udp|tcp] [edns|plain] [do|nodo] [cd|nocd] [cookie|nocookie|known] [of SERVER]
///   asks nothing                   all queries to upstream, in any order
/// pass SECONDS                     9.2
/// upstream-is [SERVER] BEHAVIOR [SECONDS]
/// edit hosts|rules|zone NAME|config|FILE
/// remove hosts|zone NAME|FILE
/// flush [NAME [tree]]
/// ```
///
/// What a query's lines don't mention is not checked. The real daemon has a real clock: there a scenario ends at its
/// first `pass`; TTLs may have decreased by the time the test has taken, and a question may be sent upstream more than
/// once, as happens on a slow machine. Nothing else differs.
struct Scenario: Sendable, CustomTestStringConvertible {
    enum Step: Sendable {
        case query(Expectation)
        case pass(microseconds: UInt64)
        /// Of all servers if none is named.
        case upstream(server: String?, ScenarioServer.Behavior)
        case edit(file: String, text: String)
        case remove(file: String)
        case flush(name: String?, tree: Bool)
    }

    struct Expectation: Sendable {
        var line: Int
        var query: ScenarioQuery
        /// How often the query is sent.
        var times = 1
        var rcode: String?
        var flags: [String] = []
        var answers: [String] = []
        var anyAnswers = false
        var authority: [String]?
        var additional: [String]?
        var hasEDNS: Bool?
        var ede: String?
        var nsid: String?
        var hasCookie: Bool?
        var source: String?
        var logged: String?
        var reason: String?
        var upstream: String?
        var masked: Bool?
        var faults: String?
        var privateAnswer: String?
        var tenthsTaken: Int?
        var asks: [AskedQuery]?

        /// Whether the expectations include the lookup log.
        var looksAtLog: Bool {
            source != nil || logged != nil || reason != nil || upstream != nil || masked != nil || privateAnswer != nil
                || faults != nil
        }
    }

    struct Server: Sendable {
        var name: String
        var behavior = ScenarioServer.Behavior.alive
        var zones: [Zone] = []
        var replies: [Reply] = []
    }

    struct Zone: Sendable {
        var name: String
        var lines: [String]
        var line: Int

        /// `acme.org.zone`.
        var file: String { Scenario.zoneFile(name) }
        var text: String { "$ORIGIN \(name)\n$TTL 3600\n" + lines.joined(separator: "\n") + "\n" }
    }

    struct Reply: Sendable {
        var name: String
        var type: String
        var rcode = "NOERROR"
        var flags: [String] = []
        var answer: [String] = []
        var authority: [String] = []
        var additional: [String] = []
        var ede: String?
        var line: Int
    }

    let path: String
    private(set) var hosts: [String] = []
    private(set) var rules: [String] = []
    private(set) var zones: [Zone] = []
    private(set) var servers: [Server] = []
    private(set) var config: [String] = []
    private(set) var steps: [Step] = []
    /// Data of every server.
    private var common = Server(name: "upstream")

    var testDescription: String { path }

    struct SyntaxError: Error, CustomStringConvertible {
        var description: String
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios")

    static let paths: [String] =
        FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String }
        .filter { $0.hasSuffix(".scenario") }.sorted() ?? []

    /// The readable scenarios; another test requires that all are. With SCENARIOS=RFC2308 in the environment, only those
    /// whose path starts with it.
    static let all: [Scenario] = paths.filter { $0.hasPrefix(ProcessInfo.processInfo.environment["SCENARIOS"] ?? "") }
        .compactMap { try? Scenario(path: $0) }

    init(path: String) throws {
        try self.init(try String(contentsOf: Self.folder.appending(path: path), encoding: .utf8), path: path)
    }

    init(_ text: String, path: String) throws {
        self.path = path
        var block: [(text: String, line: Int)] = []
        var head: [String] = []
        var headLine = 0
        for (index, line) in (text + "\nend").split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.hasPrefix("#") || line.trimmingCharacters(in: .whitespaces).isEmpty { continue }
            if line.hasPrefix("  ") {
                guard !head.isEmpty else { throw fault(index + 1, "the line belongs to no head above it") }
                block.append((String(line.dropFirst(2)), index + 1))
                continue
            }
            if !head.isEmpty { try finish(head, block, headLine) }
            head = line.split(separator: " ").map(String.init)
            headLine = index + 1
            block = []
        }
        if servers.isEmpty, !common.zones.isEmpty || !common.replies.isEmpty {
            servers = [common]
        } else {
            for index in servers.indices {
                servers[index].zones += common.zones
                servers[index].replies += common.replies
            }
        }
    }

    private mutating func finish(_ head: [String], _ block: [(text: String, line: Int)], _ line: Int) throws {
        let lines = block.map(\.text)
        func word(_ index: Int) throws -> String {
            guard index < head.count else { throw fault(line, "'\(head.joined(separator: " "))' lacks a word") }
            return head[index]
        }
        switch head[0] {
        case "hosts": hosts = lines
        case "rules": rules = lines
        case "zone": zones.append(Zone(name: try word(1), lines: lines, line: line))
        case "config": config = lines
        case "server":
            var server = Server(name: try word(1))
            if head.count > 2 { server.behavior = try behavior(head.dropFirst(2), line) }
            servers.append(server)
        case "upstream":
            let zone = Zone(name: try word(1), lines: lines, line: line)
            if servers.isEmpty { common.zones.append(zone) } else { servers[servers.count - 1].zones.append(zone) }
        case "reply":
            let reply = try reply(try word(1), try word(2), block, line)
            if servers.isEmpty {
                common.replies.append(reply)
            } else {
                servers[servers.count - 1].replies.append(reply)
            }
        case "pass":
            guard let seconds = Double(try word(1)), seconds > 0 else { throw fault(line, "these are no seconds") }
            steps.append(.pass(microseconds: UInt64((seconds * 1_000_000).rounded())))
        case "upstream-is":
            let words = head.dropFirst()
            guard let first = words.first else { throw fault(line, "a behavior is missing") }
            let isBehavior = ScenarioServer.Behavior.words.contains(first)
            guard isBehavior || servers.contains(where: { $0.name == first }) else {
                throw fault(line, "'\(first)' is neither a server above nor a behavior")
            }
            steps.append(
                .upstream(server: isBehavior ? nil : first, try behavior(isBehavior ? words : words.dropFirst(), line)))
        case "edit":
            let file = try file(head, line)
            let text = head[1] == "zone" ? Zone(name: head[2], lines: lines, line: line).text : nil
            steps.append(.edit(file: file, text: text ?? lines.joined(separator: "\n") + "\n"))
        case "remove": steps.append(.remove(file: try file(head, line)))
        case "flush":
            steps.append(.flush(name: head.count > 1 ? head[1] : nil, tree: head.count > 2 && head[2] == "tree"))
        case "query": steps.append(.query(try expectation(head, block, line)))
        default: throw fault(line, "'\(head[0])' is not known")
        }
    }

    private func behavior(_ words: ArraySlice<String>, _ line: Int) throws -> ScenarioServer.Behavior {
        guard let behavior = ScenarioServer.Behavior(Array(words)) else {
            throw fault(line, "'\(words.joined(separator: " "))' is no behavior")
        }
        return behavior
    }

    private func file(_ head: [String], _ line: Int) throws -> String {
        switch head.count > 1 ? head[1] : "" {
        case "": throw fault(line, "a file is missing")
        case "config": return "stub53.yaml"
        case "zone":
            guard head.count > 2 else { throw fault(line, "a zone's name is missing") }
            return "zones/" + Self.zoneFile(head[2])
        case let name: return name
        }
    }

    static func zoneFile(_ name: String) -> String { (name == "." ? "root" : String(name.dropLast())) + ".zone" }

    private func reply(
        _ name: String, _ type: String, _ block: [(text: String, line: Int)], _ line: Int
    ) throws -> Reply {
        var reply = Reply(name: name, type: type, line: line)
        for (text, line) in block {
            let (word, rest) = Self.split(text)
            switch word {
            case "rcode": reply.rcode = rest
            case "flags": reply.flags = rest.split(separator: " ").map(String.init)
            case "answer": reply.answer.append(rest)
            case "authority": reply.authority.append(rest)
            case "additional": reply.additional.append(rest)
            case "ede": reply.ede = rest
            default: throw fault(line, "'\(word)' is not known")
            }
        }
        return reply
    }

    private func expectation(
        _ head: [String], _ block: [(text: String, line: Int)], _ line: Int
    ) throws -> Expectation {
        guard head.count > 2 else { throw fault(line, "a name and a type are missing") }
        var query = ScenarioQuery(name: head[1], type: head[2])
        var expected = Expectation(line: line, query: query)
        var words = head.dropFirst(3)
        while let word = words.popFirst() {
            switch word {
            case "udp": query.transport = .udp
            case "tcp": query.transport = .tcp
            case "do": query.dnssecOK = true
            case "cd": query.checkingDisabled = true
            case "ad": query.authenticData = true
            case "nord": query.recursionDesired = false
            case "plain": query.usesEDNS = false
            case "cookie": query.sendsCookie = true
            case "nsid": query.wantsNSID = true
            case "size": query.payloadSize = try number(words.popFirst(), line)
            case "extra": query.extraBytes = Int(try number(words.popFirst(), line))
            case "class": query.recordClass = words.popFirst() ?? "IN"
            case "times": expected.times = Int(try number(words.popFirst(), line) as UInt16)
            default: throw fault(line, "'\(word)' is not known")
            }
        }
        expected.query = query
        guard query.message(id: 0) != nil else { throw fault(line, "this is no question") }
        for (text, line) in block {
            let (word, rest) = Self.split(text)
            switch word {
            case "rcode": expected.rcode = rest
            case "flags": expected.flags = rest.split(separator: " ").map(String.init)
            case "answer": expected.answers.append(rest)
            case "answers":
                guard rest == "any" else { throw fault(line, "'answers any' is meant") }
                expected.anyAnswers = true
            case "authority": expected.authority = (expected.authority ?? []) + (rest == "none" ? [] : [rest])
            case "additional": expected.additional = (expected.additional ?? []) + (rest == "none" ? [] : [rest])
            case "edns": expected.hasEDNS = try flag(rest, line)
            case "ede": expected.ede = rest
            case "nsid": expected.nsid = rest
            case "cookie": expected.hasCookie = try flag(rest, line)
            case "source": expected.source = rest
            case "logged": expected.logged = rest
            case "reason": expected.reason = rest
            case "upstream": expected.upstream = rest
            case "masked": expected.masked = try flag(rest, line)
            case "faults": expected.faults = rest
            case "private":
                guard ["passed", "refused", "no"].contains(rest) else { throw fault(line, "'\(rest)' is not known") }
                expected.privateAnswer = rest
            case "takes":
                guard let seconds = Double(rest) else { throw fault(line, "these are no seconds") }
                expected.tenthsTaken = Int((seconds * 10).rounded())
            case "asks":
                expected.asks = expected.asks ?? []
                if rest == "nothing" { break }
                guard let asked = AskedQuery(rest) else { throw fault(line, "this is no question") }
                expected.asks?.append(asked)
            default: throw fault(line, "'\(word)' is not known")
            }
        }
        return expected
    }

    private static func split(_ text: String) -> (word: String, rest: String) {
        let words = text.split(separator: " ", maxSplits: 1).map(String.init)
        return (words.first ?? "", words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : "")
    }

    private func number(_ word: String?, _ line: Int) throws -> UInt16 {
        guard let word, let number = UInt16(word) else { throw fault(line, "a number is missing") }
        return number
    }

    private func flag(_ word: String, _ line: Int) throws -> Bool {
        guard word == "yes" || word == "no" else { throw fault(line, "'yes' or 'no' is meant") }
        return word == "yes"
    }

    func fault(_ line: Int, _ why: String) -> SyntaxError { SyntaxError(description: "\(path):\(line): \(why)") }

    /// The place of a step, for failure messages.
    func place(_ line: Int) -> String { "\(path):\(line)" }

    // MARK: Files

    /// Whether the configuration lists the servers itself.
    var configuresServers: Bool { config.contains { $0.contains("servers:") } }

    /// Replaces names of servers, `$one`, by their addresses.
    static func fill(_ text: String, _ addresses: [(name: String, address: String)]) -> String {
        // Longer names first, because one may be a prefix of another.
        addresses.sorted { $0.name.count > $1.name.count }
            .reduce(text) { $0.replacingOccurrences(of: "$" + $1.name, with: $1.address) }
    }

    /// Writes hosts, zones and configuration into `folder`; returns the configuration file.
    func write(to folder: URL, _ addresses: [(name: String, address: String)]) throws -> URL {
        try Data((hosts.joined(separator: "\n") + "\n").utf8).write(to: folder.appending(path: "hosts"))
        try Data((rules.joined(separator: "\n") + "\n").utf8).write(to: folder.appending(path: "rules"))
        let zonesFolder = folder.appending(path: "zones")
        try FileManager.default.createDirectory(at: zonesFolder, withIntermediateDirectories: true)
        for zone in zones { try Data(zone.text.utf8).write(to: zonesFolder.appending(path: zone.file)) }
        let file = folder.appending(path: "stub53.yaml")
        let text = Self.fill(config.joined(separator: "\n") + "\n", addresses)
        try Data(text.utf8).write(to: file)
        return file
    }
}
