import Glibc
package import LookupLog
import Platform
import Transports

/// The running service: binds, loads, starts the threads, reports that it is ready, and shuts down in order.
///
/// Shutdown: no new connections, then what has arrived is answered, then what waits for upstream (for two seconds at
/// most), then the log is written out.
package struct Daemon: Sendable {
    private let configuration: Configuration
    private let user: ServiceUser
    private let observers: [any LookupObserver]
    private let notes: [String]
    private let makeCompanions: @Sendable (DaemonControl) throws -> [any DaemonCompanion]

    /// - Parameters:
    ///   - user: as whom it serves.
    ///   - observers: get each lookup.
    ///   - notes: lines for the operator, printed below the `ready` line.
    ///   - companions: run beside the service and use its `DaemonControl`; made once the service exists.
    package init(
        _ configuration: Configuration, user: ServiceUser = .same, observers: [any LookupObserver] = [],
        notes: [String] = [],
        companions: @escaping @Sendable (DaemonControl) throws -> [any DaemonCompanion] = { _ in [] }
    ) {
        self.configuration = configuration
        self.user = user
        self.observers = observers
        self.notes = notes
        makeCompanions = companions
    }

    /// Serves until SIGTERM or SIGINT.
    package func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        // Ignored until the handler is installed: everything is being loaded anyway.
        signal(SIGHUP, SIG_IGN)
        OpenFiles.raiseLimit()
        let inherited = try InheritedSockets.take()
        var configuration = configuration
        configuration.adopt(inherited)
        let start = FileWatcher.now()
        var loaded = configuration.load()
        configuration.locateServers(of: &loaded)
        Report.diagnostics(loaded.diagnostics)
        if let hint = loaded.diagnostics.list.lazy.compactMap({ user.hint($0.description) }).first {
            Report.problem(hint)
        }
        guard loaded.failedZones.isEmpty || configuration.keepsGoing else {
            throw ServiceFailure(
                .configuration,
                "\(loaded.failedZones.joined(separator: ", ")) can't be loaded; fix the problems listed above, "
                    + "or start with --keep-going to serve the rest")
        }
        let running: RunningDaemon
        do {
            running = try RunningDaemon(
                asked: self.configuration, LoadedState(configuration, loaded, since: start), inherited, user: user,
                observers: observers)
            try user.stay()
        } catch let error as SystemError {
            throw ServiceFailure(
                .problem,
                "the service can't be set up: \(error); raise the limit of open files (ulimit -n, LimitNOFILE=)")
        }
        try await running.serve(
            beside: try makeCompanions(DaemonControl(running)), notes: notes + Self.limitNotes(configuration.streams))
    }

    /// Says where the limit on open files allows fewer connections than are configured.
    private static func limitNotes(_ limits: StreamLimits) -> [String] {
        let most = limits.fitting.maximumConnections
        guard most < limits.maximumConnections else { return [] }
        return [
            "limit      \(OpenFiles.limit) open files: \(most) connections at once, not \(limits.maximumConnections); "
                + "raise it with 'ulimit -n' or LimitNOFILE="
        ]
    }
}
