import ArgumentParser
import DNSWire
import Daemon
import Flow
import Platform
import Upstream

/// `stub53 trace`: follows a URL to its page and shows each step.
struct TraceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract:
            "Walk the whole HTTPS flow of a URL: lookups, redirect, TLS, response; and where it can be downgraded.",
        discussion: """
            Lookups go to --server. With any of the source options they are answered in this process instead, from the \
            files that 'serve' would read, and each answer has its FILE:LINE. Exit code 1 when the flow comes to no \
            response.

            Examples:
              stub53 trace http://acme.org --server 127.0.0.1:5300
              stub53 trace https://acme.org --format json
              stub53 trace http://www.acme.org --hosts hosts --zones zones --no-upstream
              stub53 trace http://acme.org --ca ca.pem --format mermaid
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument { case text, json, mermaid }

    @Argument(help: ArgumentHelp("Where to; without a scheme it is http.", valueName: "url"))
    var url: String

    @Option(help: ArgumentHelp("text, json, or mermaid: a sequence diagram.", valueName: "format"))
    var format = Format.text

    @Option(
        help: ArgumentHelp(
            "The DNS server to ask. (default: \(Configuration.Listen.standardAddress))", valueName: "addr[:port]"))
    var server: String?

    @Option(help: ArgumentHelp("Trust the certificates of a PEM file, besides the system's.", valueName: "file"))
    var ca: String?

    @Option(help: ArgumentHelp("Seconds that each step may take.", valueName: "seconds"))
    var timeout = 5

    @OptionGroup(title: "Sources, in place of a server")
    var sources: SourceOptions

    private var asksSources: Bool { !sources.isEmpty }

    mutating func validate() throws {
        guard (1...60).contains(timeout) else { throw ValidationError("--timeout is 1 to 60 seconds.") }
        _ = try start()
        guard !asksSources || server == nil else {
            throw ValidationError("--server and the source options exclude each other: leave one out.")
        }
        _ = try dnsServer()
    }

    mutating func run() async throws {
        var limits = FlowWalk.Limits()
        limits.step = .seconds(timeout)
        let walk: FlowWalk
        do {
            walk = try FlowWalk(
                lookup: try lookup(), authorities: ca, agent: "stub53/\(Release.version)", limits: limits)
        } catch let problem as FlowWalk.Problem {
            throw ServiceFailure(.configuration, "\(problem)")
        }
        let flow = await walk.walk(from: try start())
        switch format {
        case .text: for line in flow.lines { print(Terminal.colored(line.text, line.isProblem ? .red : nil)) }
        case .json: print(flow.json, terminator: "")
        case .mermaid: print(flow.mermaid, terminator: "")
        }
        guard flow.reachedPage else { throw ExitCode(ServiceFailure.Code.problem.rawValue) }
    }

    private func start() throws -> FlowURL {
        do {
            return try FlowURL(typed: url)
        } catch {
            throw ValidationError("\(quoted(url.utf8)): \(error).")
        }
    }

    private func dnsServer() throws -> UpstreamServer {
        do {
            return try UpstreamServer(parsing: server ?? "\(Configuration.Listen.standardAddress)")
        } catch {
            throw ValidationError("--server \(error).")
        }
    }

    private func lookup() throws -> any NameLookup {
        guard asksSources else { return LookupByServer(server: try dnsServer(), timeout: .seconds(timeout)) }
        let configuration = try sources.configuration()
        let loaded = configuration.load()
        let errors = loaded.diagnostics.list.count { $0.severity == .error }
        if errors > 0 {
            Terminal.error("stub53: \(Terminal.count(errors, "problem")) in the files; 'stub53 check' lists them")
        }
        return LookupBySources(
            configured: ConfiguredSources(sources: loaded), timeout: .seconds(timeout))
    }
}
