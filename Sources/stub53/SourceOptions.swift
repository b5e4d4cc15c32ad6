import ArgumentParser
import Daemon
import Platform

/// What says where answers come from: the same for `serve`, `check`, `why`, `exec` and `trace`.
struct SourceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read settings from a YAML file; options win over it.", valueName: "file"))
    var config: String?

    @OptionGroup var flags: SettingFlags<SourceFlags>

    /// All options, for people: `--config, --hosts or --zones`.
    static var names: String {
        let all = ["--config"] + SettingFlags<SourceFlags>.names
        return all.dropLast().joined(separator: ", ") + " or " + (all.last ?? "")
    }

    /// None of the options is given.
    var isEmpty: Bool { config == nil && flags.settings.isEmpty }

    /// The options as they were given, for another process.
    var arguments: [String] { (config.map { ["--config=\($0)"] } ?? []) + flags.arguments }

    /// Reads the configuration; problems go to standard error and end the command with code 78.
    func configuration(_ more: [Configuration.Option] = []) throws -> Configuration {
        let (configuration, diagnostics) = Configuration.read(file: config, options: flags.settings + more)
        for diagnostic in diagnostics.list { Terminal.error("stub53: \(diagnostic)") }
        if diagnostics.hasErrors { throw ExitCode(ServiceFailure.Code.configuration.rawValue) }
        return configuration
    }
}
