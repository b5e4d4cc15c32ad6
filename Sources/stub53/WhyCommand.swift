import ArgumentParser
import DNSWire
import Daemon
import Inspector
import Platform

/// `stub53 why`: shows which source answers for a name, and what the others have.
struct WhyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Show who answers a name and why: each source in its order, with FILE:LINE.",
        discussion: """
            Asks the running daemon, which knows its cache and its upstream servers. With options for sources, or where \
            no daemon runs, it reads the files that 'serve' would read: what upstream would say is not known then.

            Examples:
              stub53 why acme.org
              stub53 why www.acme.org HTTPS --ask
              stub53 why over.acme.org MX --hosts hosts --zones zones
            """)

    @OptionGroup(title: "Sources")
    var sources: SourceOptions

    @OptionGroup(title: "Daemon")
    var control: ControlOptions

    @Flag(help: "Read the files, although a daemon runs.")
    var offline = false

    @Flag(help: "Have the daemon ask upstream now, and show what it says.")
    var ask = false

    @Flag(help: "As JSON.")
    var json = false

    @Argument(help: "The name that is looked up.")
    var name: String

    @Argument(help: "The record type, as A, HTTPS or TYPE65.")
    var type = "A"

    mutating func validate() throws {
        _ = try QueryCommand.name(name)
        guard let type = RecordType(mnemonic: type) else {
            throw ValidationError("'\(type)' is no record type; give one as A, AAAA, HTTPS or TYPE65.")
        }
        guard !type.isMeta || type == .any else { throw ValidationError("\(type) is no type that a name has.") }
    }

    mutating func run() async throws {
        guard let type = RecordType(mnemonic: type) else { return }
        let name = try QueryCommand.name(name)
        let explanation =
            if let client = try daemon() {
                try await client.ask(
                    .get, "/v1/why?name=\("\(name)".percentEncoded)&type=\(type)&ask=\(ask ? 1 : 0)",
                    as: Explanation.self)
            } else { try explain(name, type) }
        if json { print(try JSONText.of(explanation)) } else { print(ExplanationText(explanation).text) }
    }

    /// The daemon to ask; nil: use the files.
    private func daemon() throws -> ControlClient? {
        if !sources.isEmpty || offline {
            guard !ask, control.control == nil else {
                throw ValidationError(
                    "Files are read here, and no daemon is asked: leave out \(ask ? "--ask" : "--control"), "
                        + "or the options for sources.")
            }
            return nil
        }
        if ask || control.control != nil { return try control.client() }
        guard let client = try? control.client(), client.isAlive else { return nil }
        return client
    }

    private func explain(_ name: Name, _ type: RecordType) throws -> Explanation {
        let configuration = try sources.configuration()
        let loaded = configuration.load()
        let errors = loaded.diagnostics.list.count { $0.severity == .error }
        if errors > 0 {
            Terminal.error("stub53: \(Terminal.count(errors, "problem")) in the files; 'stub53 check' lists them")
        }
        return ConfiguredSources(sources: loaded).explain(name, type)
    }
}
