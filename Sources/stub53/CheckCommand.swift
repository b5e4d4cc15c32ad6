import ArgumentParser
import Cassettes
import Daemon
import Platform

/// `stub53 check`: reports problems in the files that `serve` would read.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check configuration, overrides and zones: every problem as FILE:LINE: WHY.",
        discussion: """
            Exit code 1 when there is an error; warnings alone are fine.

            Examples:
              stub53 check
              stub53 check --no-hosts --zone zones/acme.org.zone
              stub53 check --config stub53.yaml
            """)

    @OptionGroup(title: "Sources")
    var sources: SourceOptions

    @OptionGroup(title: "Cassettes")
    var cassette: SettingFlags<CassetteFlags>

    mutating func run() throws {
        let (configuration, found) = Configuration.read(
            file: sources.config, options: sources.flags.settings + cassette.settings)
        var diagnostics = found
        // Continues with what could be read, to show all problems at once.
        let loaded = configuration.load()
        diagnostics.append(contentsOf: loaded.diagnostics)
        diagnostics.append(contentsOf: configuration.cassette.check())
        for warning in loaded.longChains { diagnostics.append(warning) }
        for diagnostic in diagnostics.list { print(diagnostic) }
        if diagnostics.left > 0 { print("... and \(diagnostics.left) more") }
        if !diagnostics.list.isEmpty { print() }
        print(loaded.summary)
        let errors = diagnostics.list.count { $0.severity == .error }
        let warnings = diagnostics.list.count - errors
        print()
        let counts = [(errors, "error"), (warnings, "warning")].filter { $0.0 > 0 }.map { Terminal.count($0.0, $0.1) }
        print(counts.isEmpty ? "no problems" : counts.joined(separator: ", "))
        if diagnostics.hasErrors { throw ExitCode(ServiceFailure.Code.problem.rawValue) }
    }
}
