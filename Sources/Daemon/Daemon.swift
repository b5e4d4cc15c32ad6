import Glibc
package import LookupLog
import Platform
import Transports

/// The running service: binds, loads, starts the threads, says that it is ready, and ends in order.
///
/// Ending: no new connections, then what has arrived is answered, then what waits for upstream (for two seconds at
/// most), then the log is written out.
package struct Daemon: Sendable {
    private let configuration: Configuration
    private let observers: [any LookupObserver]
    private let notes: [String]
    private let makeCompanions: @Sendable (DaemonControl) throws -> [any DaemonCompanion]

    /// - Parameters:
    ///   - observers: who is told of each lookup.
    ///   - notes: lines for the operator, below the `ready` line.
    ///   - companions: what runs beside the service and looks at it, made once the service exists.
    package init(
        _ configuration: Configuration, observers: [any LookupObserver] = [], notes: [String] = [],
        companions: @escaping @Sendable (DaemonControl) throws -> [any DaemonCompanion] = { _ in [] }
    ) {
        self.configuration = configuration
        self.observers = observers
        self.notes = notes
        makeCompanions = companions
    }

    /// Serves until SIGTERM or SIGINT.
    package func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        // Until it can be heeded: everything is being loaded anyway.
        signal(SIGHUP, SIG_IGN)
        OpenFiles.raiseLimit()
        let inherited = try InheritedSockets.take()
        var configuration = configuration
        configuration.adopt(inherited)
        let start = FileWatcher.now()
        let loaded = configuration.load()
        Report.diagnostics(loaded.diagnostics)
        guard loaded.failedZones.isEmpty || configuration.keepsGoing else {
            throw ServiceFailure(
                .configuration,
                "\(loaded.failedZones.joined(separator: ", ")) can't be loaded; mend what is listed above, "
                    + "or start with --keep-going to serve the rest")
        }
        let running: RunningDaemon
        do {
            running = try RunningDaemon(
                asked: self.configuration, LoadedState(configuration, loaded, since: start), inherited,
                observers: observers)
        } catch let error as SystemError {
            throw ServiceFailure(
                .problem,
                "the service can't be set up: \(error); raise the limit of open files (ulimit -n, LimitNOFILE=)")
        }
        try await running.serve(beside: try makeCompanions(DaemonControl(running)), notes: notes)
    }
}
