import CLinux
import Glibc
import LocalData
import Pipeline
import Platform
import Synchronization
import Transports
import Upstream

/// What is in use: the settings, what their files held, and the cache for what upstream says.
struct LoadedState: Sendable {
    var configuration: Configuration
    var sources: ConfigurationSources
    var cache: AnswerCache
    /// Whose answers `cache` holds.
    var cacheOrigin: [UpstreamServer]
    /// When the loading began, as file times are.
    var since: timespec
    /// Overrides that were added at run time.
    var leases: OverrideLeases
    /// Encrypted transports of ours that clients may be told of.
    var designated: [DesignatedResolver] = []

    init(_ configuration: Configuration, _ sources: ConfigurationSources, since: timespec) {
        self.configuration = configuration
        self.sources = sources
        self.since = since
        cache = AnswerCache(configuration.cache)
        cacheOrigin = sources.upstream
        leases = OverrideLeases(configuration.hosts)
    }

    /// How upstream is asked, and whom.
    var forwarding: ForwardSettings {
        var settings = configuration.forwarding
        settings.servers = sources.upstream
        return settings
    }

    func servedData(_ cookie: ServerCookie) -> ServedData {
        ServedData(
            pipeline: Pipeline(
                hosts: sources.hosts, leases: leases.table, zones: sources.zones,
                special: sources.special.announcing(designated), cache: cache, routes: ForwardRoutes(sources.upstream),
                access: configuration.accessList,
                identity: ServerIdentity(
                    identity: Array(configuration.identity.utf8.prefix(255)),
                    version: Array(configuration.version.utf8.prefix(255)))),
            service: ServiceSettings(
                cookie: cookie, identity: Array(configuration.identity.utf8.prefix(255)),
                streams: configuration.streams, explains: configuration.explains),
            recursionAvailable: !sources.upstream.isEmpty)
    }
}

extension RunningDaemon {
    /// Reads the configuration and all files again, beside what is in use, and swaps them in whole. What can't be
    /// loaded stays as it was. On the reload thread.
    func reload(reason: String) {
        reloads.begin()
        SystemManager.notify("RELOADING=1\nMONOTONIC_USEC=\(Moment.monotonicMicroseconds())")
        let last = state.withLock { $0 }
        var next = last
        next.since = FileWatcher.now()
        var notes = readConfiguration(&next)
        next.sources = next.configuration.load(last: last)
        Report.diagnostics(next.sources.diagnostics)
        keepWhatFailed(&next.sources, last.sources)
        if next.configuration.cache != last.configuration.cache {
            next.cache = AnswerCache(next.configuration.cache)
            notes.append("cache emptied")
        } else if !next.sources.upstream.isEmpty, next.sources.upstream != last.cacheOrigin {
            // Another network, or another view of a domain: what the old servers said may be wrong there.
            next.cache = AnswerCache(next.configuration.cache)
            next.cacheOrigin = next.sources.upstream
            notes.append("cache emptied")
        }
        if next.forwarding != last.forwarding { forwarding.replace(next.forwarding) }
        encrypted?.reloadCertificate()
        state.withLock { state in
            // They may have changed since the reload began.
            next.leases = state.leases
            next.leases.answer(by: next.configuration.hosts)
            state = next
            store.replace(next.servedData(cookie))
        }
        refreshWorkers()
        watcher.watch(next.sources.watched, since: next.since)
        let changes = ([ReloadReport.changes(from: last.sources, to: next.sources)] + notes).joined(separator: ", ")
        Report.line("reload     \(reason): \(changes)")
        SystemManager.notify("READY=1")
        reloads.end(
            ReloadOutcome(
                time: Moment.now().wall, reason: reason, changes: changes,
                problems: next.sources.diagnostics.list.map(\.description)),
            failed: next.sources.diagnostics.hasErrors)
    }

    /// Takes the settings of the configuration file; returns what is to be said about them.
    private func readConfiguration(_ next: inout LoadedState) -> [String] {
        guard let file = asked.file else { return [] }
        let (fresh, problems) = asked.readAgain()
        Report.diagnostics(problems)
        guard !problems.hasErrors else { return ["settings kept as they were: \(file) has errors"] }
        let old = next.configuration
        next.configuration = fresh
        // What the parts are built on: sockets, threads, files.
        let fixed = [
            ("listen", fresh.listen == asked.listen && fresh.encrypted == asked.encrypted),
            ("tls.certificate", fresh.certificatePath == asked.certificatePath),
            ("tls.key", fresh.keyPath == asked.keyPath), ("workers", fresh.workers == asked.workers),
            ("log.format", fresh.logFormat == asked.logFormat), ("log.file", fresh.logFile == asked.logFile),
            ("dnstap", fresh.dnstap == asked.dnstap), ("history", fresh.history == asked.history),
            ("control", fresh.control == asked.control), ("inspector", fresh.inspector == asked.inspector),
        ].filter { !$0.1 }.map(\.0)
        next.configuration.listen = old.listen
        next.configuration.encrypted = old.encrypted
        next.configuration.workers = old.workers
        next.configuration.logFormat = old.logFormat
        next.configuration.logFile = old.logFile
        next.configuration.dnstap = old.dnstap
        next.configuration.history = old.history
        next.configuration.control = old.control
        next.configuration.inspector = old.inspector
        guard !fixed.isEmpty else { return [] }
        return ["\(fixed.joined(separator: ", ")) changed, which needs a restart"]
    }

    private func keepWhatFailed(_ new: inout ConfigurationSources, _ last: ConfigurationSources) {
        if new.hosts.nameCount == 0, last.hosts.nameCount > 0, new.hostsFiles.contains(where: new.isUnreadable) {
            new.hosts = last.hosts
            Report.line("reload     overrides kept as they were")
        }
        if new.upstream.isEmpty, !last.upstream.isEmpty, new.isUnreadable(ResolvConf.systemPath) {
            new.upstream = last.upstream
            new.upstreamOrigin = last.upstreamOrigin
            Report.line("reload     upstream servers kept as they were")
        }
    }
}

/// What a reload changed, in words.
enum ReloadReport {
    static func changes(from old: ConfigurationSources, to new: ConfigurationSources) -> String {
        var parts: [String] = []
        if old.hosts.nameCount != new.hosts.nameCount {
            parts.append("overrides \(old.hosts.nameCount) -> \(new.hosts.nameCount) names")
        } else {
            parts.append("overrides \(new.hosts.nameCount) names")
        }
        for zone in new.zones.zones {
            guard let before = old.zones.zone(apex: zone.apex) else {
                parts.append("zone \(zone.apex) new, serial \(zone.serial)")
                continue
            }
            if before.serial != zone.serial {
                parts.append("zone \(zone.apex) serial \(before.serial) -> \(zone.serial)")
            } else if before !== zone, before.recordCount != zone.recordCount {
                parts.append("zone \(zone.apex) \(before.recordCount) -> \(zone.recordCount) records, same serial")
            }
        }
        for zone in old.zones.zones where new.zones.zone(apex: zone.apex) == nil {
            parts.append("zone \(zone.apex) gone")
        }
        if old.upstream != new.upstream {
            func list(_ servers: [UpstreamServer]) -> String {
                servers.isEmpty ? "none" : servers.map(\.description).joined(separator: " ")
            }
            parts.append("upstream \(list(old.upstream)) -> \(list(new.upstream))")
        }
        for path in new.failedZones { parts.append("\(path) not loaded, its last good version stays") }
        return parts.joined(separator: ", ")
    }
}
