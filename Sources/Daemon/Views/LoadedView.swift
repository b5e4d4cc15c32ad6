import DNSWire
import LocalData
import Platform
import Upstream

/// A view with the contents of its files. What it has not of its own is shared with the queries of no view, or with other
/// views that name the same files: a table is in memory once.
package struct LoadedView: Sendable {
    var settings: ViewSettings
    let number: UInt16
    var hosts: HostsTable
    var hostsFiles: [String]
    var hostsSettings: HostsSettings
    var rules: RuleTable
    var zones: ZoneSet
    var special: SpecialNames
    var privateAddresses: PrivateAddressPolicy
    /// It has servers of its own: those of `LoadedSources` with its number as partition.
    var hasServers: Bool
    /// Of these, the system's are to be asked, and none is known at the moment.
    var awaitsSystem: Bool

    var name: String { settings.name }
    var partition: UInt16 { hasServers ? number : 0 }
}

/// Loads views, each table once.
struct ViewLoading {
    private struct HostsKey: Hashable {
        var paths: [String]?
        var settings: HostsSettings
    }
    private struct ZonesKey: Hashable {
        var folders: [String]?
        var files: [Configuration.ZoneFile]
    }

    private let base: Configuration
    private var sources: LoadedSources
    private let last: LoadedSources?
    private var hosts: [HostsKey: (table: HostsTable, files: [String])] = [:]
    private var rules: [HostsKey: RuleTable] = [:]
    private var zones: [ZonesKey: ZoneSet] = [:]

    init(_ base: Configuration, _ sources: LoadedSources, last: LoadedSources?) {
        self.base = base
        self.sources = sources
        self.last = last
        hosts[HostsKey(paths: base.hostsPaths, settings: base.hosts)] = (sources.hosts, sources.hostsFiles)
        rules[HostsKey(paths: base.rulesPaths, settings: base.hosts)] = sources.rules
        zones[ZonesKey(folders: base.zoneFolders, files: base.zoneFiles)] = sources.zones
    }

    /// The sources with these views.
    mutating func load(_ views: [ViewSettings]) -> LoadedSources {
        for view in views {
            guard let number = ViewNumber.of(view.name) else {
                sources.diagnostics.error(
                    view.place, "views.\(view.name): there have been 65535 views; start stub53 again")
                continue
            }
            sources.views.append(load(view, number))
        }
        return sources
    }

    private mutating func load(_ view: ViewSettings, _ number: UInt16) -> LoadedView {
        let own = view.applied(to: base)
        let known = last?.views.first { $0.name == view.name }
        let (hosts, hostsFiles) = readHosts(own, known?.hosts)
        var servers: [UpstreamServer] = []
        var origin: String?
        if view.has("upstream.servers") {
            (servers, origin) = own.upstreamServers(&sources.diagnostics, &sources.watched)
            servers = servers.map { $0.asked(for: number) }
            let room = ForwardSettings.maximumServers - sources.listed.count
            if servers.count > room {
                sources.diagnostics.error(
                    view.place,
                    "views.\(view.name): \(servers.count - max(room, 0)) of its servers are not asked: all views together "
                        + "have \(ForwardSettings.maximumServers) at most")
            }
            sources.listed += servers.prefix(max(room, 0))
        }
        let hasServers = view.has("upstream.servers")
        let routed = (hasServers ? servers : sources.listed.filter { $0.partition == 0 }).map(\.domain)
            .filter { !$0.isRoot }
        return LoadedView(
            settings: view, number: number, hosts: hosts, hostsFiles: hostsFiles, hostsSettings: own.hosts,
            rules: readRules(own, known?.rules), zones: readZones(own, known?.zones),
            special: SpecialNames(without: own.withoutSpecialNames, routed: routed),
            privateAddresses: PrivateAddressPolicy(own.privateAddresses, exempt: own.privateDomains + routed),
            hasServers: hasServers, awaitsSystem: hasServers && own.upstream.asksSystem && origin == nil)
    }

    private mutating func readHosts(_ own: Configuration, _ last: HostsTable?) -> (HostsTable, [String]) {
        let key = HostsKey(paths: own.hostsPaths, settings: own.hosts)
        if let known = hosts[key] { return known }
        let read = HostsReader.load(
            paths: own.hostsPaths ?? [Configuration.systemHosts], settings: own.hosts, last: last)
        sources.diagnostics.append(contentsOf: read.diagnostics)
        sources.watched += read.watched
        hosts[key] = (read.table, read.files)
        return (read.table, read.files)
    }

    private mutating func readRules(_ own: Configuration, _ last: RuleTable?) -> RuleTable {
        let key = HostsKey(paths: own.rulesPaths, settings: own.hosts)
        if let known = rules[key] { return known }
        let (table, read) = RuleReader.load(paths: own.rulesPaths ?? [], settings: own.hosts, last: last ?? .empty)
        sources.diagnostics.append(contentsOf: read.diagnostics)
        sources.watched += read.watched
        rules[key] = table
        return table
    }

    private mutating func readZones(_ own: Configuration, _ last: ZoneSet?) -> ZoneSet {
        let key = ZonesKey(folders: own.zoneFolders, files: own.zoneFiles)
        if let known = zones[key] { return known }
        var failed: [String] = []
        let read = own.readZones(last: last, &failed, &sources.diagnostics, &sources.watched)
        sources.failedZones += failed.filter { !sources.failedZones.contains($0) }
        zones[key] = read
        return read
    }
}
