import Cassettes
import Glibc
import LookupLog
import Platform
import ServiceLifecycle
import Transports
import UnixSignals
import Upstream

/// All parts of the running service.
final class RunningDaemon: Sendable {
    let state: ServedState
    var store: ServedDataStore { state.store }
    let reloading: Reloading
    let leases: LeasedOverrides
    private let finder: ServerFinder
    let views: ServedViews
    private let orders: [DatagramOrders]
    let forwarding: Forwarding
    let addresses: [ServedAddress]
    /// Nil: no output or observer needs lookups.
    let log: LookupLog?
    let totals = LookupTotals()
    /// Nil: there is no destination.
    let dnstap: DnstapWriter?
    /// Nil: none is recorded or replayed.
    let cassette: Cassette?
    private let cassetteClock: WorkClock
    /// When the service was set up.
    let started = Moment.now()
    private let listener: StreamListener
    /// Nil: TLS and HTTPS are not served.
    private let encrypted: EncryptedListener?
    /// By worker.
    private let sockets: [[DatagramSocket]]
    private let signals: [WakeSignal]

    static let waitNote = ", once this machine has the address"

    /// A served address, and its transports.
    struct ServedAddress: Sendable {
        var address: SocketAddress
        var transports: String
        /// For DNS over HTTPS.
        var url: String?
        /// The view whose address it is.
        var view: String?
        /// Whether the machine has the address now; it is served as soon as it has.
        var isThere: Bool { address.isOfThisMachine }
    }

    init(
        asked: Configuration, _ loaded: LoadedState, _ inherited: InheritedSockets, user: ServiceUser = .same,
        observers: [any LookupObserver]
    ) throws {
        let configuration = loaded.configuration
        let workers = max(1, configuration.workers ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        // First, since what is served holds the names of files.
        let cassetteClock = try WorkClock()
        self.cassetteClock = cassetteClock
        cassette = try Self.openCassette(configuration) { cassetteClock.wake() }
        state = ServedState(loaded)
        let store = state.store
        dnstap = try Self.makeDnstap(configuration)
        log = try Self.makeLog(configuration, observers: observers + (dnstap.map { [$0] } ?? []), totals)
        let log = log
        let finderClock = try WorkClock()
        forwarding = try Forwarding(
            settings: loaded.forwarding, store: store, log: log, cassette: cassette
        ) { finderClock.wake() }
        finder = ServerFinder(state, forwarding, finderClock)
        let listener = try StreamListener(
            threads: workers, store: store, forwarding: forwarding, makeRing: { log?.makeRing() })
        self.listener = listener
        signals = try (0..<workers).map { _ in try WakeSignal() }
        orders = signals.map { DatagramOrders($0) }
        let watcher = try ChangeWatcher()
        views = ServedViews(
            state: state, forwarding: forwarding, finder: finder, watcher: watcher,
            sockets: ViewSockets(listener, orders)
        ) { try Self.bind($0, workers: workers, early: false, listener) }
        let views = views
        leases = LeasedOverrides(state, try WorkClock()) { views.end($0, lease: $1) }

        var addresses: [ServedAddress] = []
        var sockets: [[DatagramSocket]] = Array(repeating: [], count: workers)
        for socket in inherited.streams {
            listener.listen(inherited: socket)
            addresses.append(ServedAddress(address: socket.address, transports: "tcp"))
        }
        for socket in inherited.datagrams {
            let shared = DatagramSocket(
                descriptor: socket.descriptor, at: socket.address, isShared: workers > 1)
            for worker in 0..<workers { sockets[worker].append(shared) }
            if let index = addresses.firstIndex(where: { $0.address == socket.address }) {
                addresses[index].transports = "udp tcp"
            } else {
                addresses.append(ServedAddress(address: socket.address, transports: "udp"))
            }
        }
        // One that is not there yet is served when it comes, if another one is there: else it is more likely wrong.
        let listen = configuration.listen
        let mayWait = (listen.plain + listen.encrypted.map(\.address)).contains(where: \.isOfThisMachine)
        for address in configuration.listen.plain where !inherited.addresses.contains(address) {
            let bound = try user.asRoot {
                try Self.bind(
                    address, workers: workers, early: mayWait && !address.isOfThisMachine, listener)
            }
            for (worker, socket) in bound.datagrams.enumerated() { sockets[worker].append(socket) }
            addresses.append(ServedAddress(address: bound.address, transports: "udp tcp"))
        }
        if configuration.listen.encrypted.isEmpty {
            encrypted = nil
        } else {
            let encrypted = try EncryptedListener(
                threads: workers,
                certificate: ServerCertificate(configuration.certificateFiles, for: configuration.listen.encrypted),
                store: store, forwarding: forwarding,
                budget: listener.budget, makeRing: { log?.makeRing() })
            self.encrypted = encrypted
            let bound = try user.asRoot {
                try listen.encrypted.map {
                    try encrypted.listen(on: $0, early: mayWait && !$0.address.isOfThisMachine)
                }
            }
            for one in bound {
                addresses.append(
                    ServedAddress(
                        address: one.address, transports: one.service == .tls ? "dot" : "doh",
                        url: one.service == .https ? "https://\(one.address)\(DoHRequest.path)" : nil))
            }
            state.change { $0.designated = encrypted.designations }
        }
        views.sockets.take(served: addresses.filter { $0.url == nil && $0.transports != "dot" }.map(\.address))
        for view in configuration.views {
            let bound = try views.sockets.open(for: view) { address in
                try user.asRoot {
                    try Self.bind(address, workers: workers, early: mayWait && !address.isOfThisMachine, listener)
                }
            }
            for address in bound where !addresses.contains(where: { $0.address == address }) {
                addresses.append(ServedAddress(address: address, transports: "udp tcp", view: view.name))
            }
            state.change { $0.viewAddresses[view.name] = bound }
        }
        self.addresses = addresses
        self.sockets = sockets
        reloading = Reloading(
            asked: asked, state: state, forwarding: forwarding, encrypted: encrypted, finder: finder,
            views: views, watcher: watcher)
        state.onChange { [signals, listener, encrypted] in
            for signal in signals { signal.wake() }
            listener.refresh()
            encrypted?.refresh()
        }
    }

    /// Nil if no output or observer needs it.
    private static func makeLog(
        _ configuration: Configuration, observers: [any LookupObserver], _ totals: LookupTotals
    ) throws -> LookupLog? {
        var sinks: [LookupSink] = []
        let destination = configuration.logFile.map { LookupSink.Destination.file(path: $0) } ?? .standardOutput
        switch configuration.logFormat {
        case .none: break
        case .text: sinks.append(LookupSink(.text, to: destination, rotation: configuration.logRotation))
        case .json: sinks.append(LookupSink(.json, to: destination, rotation: configuration.logRotation))
        }
        // The control socket and the inspector show totals.
        let isWatched = configuration.inspector.value != nil || configuration.control.value != nil
        guard !sinks.isEmpty || !observers.isEmpty || isWatched else { return nil }
        do { return try LookupLog(sinks: sinks, observers: [totals] + observers) } catch {
            throw ServiceFailure(
                .configuration,
                "\(configuration.logFile ?? "the log"): \(error); name a file that this user may write with "
                    + "--log-file, or leave it out")
        }
    }

    private static func openCassette(
        _ configuration: Configuration, _ changed: @escaping @Sendable () -> Void
    ) throws -> Cassette? {
        var diagnostics = Diagnostics()
        let cassette = configuration.cassette.open(&diagnostics, changed: changed)
        Report.diagnostics(diagnostics)
        guard !diagnostics.hasErrors else {
            throw ServiceFailure(
                .configuration,
                "the cassette can't be used; fix the problems listed above, or record it anew")
        }
        return cassette
    }

    private static func makeDnstap(_ configuration: Configuration) throws -> DnstapWriter? {
        let dnstap = configuration.dnstap
        guard !dnstap.destinations.isEmpty else { return nil }
        do {
            return try DnstapWriter(
                dnstap.destinations, identity: configuration.identity, version: "stub53 \(Release.version)",
                maximumFileSize: dnstap.maximumFileSize, keptFiles: dnstap.keptFiles)
        } catch {
            throw ServiceFailure(
                .configuration,
                "dnstap \(error); name a file that this user may write with --dnstap, or leave it out")
        }
    }

    /// TCP first: its bind reliably detects another server.
    private static func bind(
        _ address: SocketAddress, workers: Int, early: Bool, _ listener: StreamListener
    ) throws -> BoundAddress {
        var attempt = 0
        while true {
            attempt += 1
            let stream: StreamListener.Bound
            do { stream = try listener.listen(on: address, early: early) } catch {
                throw BindFailure.explain(address, error.code, "TCP")
            }
            do {
                return BoundAddress(
                    stream: stream, datagrams: try DatagramSocket.bind(stream.address, count: workers, early: early))
            } catch {
                listener.close(stream)
                // The port that the system chose for TCP may be in use for UDP: try another one.
                guard address.port == 0, error.code == EADDRINUSE, attempt < 20 else {
                    throw BindFailure.explain(stream.address, error.code, "UDP")
                }
            }
        }
    }

    // MARK: Running

    func serve(beside companions: [any DaemonCompanion], notes: [String] = []) async throws {
        // They end in reverse order: a service outlives those that write to it.
        var services: [any Service] = [
            LogService(log: log), StreamService(listener: listener, encrypted: encrypted),
            ServingService { [self] in try await serveUntilShutdown(beside: companions, notes: notes) },
        ]
        services += companions
        var group = ServiceGroupConfiguration(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: Self.silent)
        group.maximumGracefulShutdownDuration = .seconds(10)
        let serviceGroup = ServiceGroup(configuration: group)
        try await serviceGroup.run()
    }

    func serveUntilShutdown(beside companions: [any DaemonCompanion], notes: [String]) async throws {
        let threads = ThreadGroup()
        let serving = ThreadGroup()
        for (worker, sockets) in sockets.enumerated() {
            serving.enter()
            threads.start("udp") { [self] in
                do {
                    let lane = worker == 0 ? try forwarding.makeLane() : nil
                    var udp = UDPWorker(
                        sockets: sockets, store: store, forwarding: forwarding, lane: lane, ring: log?.makeRing(),
                        signal: signals[worker], orders: orders[worker])
                    try udp.run()
                    serving.leave()
                    lane?.run()
                } catch {
                    Report.line("a UDP thread ended: \(error)")
                    exit(ServiceFailure.Code.problem.rawValue)
                }
            }
        }
        reloading.watch()
        threads.start("reload") { [self] in reloading.run() }
        threads.start("leases") { [self] in leases.run() }
        threads.start("servers") { [self] in finder.run() }
        if let cassette {
            threads.start("cassette") { [self] in
                cassetteClock.run { cassette.save(at: SystemClock.monotonic()) }
            }
        }
        let hangups = Task { [self] in
            for await _ in await UnixSignalsSequence(trapping: [.sighup]) {
                log?.reopen()
                reloading.watcher.request()
            }
        }
        var more = (cassette.map { ["cassette   \($0.description)"] } ?? []) + notes
        var isComplete = true
        for companion in companions {
            if let lines = await companion.ready() { more += lines } else { isComplete = false }
        }
        if isComplete { announce(more) }
        try? await gracefulShutdown()
        SystemManager.notify("STOPPING=1")
        hangups.cancel()
        listener.close()
        encrypted?.close()
        for signal in signals { signal.end() }
        reloading.watcher.end()
        leases.clock.end()
        finder.clock.end()
        cassetteClock.end()
        await serving.join()
        forwarding.stop(within: Self.drainTimeout)
        await threads.join()
        for line in cassette?.finish() ?? [] { Report.line(line) }
    }

    private func announce(_ more: [String]) {
        Report.output(Release.description.replacing(" (", with: " · ").replacing(")", with: ""))
        Report.output(state.withLock { $0.sources.summary })
        for (index, served) in addresses.enumerated() {
            let url = (served.url.map { " " + $0 } ?? "") + (served.view.map { " view \($0)" } ?? "")
            Report.output(
                (index == 0 ? "ready      " : "           ")
                    + "\(served.address) \(served.transports)\(url)\(served.isThere ? "" : Self.waitNote)")
        }
        for line in more { Report.output(line) }
        SystemManager.notify("READY=1")
    }

    private static let silent = QuietLogger.make()
    /// At shutdown, how long upstream has to answer waiting queries, in microseconds.
    private static let drainTimeout: UInt64 = 2_000_000
}
