import ArgumentParser
import Daemon
import Glibc
import History
import Inspector
import Lookup
import LookupLog
import Platform

/// `stub53 log`: shows a daemon's stored lookups, and new ones.
struct LogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Show the lookups of a daemon: those it has kept, and live.",
        discussion: """
            Without a time and a number, the last 100 are shown. Options of one kind mean any of them, options of several \
            kinds all of them; a pattern may hold *. Where no daemon runs, its history is read from the file.

            Examples:
              stub53 log --follow
              stub53 log --since 10m --name '*.acme.org' --type HTTPS --rcode NXDOMAIN
              stub53 log --since 1h --client firefox --csv > lookups.csv
              stub53 log --since 5m --pcap lookups.pcapng
            """)

    @OptionGroup(title: "Daemon")
    var control: ControlOptions

    @Option(help: ArgumentHelp("Read a history's file, and ask no daemon.", valueName: "path"))
    var history: String?

    @Flag(name: .shortAndLong, help: "Go on with the lookups that come.")
    var follow = false

    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("The newest so many.", valueName: "count"))
    var lines: Int?

    @Flag(help: "As JSON lines, as the daemon's log has them.")
    var json = false

    @Flag(help: "Only how many there are.")
    var count = false

    @Flag(help: "Show nothing; the exit code is 1 if nothing fits.")
    var exists = false

    @Flag(help: "As a table for spreadsheets.")
    var csv = false

    @Option(help: ArgumentHelp("Write packets for Wireshark, with the reasons as comments.", valueName: "file"))
    var pcap: String?

    @Option(help: ArgumentHelp("From a time on: 10m, 2h, 1d ago, or as 2026-11-23T17:00:00Z.", valueName: "time"))
    var since: String?

    @Option(help: ArgumentHelp("Up to a time.", valueName: "time"))
    var until: String?

    @Option(help: ArgumentHelp("A name, as acme.org or '*.acme.org'.", valueName: "pattern"))
    var name: [String] = []

    @Option(help: "A record type, as A or HTTPS.")
    var type: [String] = []

    @Option(help: "Who answered: \(Self.list(SourceKind.allCases)).")
    var source: [String] = []

    @Option(help: "A response code, as NXDOMAIN, or one of \(Self.rcodeWords).")
    var rcode: [String] = []

    @Option(help: "An address, a command's name, or a process's number.")
    var client: [String] = []

    @Option(help: "How it came: \(Self.list(Transport.allCases)).")
    var transport: [String] = []

    @Argument(help: ArgumentHelp("The same in words, as name:acme.org type:A.", valueName: "filter"))
    var words: [String] = []

    private static var rcodeWords: String {
        list(AnswerKind.allCases.compactMap { $0.word.map { "\($0)" } } + [LookupFilter.privateWord])
    }

    /// `udp, tcp, dot or doh`.
    private static func list(_ words: [some CustomStringConvertible]) -> String {
        let words = words.map(\.description)
        return words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    }

    mutating func validate() throws {
        guard [json, csv, pcap != nil, count, exists].count(where: { $0 }) <= 1 else {
            throw ValidationError(
                "--json, --csv, --pcap, --count and --exists exclude each other: leave all but one out.")
        }
        if follow, count || exists { throw ValidationError("Lookups to come can't be counted: leave --follow out.") }
        if follow, pcap != nil { throw ValidationError("--pcap writes what was kept: leave --follow out.") }
        if follow, history != nil {
            throw ValidationError("A file has nothing to follow: leave --follow or --history out.")
        }
        if let lines, !(0...1_000_000).contains(lines) {
            throw ValidationError("--lines takes a number from 0 to 1000000.")
        }
        do { _ = try LookupFilter(words: filter) } catch { throw ValidationError("\(error)") }
    }

    /// All conditions as words of one filter.
    private var filter: String {
        // Blanks separate words of a filter, but commands may contain them ("Web Content").
        let commands = client.map { $0.replacing(" ", with: "*") }
        let kinds = [
            ("name", name), ("type", type), ("source", source), ("rcode", rcode), ("client", commands),
            ("transport", transport), ("since", [since].compactMap { $0 }), ("until", [until].compactMap { $0 }),
        ]
        return (words + kinds.flatMap { kind, values in values.map { "\(kind):\($0)" } }).joined(separator: " ")
    }

    private var form: LookupExport.Form {
        if json || count || exists { return .json }
        if csv { return .csv }
        return pcap == nil ? .text : .pcapng
    }

    /// How many of the newest to show; nil: all matches.
    private var limit: Int? {
        if exists { return 1 }
        return lines ?? (since == nil && pcap == nil && !count ? 100 : nil)
    }

    mutating func run() async throws {
        var output = STDOUT_FILENO
        if let pcap, pcap != "-" {
            output = open(pcap, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
            guard output >= 0 else {
                throw ServiceFailure(.problem, "\(pcap): \(String(cString: strerror(errno)))")
            }
        }
        defer { if output != STDOUT_FILENO { close(output) } }
        if let history { return try await read(history, to: output) }
        let found = try? control.client()
        if found?.isAlive != true, control.control == nil, !follow {
            // Without a daemon, the stored lookups can still be read.
            let path = Configuration().history.path.value ?? ""
            if access(path, R_OK) == 0 { return try await read(path, to: output) }
        }
        let client = try found ?? control.client()
        let target =
            "?filter=\(filter.percentEncoded)&format=\(form)&colors=\(Terminal.hasColors && pcap == nil ? 1 : 0)"
        // The daemon subscribes before it reads stored lookups, so nothing is missed; new ones wait meanwhile.
        if follow {
            try await client.send(.get, "/v1/lookups/live\(target)&last=\(limit ?? 1_000_000)") { Terminal.write($0) }
        } else {
            let count = limit.map { "&limit=\($0)" } ?? ""
            var sink = Sink(self, output)
            try await client.send(.get, "/v1/lookups\(target)\(count)") { sink.take($0) }
            try sink.end()
        }
    }

    private func read(_ path: String, to output: Int32) async throws {
        let searches: HistorySearches
        do {
            // This process does nothing else, so its searches need no time limit.
            searches = try HistorySearches(try HistoryStore(reading: path), threads: 1, seconds: nil)
        } catch { throw ServiceFailure(.problem, "\(error)") }
        let export = LookupExport(
            form: form, colors: Terminal.hasColors && pcap == nil, filter: try LookupFilter(words: filter), limit: limit
        )
        var sink = Sink(self, output)
        try await export.write(try await export.begin(in: searches), from: searches) { sink.take($0) }
        try sink.end()
    }

    /// Shows or counts what comes.
    private struct Sink {
        private let command: LogCommand
        private let output: Int32
        private var isEmpty = true
        private var count = 0
        /// The beginning of a line whose end has not come yet.
        private var rest: [UInt8] = []

        init(_ command: LogCommand, _ output: Int32) {
            self.command = command
            self.output = output
        }

        mutating func take(_ bytes: [UInt8]) {
            isEmpty = isEmpty && bytes.isEmpty
            if command.count || command.exists {
                rest += bytes
                guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { return }
                count += rest[..<end].split(separator: UInt8(ascii: "\n")).count { !FoundLookups.isLoss($0) }
                rest.removeSubrange(...end)
            } else {
                Terminal.write(bytes, to: output)
            }
        }

        func end() throws {
            if command.count { return print(count) }
            if command.exists {
                if count == 0 { throw ExitCode(ServiceFailure.Code.problem.rawValue) }
            } else if isEmpty {
                command.reportNoLookups()
            }
        }
    }

    /// Explains empty output, which would look like a fault.
    private func reportNoLookups() {
        if limit != 0 { Terminal.error("stub53: no lookup fits\(filter.isEmpty ? ": none is kept yet" : "")") }
    }
}
