import DNSWire
import LocalData
import Platform
import Transports
import Upstream

/// Reads the configuration and all files again while the old ones are in use, then swaps them as a whole. What can't be
/// loaded stays as it was.
struct Reloading: Sendable {
    /// The configuration at start.
    let asked: Configuration
    let state: ServedState
    let forwarding: Forwarding
    let encrypted: EncryptedListener?
    let finder: ServerFinder
    let views: ServedViews
    let watcher: ChangeWatcher
    let record = ReloadRecord()

    /// Watches the files in use, from the time they were loaded.
    func watch() {
        let (paths, since) = state.withLock { ($0.sources.watched, $0.since) }
        watcher.files.watch(paths, since: since)
    }

    /// Follows files and networks, and reloads on request, until the watcher ends.
    func run() {
        watcher.run { change in
            switch change {
            case .files: reload(reason: "changed files")
            case .asked: reload(reason: record.isAwaited ? "asked for" : "SIGHUP")
            case .network: followNetwork()
            case .awake(let microseconds):
                let seconds = (microseconds + 500_000) / 1_000_000
                Report.line("network    awake after \(seconds) s: upstream is asked afresh")
                networkChanged()
                followNetwork()
            }
        }
    }

    /// Runs on the reload thread.
    func reload(reason: String) {
        record.begin()
        SystemManager.notify("RELOADING=1\nMONOTONIC_USEC=\(SystemClock.awake())")
        let last = state.withLock { $0 }
        var next = last
        next.since = FileWatcher.now()
        watcher.files.begin()
        var notes = readConfiguration(&next)
        next.sources = next.configuration.load(last: last.sources, leased: last.viewLeases.settings)
        next.configuration.locateServers(of: &next.sources)
        Report.diagnostics(next.sources.diagnostics)
        keepWhatFailed(&next.sources, last.sources)
        // Without a network, the old answers of the system's servers are still the best there are.
        let kept = next.sources.awaitsSystem ? last.cacheOrigin.filter { $0.domain.isRoot } : []
        next.cacheOrigin = kept + next.sources.shared.map(\.origin)
        // A new network, or another view of a domain: the old servers' answers may be wrong there.
        if next.configuration.cache != last.configuration.cache || next.cacheOrigin != last.cacheOrigin {
            next.cache = AnswerCache(next.configuration.cache)
            next.makeViewCaches(emptied: true)
            notes.append("cache emptied")
        }
        next.makeViewCaches(emptied: false)
        next.network = NetworkState(to: next.sources.upstream, last: last.network)
        if next.network.paths != last.network.paths { networkChanged() }
        encrypted?.reloadCertificate()
        if let encrypted { next.designated = encrypted.designations }
        let loaded = next
        next = views.sockets.exclusively {
            var next = loaded
            state.change { state in
                // Leases may have changed since the reload began.
                next.leases = state.leases
                next.ruleLeases = state.ruleLeases
                next.takeViews(of: state)
                views.follow(&next)
                next.leases.answer(by: next.configuration.hosts)
                // Servers may have been found.
                next.sources.places.merge(state.sources.places.filter { next.keeps($0.key) }) { $1 }
                if next.forwarding != state.forwarding { forwarding.replace(next.forwarding) }
                state = next
            }
            return next
        }
        finder.clock.wake()
        watch()
        let changes = ([ReloadReport.changes(from: last.sources, to: next.sources)] + notes).joined(separator: ", ")
        Report.line("reload     \(reason): \(changes)")
        SystemManager.notify("READY=1")
        record.end(
            ReloadOutcome(
                time: Moment.now().wall, reason: reason, changes: changes,
                problems: next.sources.diagnostics.list.map(\.description)),
            failed: next.sources.diagnostics.hasErrors)
    }

    /// After a change of addresses, links or routes: clients of new networks are served, servers are asked through the
    /// interfaces of now, and what was learnt about a server on another path is forgotten. Files are read again only if
    /// that changes the servers. Runs on the reload thread.
    func followNetwork() {
        let last = state.withLock { $0 }
        let (listed, upstream) = (last.sources.listed, last.sources.upstream)
        if last.configuration.hasOtherServers(than: listed) { return reload(reason: "another network") }
        let network = NetworkState(to: upstream, last: last.network)
        guard network != last.network else { return }
        if network.paths != last.network.paths { networkChanged() }
        encrypted?.reloadCertificate()
        let designated = encrypted?.designations ?? []
        state.change { state in
            // Servers may have been found meanwhile.
            state.network = NetworkState(network.addresses, to: state.sources.upstream)
            state.designated = designated
        }
        // A host that could not be found may be now.
        finder.restart()
        if let changes = network.changes(since: last.network) { Report.line("network    \(changes)") }
    }

    private func networkChanged() {
        forwarding.networkChanged()
        finder.restart()
    }

    /// Reads the configuration file; returns notes for the operator.
    private func readConfiguration(_ next: inout LoadedState) -> [String] {
        guard let file = asked.origin.file else { return [] }
        let (fresh, changed, problems) = asked.readAgain(running: next.configuration)
        Report.diagnostics(problems)
        guard !problems.hasErrors else { return ["settings kept as they were: \(file) has errors"] }
        next.configuration = fresh
        guard !changed.isEmpty else { return [] }
        return ["\(changed.map(\.path).joined(separator: ", ")) changed, which needs a restart"]
    }

    private func keepWhatFailed(_ new: inout LoadedSources, _ last: LoadedSources) {
        if new.awaitsSystem, last.upstreamOrigin != nil, new.isUnreadable(ResolvConf.systemPath) {
            new.listed = last.shared.filter(\.domain.isRoot).map { $0.now() } + new.listed
            new.places.merge(last.places.filter { new.listed.contains($0.key) }) { $1 }
            new.upstreamOrigin = last.upstreamOrigin
            new.awaitsSystem = false
            Report.line("reload     upstream servers kept as they were")
        }
    }
}
