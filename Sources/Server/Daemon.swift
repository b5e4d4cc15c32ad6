import Glibc
import LookupLog
import Resolution
import ServiceLifecycle
import Synchronization
import UnixSignals

/// The running service: binds, loads, starts the threads, says that it is ready, and ends in order.
///
/// Ending: no new connections, then what has arrived is answered, then what waits for upstream (for two seconds at
/// most), then the log is written out.
public struct Daemon: Sendable {
    private let configuration: Configuration

    public init(_ configuration: Configuration) {
        self.configuration = configuration
    }

    /// Serves until SIGTERM or SIGINT.
    public func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let loaded = configuration.load()
        Report.diagnostics(loaded.diagnostics)
        guard loaded.failedZones.isEmpty || configuration.keepsGoing else {
            throw ServiceFailure(
                .configuration,
                "\(loaded.failedZones.joined(separator: ", ")) can't be loaded; mend what is listed above, "
                    + "or start with --keep-going to serve the rest")
        }
        let running = try RunningDaemon(configuration, loaded)
        try await running.serve()
    }
}

/// Words on standard error about what happens to the service; lookups go to the log.
enum Report {
    static func diagnostics(_ diagnostics: Diagnostics) {
        for diagnostic in diagnostics.list { line("\(diagnostic)") }
        if diagnostics.left > 0 { line("... and \(diagnostics.left) more problems") }
    }

    static func line(_ text: String) {
        var bytes = Array(text.utf8)
        bytes.append(0x0A)
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }

    static func output(_ text: String) {
        var bytes = Array(text.utf8)
        bytes.append(0x0A)
        _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    }
}

/// All parts of the service once they exist.
final class RunningDaemon: Sendable {
    private let configuration: Configuration
    private let addresses: [SocketAddress]
    private let store: LocalDataStore
    private let cache: AnswerCache
    private let service: ServiceSettings
    private let log: LookupLog?
    private let forwardThreads: ForwardThreads
    /// Of all servers that were asked since the start: the log knows them by number.
    private let upstreamNames = Mutex<[String]>([])
    private let listener: StreamListener
    private let sockets: [[DatagramSocket]]
    private let stop: StopSignal
    private let watcher: FileWatcher
    private let summary: String
    private let loadedFiles: Mutex<ConfigurationSources>

    init(_ configuration: Configuration, _ loaded: ConfigurationSources) throws {
        self.configuration = configuration
        summary = loaded.summary
        loadedFiles = Mutex(loaded)
        let workers = max(1, configuration.workers ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        cache = AnswerCache(configuration.cache)
        store = LocalDataStore(Self.localData(loaded, cache, nil))
        service = ServiceSettings(
            access: configuration.accessList, cookie: ServerCookie(),
            identity: Array(configuration.identity.utf8.prefix(255)),
            version: Array(configuration.version.utf8.prefix(255)),
            keepalive: UInt16(clamping: configuration.streams.idleTimeout / 100))
        switch configuration.logFormat {
        case .none: log = nil
        case .text, .json:
            do {
                log = try LookupLog(
                    format: configuration.logFormat == .json ? .json : .text, file: configuration.logFile,
                    upstreamNames: [])
            } catch {
                throw ServiceFailure(.configuration, "\(configuration.logFile ?? "the log"): \(error)")
            }
        }
        let log = log
        forwardThreads = ForwardThreads(log: log)
        listener = StreamListener(
            threads: workers,
            limits: StreamListener.Limits(
                maximumConnections: configuration.streams.maximumConnections,
                maximumPipelined: configuration.streams.maximumPipelined,
                idleTimeout: configuration.streams.idleTimeout),
            store: store, service: service, makeRing: { log?.makeRing() })
        stop = try StopSignal()
        watcher = try FileWatcher()

        var addresses: [SocketAddress] = []
        var sockets: [[DatagramSocket]] = Array(repeating: [], count: workers)
        for address in configuration.listen {
            let bound = try Self.bind(address, workers: workers, listener)
            for (worker, socket) in bound.sockets.enumerated() { sockets[worker].append(socket) }
            addresses.append(bound.address)
        }
        self.addresses = addresses
        self.sockets = sockets
        if let forwarding = try makeForwarding(loaded.upstream) {
            store.replace(Self.localData(loaded, cache, forwarding))
            forwardThreads.start(forwarding)
        }
    }

    /// Nil: there is nobody to ask.
    private func makeForwarding(_ servers: [UpstreamServer]) throws(SystemError) -> Forwarding? {
        guard !servers.isEmpty else { return nil }
        var settings = configuration.forwarding
        settings.servers = servers
        let addresses = servers.map { "\($0.address)" }
        let numbers = upstreamNames.withLock { names in
            for address in addresses where !names.contains(address) { names.append(address) }
            log?.setUpstreams(names)
            return addresses.map { Int16(clamping: names.firstIndex(of: $0) ?? -1) }
        }
        return try Forwarding(
            settings: settings, names: numbers, cache: cache, store: store, service: service,
            ring: forwardThreads.takeRing())
    }

    /// TCP first: its bind tells reliably whether someone is there already.
    private static func bind(
        _ address: SocketAddress, workers: Int, _ listener: StreamListener
    ) throws -> (address: SocketAddress, sockets: [DatagramSocket]) {
        // A port that the system chose for TCP may be taken for UDP: then it is to choose again.
        var choices = address.port == 0 ? 32 : 1
        while true {
            choices -= 1
            do {
                let bound = try listener.listen(on: address)
                return (bound, try DatagramSocket.bind(bound, count: workers))
            } catch let error as SystemError {
                guard choices > 0, error.code == EADDRINUSE else {
                    throw BindFailure.explain(address, error.code, "UDP")
                }
                listener.forgetLast()
            } catch {
                throw BindFailure.explain(address, BindFailure.code(of: error), "TCP")
            }
        }
    }

    private static func localData(
        _ loaded: ConfigurationSources, _ cache: AnswerCache, _ forwarding: Forwarding?
    ) -> LocalData {
        LocalData(
            chain: SourceChain(hosts: loaded.hosts, zones: loaded.zones, special: loaded.special, cache: cache),
            forwarding: forwarding)
    }

    // MARK: Running

    func serve() async throws {
        // Ended in the opposite order: whoever may still be written to outlives its writers.
        let services: [any Service] = [
            LogService(log: log), ForwardService(daemon: self), ServingService(daemon: self),
        ]
        var group = ServiceGroupConfiguration(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: Self.silent)
        group.maximumGracefulShutdownDuration = .seconds(10)
        let serviceGroup = ServiceGroup(configuration: group)
        try await serviceGroup.run()
        await listener.shutDown()
    }

    func serveUntilShutdown() async throws {
        let threads = ThreadGroup()
        for worker in sockets {
            threads.start("udp") { [self] in
                do {
                    var udp = UDPWorker(
                        sockets: worker, store: store, service: service, ring: log?.makeRing(), stop: stop)
                    try udp.run()
                } catch {
                    Report.line("a UDP thread ended: \(error)")
                    exit(ServiceFailure.Code.problem.rawValue)
                }
            }
        }
        watcher.watch(loadedFiles.withLock { $0.watched })
        threads.start("reload") { [self] in
            watcher.run(
                names: { Set(FileWatcher.withLinks(loadedFiles.withLock { $0.watched }).flatMap(Self.watchedNames)) },
                changed: { reload(reason: "changed files") })
        }
        let hangups = Task { [self] in
            for await _ in await UnixSignalsSequence(trapping: [.sighup]) {
                log?.reopen()
                reload(reason: "SIGHUP")
            }
        }
        announce()
        try? await gracefulShutdown()
        hangups.cancel()
        listener.close()
        stop.raise()
        watcher.end()
        await threads.join()
    }

    /// Names whose change counts: the file's own, and whatever is in a watched folder.
    private static func watchedNames(_ path: String) -> [String] {
        let name = String(path.split(separator: "/").last ?? "")
        return [name] + (Folder.list(path) ?? [])
    }

    func runForwarding() async {
        try? await gracefulShutdown()
        await forwardThreads.stop(within: 2_000_000)
    }

    private func announce() {
        Report.output(Release.description.replacing(" (", with: " · ").replacing(")", with: ""))
        Report.output(summary)
        for (index, address) in addresses.enumerated() {
            Report.output((index == 0 ? "ready      " : "           ") + "\(address) udp tcp")
        }
        SystemManager.notify("READY=1")
    }

    // MARK: Reload

    /// Loads all files again, beside the data in use, and swaps them in whole. What can't be loaded stays as it was.
    private func reload(reason: String) {
        loadedFiles.withLock { last in
            var new = configuration.load(last: last.zones)
            Report.diagnostics(new.diagnostics)
            // A hosts file that can't be read any more keeps its last good state too.
            if new.hosts.nameCount == 0, last.hosts.nameCount > 0, new.hostsFiles.contains(where: new.isUnreadable) {
                new.hosts = last.hosts
                Report.line("reload     overrides kept as they were")
            }
            if new.upstream.isEmpty, new.isUnreadable(ResolvConf.systemPath) {
                new.upstream = last.upstream
                new.upstreamOrigin = last.upstreamOrigin
            }
            var forwarding = store.current().data.forwarding
            if new.upstream != last.upstream {
                do {
                    forwarding = try makeForwarding(new.upstream)
                    if let forwarding { forwardThreads.start(forwarding) }
                } catch {
                    Report.line("reload     upstream kept as it was: \(error)")
                    new.upstream = last.upstream
                }
            }
            let changes = ReloadReport.changes(from: last, to: new)
            store.replace(Self.localData(new, cache, forwarding))
            last = new
            watcher.watch(new.watched)
            Report.line("reload     \(reason): \(changes)")
        }
    }

    private static let silent = QuietLogger.make()
}
