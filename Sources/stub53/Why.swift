import ArgumentParser
import DNSWire
import Resolution
import Server

/// `stub53 why`: which source answers a name, and what the others would have said.
struct Why: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show who answers a name and why: each source in its order, with FILE:LINE.",
        discussion: """
            Reads the files that 'serve' would read, and asks no server: what upstream would say is not known here.

            Examples:
              stub53 why acme.org
              stub53 why www.acme.org HTTPS --hosts hosts --zones zones
              stub53 why over.acme.org MX --config stub53.yaml
            """)

    @OptionGroup(title: "Sources")
    var sources: SourceOptions

    @Argument(help: "The name that is looked up.")
    var name: String

    @Argument(help: "The record type, as A, HTTPS or TYPE65.")
    var type = "A"

    mutating func validate() throws {
        _ = try Query.name(name)
        guard let type = RecordType(mnemonic: type) else {
            throw ValidationError("'\(type)' is no record type; give one as A, AAAA, HTTPS or TYPE65.")
        }
        guard !type.isMeta || type == .any else { throw ValidationError("\(type) is no type that a name has.") }
    }

    mutating func run() throws {
        guard let type = RecordType(mnemonic: type) else { return }
        let configuration = try sources.configuration()
        let loaded = configuration.load()
        let errors = loaded.diagnostics.list.count { $0.severity == .error }
        if errors > 0 {
            Terminal.error("stub53: \(Terminal.count(errors, "problem")) in the files; 'stub53 check' lists them")
        }
        let sources = ConfiguredSources(sources: loaded, configuration: configuration)
        print(ExplanationText(sources.explain(try Query.name(name), type)).text)
    }
}
