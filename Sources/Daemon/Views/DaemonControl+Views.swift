import LocalData
import Platform

/// Views added and removed while the daemon runs.
extension DaemonControl {
    /// Adds a view, or replaces one of that name that was added before.
    @discardableResult
    package func addView(_ request: ViewRequest) throws(OverrideProblem) -> ViewReport {
        try daemon.views.add(request)
        daemon.leases.clock.wake()
        return views().first { $0.name == request.name }
            ?? ViewReport(
                name: request.name, listen: [], clients: [], settings: [:], overrideNames: 0, rules: 0, isLeased: true)
    }

    /// Removes a view that was added at run time.
    package func removeView(_ name: String) throws(OverrideProblem) {
        guard daemon.state.withLock({ $0.viewLeases.settings.contains { $0.name == name } }) else {
            throw OverrideProblem("no view \(quoted(name.utf8)) was added at run time; 'stub53 view list' shows all")
        }
        daemon.views.end(name)
    }

    /// All views, in the order in which they are tried.
    package func views() -> [ViewReport] {
        let (views, leases, addresses) = daemon.state.withLock {
            ($0.sources.views, $0.viewLeases.live, $0.viewAddresses)
        }
        let now = SystemClock.monotonic()
        return views.map { view in
            let lease = leases.first { $0.settings.name == view.name }
            let settings = view.settings
            return ViewReport(
                name: view.name, listen: (addresses[view.name] ?? settings.listen.addresses).map { "\($0)" },
                clients: settings.clients.map { "\($0)" },
                settings: Dictionary(
                    settings.settings.map { ($0.key, $0.values.map(\.text)) }, uniquingKeysWith: { $1 }),
                overrideNames: view.hosts.nameCount, rules: view.rules.rules.count, isLeased: lease != nil,
                until: lease?.term.until,
                left: lease.flatMap { $0.term.left(at: now) })
        }
    }
}
