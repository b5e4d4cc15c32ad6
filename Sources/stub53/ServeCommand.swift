import ArgumentParser
import Daemon
import Glibc
import History
import Inspector
import LookupLog
import Platform

/// `stub53 serve`: the daemon.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
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

    @OptionGroup(title: "Cassettes")
    var cassette: SettingFlags<CassetteFlags>

    @OptionGroup var service: SettingFlags<ServiceFlags>

    @Flag(help: "List the keys of the --config file, and end.")
    var helpKeys = false

    /// For `exec`, whose daemon must not outlive it.
    @Flag(help: .hidden) var endWithInput = false

    mutating func run() async throws {
        if helpKeys {
            print(ConfigurationKey.reference)
            return
        }
        if endWithInput { Self.endWithInput() }
        let configuration = try sources.configuration(cassette.settings + service.settings)
        // Made while it is still known who started this.
        let access = PageAccess(controlPath: configuration.control.value)
        let user = try ServiceUser.act(for: configuration)
        do { try await serve(configuration, user, access) } catch let failure as ServiceFailure {
            guard let hint = user.hint(failure.description) else { throw failure }
            throw ServiceFailure(failure.code, "\(failure); \(hint)")
        }
    }

    private func serve(_ configuration: Configuration, _ user: ServiceUser, _ access: PageAccess) async throws {
        user.check(configuration)
        let live = LiveLookups()
        let history = try openHistory(configuration.history)
        var observers: [any LookupObserver] = []
        if configuration.control.value != nil { observers.append(live) }
        if let history { observers.append(history.writer) }
        // Tell users where their lookups are stored.
        var notes = (user.note.map { [$0] } ?? []) + (history.map { ["history    \($0.store.path)"] } ?? [])
        notes += configuration.dnstap.destinations.map { "dnstap     \($0)" }
        try await Daemon(configuration, user: user, observers: observers, notes: notes) { control in
            var companions: [any DaemonCompanion] = []
            let api = ControlAPI(control, live: live, history: history, access: access)
            if let path = configuration.control.value {
                companions.append(ControlServer(path: path, isOptional: configuration.control.isDefault, api))
            }
            if let address = configuration.inspector.value {
                companions.append(InspectorServer(address, isOptional: configuration.inspector.isDefault, api))
            }
            return companions
        }.run()
        // The command that it was started for relies on them.
        if endWithInput, let history, history.writer.isCutOff {
            throw ServiceFailure(
                .problem,
                "history \(history.store.path): the last lookups could not be written in time; is the disk slow?")
        }
    }

    /// Sends SIGTERM to this process when its standard input ends, that is, when the process at the other end of the
    /// pipe is gone. PR_SET_PDEATHSIG would not do: file capabilities reset it, and it also fires when only the
    /// parent's thread ends.
    private static func endWithInput() {
        _ = WorkerThread("end-with-input") {
            var byte: UInt8 = 0
            var count = 0
            repeat { count = read(STDIN_FILENO, &byte, 1) } while count > 0 || count < 0 && errno == EINTR
            kill(getpid(), SIGTERM)
        }
    }

    /// Nil where none is kept.
    private func openHistory(_ settings: Configuration.History) throws -> KeptHistory? {
        guard let path = settings.path.value else { return nil }
        do {
            let store = try HistoryStore(path: path, report: Report.problem)
            let limits = HistoryLimits(
                maximumSize: settings.maximumSize, maximumAge: settings.maximumAge,
                maximumRate: settings.maximumRate)
            return KeptHistory(
                try HistorySearches(store), try HistoryWriter(store: store, limits: limits))
        } catch {
            guard settings.path.isDefault else { throw ServiceFailure(.configuration, error.description) }
            Terminal.error("stub53: \(error); lookups are not kept")
            return nil
        }
    }
}
