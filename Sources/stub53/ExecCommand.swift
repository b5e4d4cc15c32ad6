import ArgumentParser
import DNSWire
import Daemon
import Glibc
import LDNS
import Platform
import Upstream

/// `stub53 exec`: runs a command whose names are resolved by stub53; the rest of the machine is not affected.
struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run a command that resolves its names through stub53; nothing else on the machine changes.",
        usage: """
            stub53 exec [--server ADDR] [--] COMMAND [ARG...]
            stub53 exec [SOURCES] [--log] [--] COMMAND [ARG...]
            stub53 exec [...] --browser chromium|firefox URL [ARG...]
            """,
        discussion: """
            The command sees its own /etc/resolv.conf, nsswitch.conf and hosts: each name but localhost and the machine's \
            own is asked of stub53. That is the running daemon; or, with any of the options for sources or cassettes, a private \
            one that ends with the command, so that several commands can run side by side with different answers. What is \
            not given is as with 'stub53 serve': /etc/hosts, zones, the system's upstream servers.

            The exit code is the command's: 128 and the signal's number where one ended it, 127 where there is no such \
            command; and 3 where that is 0 and an expectation did not hold.

            Examples:
              stub53 exec -- curl -sI http://acme.org
              stub53 exec --hosts hosts --no-upstream --log -- getent hosts acme.org
              stub53 exec --record acme.cassette -- curl -sI https://acme.org
              stub53 exec --replay acme.cassette -- curl -sI https://acme.org
              stub53 exec --hosts hosts --log json --log-file dns.log -- npm test
              stub53 exec --zones zones --browser chromium http://acme.org
              stub53 exec --hosts hosts --expect dns.expect --junit dns.xml -- npm test
            """)

    @Option(
        help: ArgumentHelp("The daemon to ask, which serves port 53. (default: 127.0.0.53)", valueName: "addr"))
    var server: String?

    // A word that is no form belongs to the command.
    @Option(
        defaultAsFlag: .text, parsing: .next,
        help: ArgumentHelp(
            "Show the private daemon's lookups on standard error when the command has ended.", valueName: "text|json"))
    var log: LogForm?

    @Flag(help: "The same as --log json.")
    var json = false

    @Option(help: ArgumentHelp("Append the lookups to a file instead.", valueName: "path"), completion: .file())
    var logFile: String?

    @Option(
        help: ArgumentHelp(
            "Open a URL in chromium or firefox, with a new profile that is removed afterwards: DoH off.",
            valueName: "name"))
    var browser: Browser?

    @Option(
        help: ArgumentHelp(
            "Compare the private daemon's lookups with a file's expectations (see 'stub53 expect').", valueName: "file")
    )
    var expect: String?

    @Flag(help: "Expect that nothing is asked upstream.")
    var failOnUpstream = false

    @OptionGroup(title: "Output of expectations")
    var output: ExpectationOutput

    @OptionGroup(title: "Sources of a private daemon")
    var sources: SourceOptions

    @OptionGroup(title: "Cassettes of a private daemon")
    var cassette: SettingFlags<CassetteFlags>

    @Argument(
        parsing: .captureForPassthrough,
        help: ArgumentHelp("The command and its arguments, passed on as they are.", valueName: "command"))
    var words: [String] = []

    private var command: [String] { words.first == "--" ? Array(words.dropFirst()) : words }
    private var isPrivate: Bool { !sources.isEmpty || !cassette.settings.isEmpty }
    private var logForm: LogForm? { json ? .json : log ?? (logFile == nil ? nil : .text) }
    private var expects: Bool { expect != nil || failOnUpstream }

    mutating func validate() throws {
        // ArgumentParser passes these through like the command's own words.
        if words.first == "--help" || words.first == "-h" { throw CleanExit.helpRequest(self) }
        if let first = words.first, first.hasPrefix("-"), first != "--" {
            throw ValidationError("Unknown option '\(first)'; the command's own options go after '--'.")
        }
        guard let first = command.first, !first.isEmpty else {
            throw ValidationError(
                browser == nil
                    ? "The command is missing, as in: stub53 exec -- curl http://acme.org"
                    : "The URL is missing, as in: stub53 exec --browser chromium http://acme.org")
        }
        if browser != nil, first.hasPrefix("-") {
            throw ValidationError("'\(first)' is no URL; that comes first, then further arguments for the browser.")
        }
        if let server {
            guard isPrivate == false else {
                throw ValidationError("--server is for a running daemon, sources are for a private one: leave one out.")
            }
            guard Platform.SocketAddress(ip: server, port: 53) != nil else {
                throw ValidationError(
                    "'\(server)' is no IP address; --server takes one without a port, since resolv.conf knows only 53.")
            }
        }
        if expects, !isPrivate {
            throw ValidationError(
                "Expectations are about a private daemon's lookups; start one with \(SourceOptions.names), or use "
                    + "'stub53 expect' with a running one.")
        }
        if !expects, output.isUsed {
            throw ValidationError("--tap, --junit and --summary go with --expect or --fail-on-upstream.")
        }
        if json, log == .text { throw ValidationError("--log text and --json exclude each other: leave one out.") }
        if logForm != nil, !isPrivate {
            throw ValidationError(
                "A running daemon logs to where it was told to. --log shows a private one's lookups; start one with "
                    + "\(SourceOptions.names).")
        }
    }

    mutating func run() throws {
        let profile = try browser.map { _ in try ScratchFolder() }
        defer { profile?.remove() }
        var command = command
        if let browser, let profile { command = try browser.command(command, profile: profile) }
        let code = try isPrivate ? runWithPrivateDaemon(command) : runAttached(command)
        profile?.remove()
        throw ExitCode(code)
    }

    // MARK: The running daemon

    private func runAttached(_ command: [String]) throws -> Int32 {
        let named = server.flatMap { Platform.SocketAddress(ip: $0, port: 53) }
        let address = named ?? Configuration.Listen.standardAddress
        try check(address)
        return try CoveredCommand(command, server: address).wait()
    }

    /// A default address must be checked, because systemd-resolved may have it. With --server the user decides.
    private func check(_ address: Platform.SocketAddress) throws {
        let mend =
            "start stub53 (stub53 serve), name its address with --server, or give --hosts, --zone or --upstream for a "
            + "private one"
        var options = DNSExchange.Options()
        options.timeout = .seconds(2)
        let text: String
        do {
            let question = try QueryCommand.name("version.bind")
            let result = try DNSExchange(UpstreamServer(address: address), options).ask(question, .txt, .ch)
            text =
                try LDNS.Message(wire: result.message).records(.answer).first.map {
                    Presentation.text(rdata: $0.rdata, type: .txt)
                } ?? ""
        } catch let failure as DNSExchange.Failure {
            throw ServiceFailure(.problem, "no daemon answers at \(address): \(failure.reason); \(mend)")
        }
        guard server != nil || text.hasPrefix("\"stub53") else {
            let who = text.isEmpty ? "" : ", which calls itself \(text)"
            throw ServiceFailure(.problem, "\(address) is another server's than stub53's\(who); \(mend)")
        }
    }

    // MARK: A private daemon

    private func runWithPrivateDaemon(_ command: [String]) throws -> Int32 {
        let folder = try ScratchFolder()
        defer { folder.remove() }
        let file = logFile ?? folder.file("lookups")
        let format = logForm.map { ["--log", $0.rawValue, "--log-file=\(file)"] } ?? ["--log", "none"]
        let expectations = try expectations()
        if expects { try output.check() }
        let history = expects ? folder.file("history.db") : nil
        let daemon = try PrivateDaemon.start(sources.arguments + cassette.arguments + format, history: history)
        let lookups = logForm != nil && logFile == nil ? open(file, O_RDONLY | O_CLOEXEC) : -1
        if !expects { folder.remove() }
        defer { if lookups >= 0 { close(lookups) } }
        let code: Int32
        do {
            code = try CoveredCommand(command, server: daemon.address).wait()
        } catch {
            daemon.stop()
            throw error
        }
        let end = daemon.stop()
        if end != 0 {
            Terminal.error("stub53: the private daemon has ended with \(end): the command may have lacked answers")
        }
        if lookups >= 0 { Self.copy(lookups, to: STDERR_FILENO) }
        guard let history else { return code }
        let judged: Int32
        do {
            try judge(expectations, history, isWhole: end == 0)
            judged = 0
        } catch let exit as ExitCode { judged = exit.rawValue } catch {
            Terminal.error("stub53: \(error)")
            judged = ServiceFailure.Code.problem.rawValue
        }
        // The command's own failure explains more.
        return code == 0 ? judged : code
    }

    /// - Throws: `ExitCode` 3 if an expectation failed.
    private func judge(_ expectations: [LookupExpectation], _ history: String, isWhole: Bool) throws {
        let store = try HistoryLookups(history)
        var missing = 0
        var verdicts = try expectations.map { expectation in
            try expectation.judge(
                try expectation.filters.map { filter in
                    var found = FoundLookups(filter)
                    try store.find(filter, &found)
                    missing = max(missing, found.missing)
                    return try found.all()
                })
        }
        if missing > 0 { verdicts.append(LookupExpectation.missing("\(missing) are missing")) }
        if !isWhole { verdicts.append(LookupExpectation.missing("the daemon has ended early")) }
        try output.write(ExpectationReport(verdicts: verdicts), to: STDERR_FILENO)
    }

    private func expectations() throws -> [LookupExpectation] {
        let written = try expect.map(ExpectationOutput.read) ?? []
        return written + (failOnUpstream ? LookupExpectation.neverUpstream : [])
    }

    private static func copy(_ source: Int32, to target: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(source, &buffer, buffer.count)
            guard count > 0 else { return }
            var done = 0
            while done < count {
                let written = buffer.withUnsafeBytes { write(target, $0.baseAddress! + done, count - done) }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return }
                done += written
            }
        }
    }
}

extension Browser: ExpressibleByArgument {}

/// How lookups are logged.
enum LogForm: String, ExpressibleByArgument {
    case text, json
}
