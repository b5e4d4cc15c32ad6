import ArgumentParser
import Daemon
import Platform

/// What says where answers come from: the same for `serve`, `check`, `why` and `exec`.
struct SourceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read settings from a YAML file; options win over it.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("Overrides: a hosts file or a folder of them. (default: /etc/hosts)", valueName: "path"))
    var hosts: [String] = []

    @Flag(help: "No overrides.")
    var noHosts = false

    @Option(
        help: ArgumentHelp(
            "Serve the *.zone files of a folder. (default: zones, or else /etc/stub53/zones)", valueName: "folder"))
    var zones: [String] = []

    @Option(help: ArgumentHelp("Serve a zone file; its name comes from its SOA, or is NAME.", valueName: "[name=]file"))
    var zone: [String] = []

    @Option(
        help: ArgumentHelp(
            "Forward to a server, or a domain's questions to it. (default: those of /etc/resolv.conf)",
            valueName: "[domain=]server"))
    var upstream: [String] = []

    @Flag(help: "Forward nothing: only local data is served.")
    var noUpstream = false

    mutating func validate() throws {
        if noHosts, !hosts.isEmpty {
            throw ValidationError("--no-hosts and --hosts exclude each other: leave one out.")
        }
        if noUpstream, !upstream.isEmpty {
            throw ValidationError("--no-upstream and --upstream exclude each other: leave one out.")
        }
    }

    /// The settings that these options make.
    var settings: [Configuration.Option] {
        var settings: [Configuration.Option] = []
        if !hosts.isEmpty { settings.append(.init("--hosts", "hosts.files", hosts)) }
        if noHosts { settings.append(.init("--no-hosts", "hosts.files", ["none"])) }
        if !zones.isEmpty { settings.append(.init("--zones", "zones.folders", zones)) }
        if !zone.isEmpty { settings.append(.init("--zone", "zones.files", zone)) }
        if !upstream.isEmpty { settings.append(.init("--upstream", "upstream.servers", upstream)) }
        if noUpstream { settings.append(.init("--no-upstream", "upstream.servers", ["none"])) }
        return settings
    }

    /// The options as they were given, for another process; none when none was.
    var arguments: [String] {
        let several = [("--hosts", hosts), ("--zones", zones), ("--zone", zone), ("--upstream", upstream)]
        return [config].compactMap { $0 }.map { "--config=\($0)" }
            + several.flatMap { flag, values in values.map { "\(flag)=\($0)" } }
            + [(noHosts, "--no-hosts"), (noUpstream, "--no-upstream")].filter(\.0).map(\.1)
    }

    /// Reads the configuration; problems go to standard error and end the command with code 78.
    func configuration(_ more: [Configuration.Option] = []) throws -> Configuration {
        let (configuration, diagnostics) = Configuration.read(file: config, options: settings + more)
        for diagnostic in diagnostics.list { Terminal.error("stub53: \(diagnostic)") }
        if diagnostics.hasErrors { throw ExitCode(ServiceFailure.Code.configuration.rawValue) }
        return configuration
    }
}
