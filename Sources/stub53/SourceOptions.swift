import ArgumentParser
import Daemon
import Platform

/// Options for sources of answers: shared by `serve`, `check`, `why`, `exec` and `trace`.
struct SourceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read settings from a YAML file; options win over it.", valueName: "file"))
    var config: String?

    @OptionGroup var flags: SettingFlags<SourceFlags>

    /// All options for display: `--config, --hosts or --zones`.
    static var names: String {
        let all = ["--config"] + SettingFlags<SourceFlags>.names
        return all.dropLast().joined(separator: ", ") + " or " + (all.last ?? "")
    }

    /// Whether no option is given.
    var isEmpty: Bool { config == nil && flags.settings.isEmpty }

    /// The options as given, to pass to another process.
    var arguments: [String] { (config.map { ["--config=\($0)"] } ?? []) + flags.arguments }

    /// Reads the configuration; problems go to standard error and end the command with code 78.
    func configuration(_ more: [Configuration.Option] = []) throws -> Configuration {
        let (configuration, diagnostics) = Configuration.read(file: config, options: flags.settings + more)
        for diagnostic in diagnostics.list { Terminal.error("stub53: \(diagnostic)") }
        if diagnostics.hasErrors { throw ExitCode(ServiceFailure.Code.configuration.rawValue) }
        return configuration
    }
}
