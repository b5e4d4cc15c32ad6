import DNSWire
import LocalData
import Pipeline
import Platform
import Synchronization
import Transports

/// One problem with a file.
package struct ProblemReport: Sendable, Hashable, Codable {
    /// FILE:LINE, or FILE.
    package var rule: String
    /// `error` or `warning`.
    package var severity: String
    /// What is wrong, and how to fix it.
    package var message: String

    init(_ diagnostic: Diagnostic) {
        rule = "\(diagnostic.place)"
        severity = diagnostic.severity == .error ? "error" : "warning"
        message = diagnostic.message
    }
}

/// One zone, or a zone file without one.
package struct ZoneReport: Sendable, Hashable, Codable {
    /// Nil if the file never loaded.
    package var apex: String?
    package var serial: UInt32?
    package var records: Int?
    package var file: String
    /// When the served version was read, in the lookup log's format.
    package var loaded: String?
    /// The file can't be loaded now: its last good version is served.
    package var hasFailed: Bool
    package var problems: [ProblemReport]

    enum CodingKeys: String, CodingKey {
        case apex, serial, records, file, loaded
        case hasFailed = "failed"
        case problems
    }
}

/// One hosts file.
package struct HostsFileReport: Sendable, Hashable, Codable {
    package var file: String
    /// Names whose first line is in this file.
    package var names: Int
    /// The file can't be read now: its last good lines are served.
    package var hasFailed = false
    package var problems: [ProblemReport]

    enum CodingKeys: String, CodingKey {
        case file, names
        case hasFailed = "failed"
        case problems
    }
}

/// One rules file.
package struct RulesFileReport: Sendable, Hashable, Codable {
    package var file: String
    package var rules: Int
    /// The file can't be read now: its last good rules are in force.
    package var hasFailed = false
    package var problems: [ProblemReport]

    enum CodingKeys: String, CodingKey {
        case file, rules
        case hasFailed = "failed"
        case problems
    }
}

/// The rules in force.
package struct RuleListing: Sendable, Hashable, Codable {
    /// The newest first: in the order in which they are asked, before those of files.
    package var leases: [RuleLease]
    package var files: [RulesFileReport]
}

/// Lines of overrides.
package struct OverrideListing: Sendable, Hashable, Codable {
    /// One name and one of its addresses.
    package struct Line: Sendable, Hashable, Codable {
        package var name: String
        package var address: String
        /// FILE:LINE, or `override:NUMBER` of a lease.
        package var rule: String
    }

    /// Leases first, then in file order.
    package var lines: [Line]
    /// There are more than the limit.
    package var hasMore: Bool

    enum CodingKeys: String, CodingKey {
        case lines
        case hasMore = "has_more"
    }
}

extension DaemonControl {
    private var sources: LoadedSources { daemon.state.withLock { $0.sources } }

    /// The zones in file order, then the files that failed to load.
    package func zones() -> [ZoneReport] {
        let sources = sources
        let served = sources.zones.zones.map { zone in
            ZoneReport(
                apex: "\(zone.apex)", serial: zone.serial, records: zone.recordCount, file: zone.path,
                loaded: CalendarTime.timestamp(zone.loaded), hasFailed: sources.failedZones.contains(zone.path),
                problems: sources.problems(of: zone.path))
        }
        let others = sources.failedZones.filter { path in !served.contains { $0.file == path } }
        return served + others.map { ZoneReport(file: $0, hasFailed: true, problems: sources.problems(of: $0)) }
    }

    /// The hosts files in reading order.
    package func hostsFiles() -> [HostsFileReport] {
        let sources = sources
        let names = sources.hosts.namesByFile()
        return sources.hostsFiles.map { path in
            HostsFileReport(
                file: path, names: names[Place(path: path).file] ?? 0,
                hasFailed: sources.keptHosts.contains(path),
                problems: sources.problems(of: path))
        }
    }

    /// The leased rules, and the rules files in reading order.
    package func rules() -> RuleListing {
        let sources = sources
        var counts: [UInt32: Int] = [:]
        for rule in sources.rules.rules { counts[rule.place.file, default: 0] += 1 }
        return RuleListing(
            leases: ruleLeases(),
            files: sources.rulesFiles.map { path in
                RulesFileReport(
                    file: path, rules: counts[Place(path: path).file] ?? 0,
                    hasFailed: sources.keptRules.contains(path),
                    problems: sources.problems(of: path))
            })
    }

    /// All problems in the files as last read; at most the first thousand.
    package func problems() -> [ProblemReport] { sources.diagnostics.list.map(ProblemReport.init) }

    /// Overrides whose names contain `text`; for `*.acme.org`, those below acme.org.
    package func overrideLines(matching text: String = "", limit: Int = 100) -> OverrideListing {
        let overrides = daemon.store.current().data.pipeline.overrides
        let pattern = NameSearch(text)
        let limit = max(0, limit)
        let leased = overrides.leases.lines(matching: pattern, limit: limit)
        let filed = overrides.hosts.lines(matching: pattern, limit: limit - leased.lines.count)
        return OverrideListing(
            lines: (leased.lines + filed.lines).map { line in
                OverrideListing.Line(name: "\(line.name)", address: line.address, rule: "\(line.place)")
            }, hasMore: leased.hasMore || filed.hasMore)
    }
}

extension LoadedSources {
    fileprivate func problems(of path: String) -> [ProblemReport] {
        diagnostics.list.filter { $0.place.path == path }.map(ProblemReport.init)
    }
}
