import Glibc
import LocalData
import Platform
import Transports
import Upstream

/// The views of the running service: adds and ends those of run time, and follows the configuration's.
struct ServedViews: Sendable {
    let state: ServedState
    let forwarding: Forwarding
    let finder: ServerFinder
    let watcher: ChangeWatcher
    let sockets: ViewSockets
    /// Opens the sockets of an address.
    let bind: @Sendable (SocketAddress) throws -> BoundAddress

    func add(_ request: ViewRequest) throws(OverrideProblem) {
        try sockets.exclusively { () throws(OverrideProblem) in try addNow(request) }
    }

    private func addNow(_ request: ViewRequest) throws(OverrideProblem) {
        let settings = try ViewLeases.settings(request)
        let loaded = state.withLock { $0 }
        guard !loaded.configuration.views.contains(where: { $0.name == request.name }) else {
            throw OverrideProblem("\(quoted(request.name.utf8)) is a view of the configuration file; take another name")
        }
        guard loaded.sources.views.count < ViewSettings.most else {
            throw OverrideProblem("there are \(ViewSettings.most) views already; remove some")
        }
        var before = loaded.sources
        before.views = before.views.filter { $0.name == request.name }
        before.diagnostics = Diagnostics()
        var shared = before
        shared.views = []
        shared.listed.removeAll { $0.partition > 0 && $0.partition == ViewNumber.of(request.name) }
        var loading = ViewLoading(loaded.configuration, shared, last: before)
        let sources = loading.load([settings])
        guard var view = sources.views.first else { throw OverrideProblem("there are too many views") }
        if let problem = sources.diagnostics.list.first(where: { $0.severity == .error && $0.place.line == 0 }) {
            throw OverrideProblem("\(problem)")
        }
        Report.diagnostics(sources.diagnostics)
        let addresses: [SocketAddress]
        do { addresses = try sockets.open(for: settings, bind: bind) } catch {
            throw OverrideProblem("\(error)")
        }
        let listed = sources.listed.filter { $0.partition == view.number }
        let watched = sources.watched
        state.change { state in
            let old = state.forwarding
            view.settings = state.viewLeases.add(settings, seconds: request.seconds, now: .now())
            state.viewAddresses[view.name] = addresses
            state.insert(view, listed)
            state.sources.watched += watched.filter { !state.sources.watched.contains($0) }
            if state.forwarding != old { forwarding.replace(state.forwarding) }
        }
        let (paths, since) = state.withLock { ($0.sources.watched, $0.since) }
        watcher.files.watch(paths, since: since)
        finder.clock.wake()
        Report.line(
            "view       \(view.name) added\(addresses.isEmpty ? "" : " at ")\(addresses.map { "\($0)" }.joined(separator: " "))"
        )
    }

    /// - Parameter lease: ends it only if it is still this one.
    func end(_ name: String, lease: Int? = nil) {
        sockets.exclusively { endNow(name, lease) }
    }

    private func endNow(_ name: String, _ lease: Int?) {
        let isThere = state.withLock { state in
            state.viewLeases.settings.contains { $0.name == name && (lease == nil || $0.lease == lease) }
        }
        guard isThere else { return }
        state.change { state in
            let old = state.forwarding
            state.viewLeases.remove(name)
            state.viewAddresses[name] = nil
            for view in state.sources.views where view.name == name { state.drop(view) }
            if state.forwarding != old { forwarding.replace(state.forwarding) }
        }
        sockets.close(name)
        Report.line("view       \(name) has ended")
    }

    /// After a reload: opens and closes the sockets of the configuration's views.
    func follow(_ next: inout LoadedState) {
        let leased = Set(next.viewLeases.settings.map(\.name))
        let wanted = next.configuration.views
        for name in sockets.views where !leased.contains(name) && !wanted.contains(where: { $0.name == name }) {
            sockets.close(name)
            next.viewAddresses[name] = nil
        }
        for view in wanted {
            do {
                next.viewAddresses[view.name] = try sockets.open(for: view, bind: bind)
            } catch { Report.line("view       \(view.name): \(error)") }
        }
    }
}
