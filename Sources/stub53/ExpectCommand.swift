import ArgumentParser
import Daemon
import Glibc
import Inspector
import LookupLog
import Platform

/// `stub53 expect`: compares a daemon's lookups with what is expected of them.
struct ExpectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "expect",
        abstract: "Compare a daemon's lookups with expectations; for CI.",
        discussion: """
            FILE has one expectation a line: a count (always, never, 2 times, at most 5, at least 1, within 50ms) and a \
            filter as of 'stub53 log'. 'always' means that each lookup that asks this is answered so, and that there is \
            one. The exit code is 3 if one does not hold.

            Examples:
              stub53 expect dns.expect --since 10m
              stub53 expect dns.expect --since 10m --junit dns.xml
              stub53 exec --hosts hosts --expect dns.expect -- npm test
            """)

    @OptionGroup(title: "Daemon")
    var control: ControlOptions

    @Option(help: ArgumentHelp("Read a history's file, and ask no daemon.", valueName: "path"))
    var history: String?

    @Option(
        help: ArgumentHelp("Lookups from a time on: 10m, 2h, 1d ago, or as 2026-11-23T17:00:00Z.", valueName: "time"))
    var since: String?

    @OptionGroup(title: "Output")
    var output: ExpectationOutput

    @Argument(help: "The expectations.", completion: .file())
    var file: String

    mutating func validate() throws {
        if history != nil, control.control != nil {
            throw ValidationError("A history's file is read here, and no daemon is asked: leave one out.")
        }
        do { _ = try window() } catch { throw ValidationError("\(error)") }
    }

    /// Fixed once, so that all expectations are about the same lookups.
    private func window() throws(LookupFilter.Problem) -> String {
        let now = SystemClock.wall()
        let begin = try since.map { text throws(LookupFilter.Problem) in
            try LookupFilter(words: "since:\(text)", now: now).since ?? 0
        }
        return (begin.map { " since:\(CalendarTime.timestamp($0))" } ?? "") + " until:\(CalendarTime.timestamp(now))"
    }

    mutating func run() async throws {
        let expectations = try ExpectationOutput.read(file)
        try output.check()
        let window = try window()
        var verdicts: [LookupExpectation.Verdict] = []
        var missing = 0
        let store = try history.map { try HistoryLookups($0) }
        let client = store == nil ? try control.client() : nil
        for expectation in expectations {
            var found: [[LookupExpectation.Lookup]] = []
            for filter in expectation.filters {
                var lookups = FoundLookups(filter)
                if let store {
                    try store.find(filter + window, &lookups)
                } else if let client {
                    let target = "/v1/lookups?format=json&filter=\((filter + window).percentEncoded)"
                    try await client.send(.get, target) { lookups.take($0) }
                }
                found.append(try lookups.all())
                missing = max(missing, lookups.missing)
            }
            verdicts.append(expectation.judge(found))
        }
        if missing > 0 { verdicts.append(LookupExpectation.missing("\(missing) are missing")) }
        try output.write(ExpectationReport(verdicts: verdicts))
    }
}

/// Where the verdicts go.
struct ExpectationOutput: ParsableArguments {
    @Flag(help: "As TAP, the Test Anything Protocol.")
    var tap = false

    @Option(help: ArgumentHelp("Also as JUnit's XML.", valueName: "file"), completion: .file())
    var junit: String?

    @Option(
        help: ArgumentHelp("Also appended as Markdown, as to $GITHUB_STEP_SUMMARY.", valueName: "file"),
        completion: .file())
    var summary: String?

    var isUsed: Bool { tap || junit != nil || summary != nil }

    /// An expectation that did not hold.
    static let failure: Int32 = 3

    static func read(_ file: String) throws -> [LookupExpectation] {
        let text: [UInt8]
        do { text = try FileText.bytes(of: file, limit: 16 << 20) } catch {
            throw ServiceFailure(.configuration, "\(file): \(error); name a file of expectations")
        }
        let (expectations, problems) = LookupExpectation.read(text, path: file)
        guard !problems.hasErrors else {
            for problem in problems.list { Terminal.error("stub53: \(problem)") }
            throw ExitCode(ServiceFailure.Code.configuration.rawValue)
        }
        return expectations
    }

    /// Whether the files can be written, before a long test runs.
    func check() throws {
        for path in [junit, summary].compactMap(\.self) { close(try Self.open(path, O_APPEND)) }
    }

    /// - Throws: `ExitCode` 3 if an expectation failed.
    func write(_ report: ExpectationReport, to descriptor: Int32 = STDOUT_FILENO) throws {
        Terminal.write(Array((tap ? report.tap : report.text).utf8), to: descriptor)
        if let junit { try Self.write(report.junit, to: junit, O_TRUNC) }
        if let summary { try Self.write(report.markdown, to: summary, O_APPEND) }
        if !report.failures.isEmpty { throw ExitCode(Self.failure) }
    }

    private static func write(_ text: String, to path: String, _ mode: Int32) throws {
        let descriptor = try open(path, mode)
        defer { close(descriptor) }
        Terminal.write(Array(text.utf8), to: descriptor)
    }

    private static func open(_ path: String, _ mode: Int32) throws(ServiceFailure) -> Int32 {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0o644)
        guard descriptor >= 0 else {
            throw ServiceFailure(
                .problem, "\(path) can't be written: \(String(cString: strerror(errno))); name another file")
        }
        return descriptor
    }
}
