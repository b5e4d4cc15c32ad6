import ArgumentParser
import CLinux
import Daemon
import History
import Inspector
import LookupLog
import Platform

/// `stub53 serve`: the daemon.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer DNS queries until told to stop.",
        discussion: """
            Prints 'ready' and the addresses served once it answers. SIGTERM and SIGINT end it, SIGHUP reloads; changed \
            files are loaded by themselves.

            Examples:
              stub53 serve
              stub53 serve --listen 127.0.0.1:5300 --hosts hosts --zones zones
              stub53 serve --upstream 9.9.9.9 --upstream corp.example=10.0.0.1
            """)

    @OptionGroup(title: "Sources")
    var sources: SourceOptions

    @Option(
        help: ArgumentHelp(
            "Serve UDP and TCP here, or TLS (tls://), or HTTPS (https://). (default: 127.0.0.53:53)",
            valueName: "[scheme://]addr[:port]"))
    var listen: [String] = []

    @Option(
        help: ArgumentHelp(
            "Certificate for TLS and HTTPS, PEM. (default: one of the local CA, see 'stub53 trust')", valueName: "path")
    )
    var certificate: String?

    @Option(help: ArgumentHelp("The certificate's private key, PEM.", valueName: "path"))
    var key: String?

    @Option(help: ArgumentHelp("How lookups are logged: text, json or none. (default: text)", valueName: "format"))
    var log: String?

    @Option(help: ArgumentHelp("Log lookups to a file. (default: standard output)", valueName: "path"))
    var logFile: String?

    @Option(help: ArgumentHelp("Serving threads. (default: one per core)", valueName: "n"))
    var workers: String?

    @Option(help: ArgumentHelp("Memory for upstream's answers: bytes, or as 64M. (default: 64M)", valueName: "bytes"))
    var cacheSize: String?

    @Flag(help: "Start although a zone is bad; it is reported and not served.")
    var keepGoing = false

    @Flag(help: "List the keys of the --config file, and end.")
    var helpKeys = false

    /// For `exec`, whose daemon is not to outlive it.
    @Flag(help: .hidden) var endWithInput = false

    @Option(
        help: ArgumentHelp("Serve the inspector page here, or off. (default: 127.0.0.53:8053)", valueName: "addr:port"))
    var inspector: String?

    @Option(
        help: ArgumentHelp(
            "Unix socket of 'stub53 log', 'stats', 'flush' and the like, or off. (default: /run/stub53/control.sock)",
            valueName: "path"))
    var control: String?

    @Option(help: ArgumentHelp("Keep lookups in this database, or off. (default: one)", valueName: "path"))
    var history: String?

    @Option(
        help: ArgumentHelp(
            "Send dnstap to a file, a Unix socket (unix:PATH) or an address (tcp:ADDR:PORT).", valueName: "where"))
    var dnstap: [String] = []

    mutating func run() async throws {
        if helpKeys {
            print(ConfigurationKey.reference)
            return
        }
        var settings: [Configuration.Option] = []
        if !listen.isEmpty { settings.append(.init("--listen", "listen", listen)) }
        let single = [
            ("--log", "log.format", log), ("--log-file", "log.file", logFile), ("--workers", "workers", workers),
            ("--cache-size", "cache.size", cacheSize), ("--inspector", "inspector", inspector),
            ("--control", "control", control), ("--certificate", "tls.certificate", certificate),
            ("--key", "tls.key", key), ("--history", "history.path", history),
        ]
        for case (let flag, let key, let value?) in single { settings.append(.init(flag, key, [value])) }
        if !dnstap.isEmpty { settings.append(.init("--dnstap", "dnstap.to", dnstap)) }
        if keepGoing { settings.append(.init("--keep-going", "keep-going", ["yes"])) }
        if endWithInput, clinux_end_with_input() != 0 {
            throw ServiceFailure(.problem, "a thread can't be started; end some processes, or raise 'ulimit -u'")
        }
        let configuration = try sources.configuration(settings)
        let live = LiveLookups()
        let history = try openHistory(configuration.history)
        var observers: [any LookupObserver] = []
        if configuration.control.value != nil { observers.append(live) }
        if let history { observers.append(history.writer) }
        // Whose names are kept, and where, is said.
        var notes = history.map { ["history    \($0.store.path)"] } ?? []
        notes += configuration.dnstap.destinations.map { "dnstap     \($0)" }
        try await Daemon(configuration, observers: observers, notes: notes) { control in
            var companions: [any DaemonCompanion] = []
            let api = ControlAPI(control, live: live, history: history)
            if let path = configuration.control.value {
                companions.append(ControlServer(path: path, isOptional: configuration.control.isDefault, api))
            }
            if let address = configuration.inspector.value {
                companions.append(InspectorServer(address, isOptional: configuration.inspector.isDefault, api))
            }
            return companions
        }.run()
    }

    /// Nil where none is kept.
    private func openHistory(_ settings: Configuration.History) throws -> KeptHistory? {
        guard let path = settings.path.value else { return nil }
        do {
            let store = try HistoryStore(path: path, report: LookupLog.reportToStandardError)
            let limits = HistoryLimits(
                maximumSize: settings.maximumSize, maximumAge: settings.maximumAge,
                maximumRate: settings.maximumRate)
            return KeptHistory(store, HistoryWriter(store: store, limits: limits))
        } catch {
            guard settings.path.isDefault else { throw ServiceFailure(.configuration, error.description) }
            Terminal.error("stub53: \(error); lookups are not kept")
            return nil
        }
    }
}
