import DNSWire
import Glibc
import LocalData
import Lookup
import LookupLog
import Pipeline
import Platform
import Upstream

/// The steps of a query whose instructions are counted.
enum Operation: String, CaseIterable {
    /// Parses a query.
    case parse
    /// From a query's bytes to its answer's bytes, by source.
    case hosts
    case zone
    case wildcard
    case nxdomain
    case cache
    /// The same as `hosts` and `cache`, with 100,000 rules for other names.
    case hostsBesideRules = "hosts+rules"
    case cacheBesideRules = "cache+rules"
    /// Appends a lookup to a ring.
    case record
    /// The same, and writes its JSON line to a file.
    case json

    /// Does it `count` times for a thousand different names; returns how often the outcome was as expected.
    func run(_ count: Int) throws -> Int {
        let queries = QuerySet(names: (0..<1000).map(name))
        switch self {
        case .parse: return queries.repeatParsing(count)
        case .record: return try logLookups(count, queries, writing: false)
        case .json: return try logLookups(count, queries, writing: true)
        case .hosts, .zone, .wildcard, .nxdomain, .cache, .hostsBesideRules, .cacheBesideRules:
            let lane = try Lane(self)
            return queries.repeatAnswering(count, lane.pipeline) { decision in
                decision.source == expectedSource
                    && decision.responseCode == (self == .nxdomain ? ResponseCode.nxDomain : .noError)
            }
        }
    }

    private var expectedSource: SourceKind {
        switch self {
        case .cache, .cacheBesideRules: .cache
        case .zone, .wildcard, .nxdomain: .zone
        case .hosts, .hostsBesideRules, .parse, .record, .json: .hosts
        }
    }

    private func name(_ index: Int) -> String {
        switch self {
        case .hosts, .hostsBesideRules, .parse, .record, .json: "www.site\(index * 7).example."
        case .zone: "www.site\(index * 7).zone.example."
        case .wildcard: "a.b.wild\(index % 100).zone.example."
        case .nxdomain: "none\(index).zone.example."
        case .cache, .cacheBesideRules: "www.site\(index).cache.example."
        }
    }

    /// Logs queries as they arrive; lines go to /dev/null, so that no disk matters.
    private func logLookups(_ count: Int, _ queries: QuerySet, writing: Bool) throws -> Int {
        let log = try LookupLog(
            sinks: [LookupSink(.json, to: .file(path: "/dev/null"))], ringCapacity: max(count, 1) * 256)
        let ring = log.makeRing()
        queries.repeatLogging(count, ring)
        guard writing else { return count }
        log.start()
        log.stop()
        return Int(log.count) - Int(log.lost)
    }
}

/// Local data and a cache of some size, from files as the server reads them.
struct Lane {
    let pipeline: Pipeline

    struct Failure: Error {
        let description: String
    }

    private static let size = 10_000

    init(_ operation: Operation) throws {
        var hosts = ""
        var zone = """
            $ORIGIN zone.example.
            $TTL 300
            @ SOA ns hostmaster 1 7200 900 86400 300
            @ NS ns
            ns A 192.0.2.53

            """
        for index in 0..<Self.size {
            hosts += "10.0.\(index >> 8).\(index & 255) www.site\(index).example\n"
            zone += "www.site\(index) A 10.1.\(index >> 8).\(index & 255)\n"
        }
        for index in 0..<100 { zone += "*.wild\(index) A 10.2.0.\(index)\n" }

        let folder = try Self.temporaryFolder()
        defer { rmdir(folder) }
        let overrides = try Self.withFile(hosts, folder + "/hosts") {
            HostsReader.load(paths: [$0], settings: HostsSettings())
        }
        let read = try Self.withFile(zone, folder + "/zone") { ZoneReader.read(path: $0) }
        guard let apex = read.apex, read.isLoadable, overrides.diagnostics.list.isEmpty else {
            throw Failure(description: "\(read.diagnostics) \(overrides.diagnostics.list)")
        }
        let cache = AnswerCache()
        if operation == .cache || operation == .cacheBesideRules {
            for index in 0..<1000 { try Self.fill(cache, "www.site\(index).cache.example.") }
        }
        var rules = RuleTable.empty
        if operation == .hostsBesideRules || operation == .cacheBesideRules {
            let text = (0..<100_000).map { index in
                index % 10 == 0
                    ? "*.rule\(index).example * delay=1s\n" : "www.rule\(index).example A servfail rate=20%\n"
            }.joined()
            rules = try Self.withFile(text, folder + "/rules") {
                RuleReader.load(paths: [$0], settings: HostsSettings()).table
            }
        }
        pipeline = Pipeline(
            rules: RuleSet(rules: rules), hosts: overrides.table,
            zones: ZoneSet([Zone(apex: apex, records: read.records, path: "zone")]),
            special: SpecialNames(without: [], routed: []), cache: cache)
    }

    /// Puts an upstream answer with one address into the cache.
    private static func fill(_ cache: AnswerCache, _ text: String) throws {
        var message = QuerySet.query(text)
        message[2] = 0x81
        message[3] = 0x80
        message[7] = 1
        message += [0xC0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1]
        let key = FetchKey(Name(text) ?? .root, Question(type: .a))
        let answer = try message.withUnsafeBytes {
            try UpstreamAnswer.check($0, for: key)
        }
        cache.insert(answer, now: 0)
    }

    private static func temporaryFolder() throws -> String {
        var template = Array("/tmp/instructions.XXXXXX".utf8CString)
        guard let path = mkdtemp(&template) else { throw Failure(description: "mkdtemp: \(errno)") }
        return String(cString: path)
    }

    private static func withFile<Result>(_ text: String, _ path: String, _ body: (String) -> Result) throws -> Result {
        guard let file = fopen(path, "w") else { throw Failure(description: "\(path): \(errno)") }
        let written = fputs(text, file)
        guard fclose(file) == 0, written >= 0 else { throw Failure(description: "\(path): \(errno)") }
        defer { unlink(path) }
        return body(path)
    }
}
