import Certificates
import DNSWire
import Glibc
package import LocalData
package import Platform
package import Upstream

/// The contents of a configuration's files, compiled: overrides, zones, special-use names, upstream servers.
package struct LoadedSources: Sendable {
    package var hosts: HostsTable
    /// The hosts files that were read, in order.
    package var hostsFiles: [String]
    /// Hosts files that can't be read; `hosts` has their last good lines.
    package var keptHosts: [String]
    /// The configured files and folders.
    var hostsPaths: [String]?
    package var rules: RuleTable
    /// The rules files that were read, in order.
    package var rulesFiles: [String]
    /// Rules files that can't be read; `rules` has their last good rules.
    package var keptRules: [String]
    package var zones: ZoneSet
    /// Zone files that failed to load; `zones` has their last good version, if there is one.
    package var failedZones: [String]
    package var special: SpecialNames
    /// The upstream servers, as configured or as the system lists them.
    var listed: [UpstreamServer]
    /// Where `listed` are asked that had to be found: at a host's address, or as the encrypted server that a plain one
    /// announces.
    var places: [UpstreamServer: UpstreamServer] = [:]
    /// Whom encrypted servers are verified by; nil: the system's certificates.
    var authorities: UpstreamServer.Authorities?
    /// The file that lists those of `upstream` outside the routes; nil if they are configured, or if there are none.
    package var upstreamOrigin: String?
    /// The system's servers are to be asked, and none is known at the moment.
    var awaitsSystem: Bool
    package var privateAddresses: PrivateAddressPolicy
    /// In the order in which they are tried.
    package var views: [LoadedView] = []
    /// All problems, by file.
    package var diagnostics: Diagnostics
    /// Files and folders to watch for changes.
    package var watched: [String]

    /// Those of the queries of no view.
    var shared: [UpstreamServer] { listed.filter { $0.partition == 0 } }

    /// The servers that are asked.
    package var upstream: [UpstreamServer] { listed.map { place(of: $0) } }

    /// Where `server`, one of `listed`, is asked.
    func place(of server: UpstreamServer) -> UpstreamServer {
        var place = (places[server] ?? server).asked(for: server.partition)
        place.encryption?.authorities = authorities
        return place
    }

    /// Whether the file as a whole failed, not just a line.
    func isUnreadable(_ path: String) -> Bool {
        diagnostics.list.contains { $0.place.path == path && $0.place.line == 0 }
    }
}

extension Configuration {
    static let systemHosts = "/etc/hosts"
    static let defaultZoneFolders = ["zones", "/etc/stub53/zones"]

    /// Reads all files.
    package func load() -> LoadedSources { load(last: nil) }

    /// Reads all files again. A zone that can't be loaded keeps its version in `last`, if that came from the same file.
    /// Data that came through a pipe can't be read again and is kept too.
    ///
    /// - Parameter leased: views added at run time.
    func load(last: LoadedSources?, leased: [ViewSettings] = []) -> LoadedSources {
        var loading = ViewLoading(self, loadShared(last: last), last: last)
        return loading.load(leased + views)
    }

    private func loadShared(last: LoadedSources?) -> LoadedSources {
        var diagnostics = Diagnostics()
        var watched: [String] = origin.file.map { [$0] } ?? []
        if !listen.encrypted.isEmpty { watched += [certificatePath, keyPath].compactMap { $0 } }
        let hosts: HostsTable
        let hostsFiles: [String]
        var keptHosts: [String] = []
        if let last, let hostsPaths, hostsPaths == last.hostsPaths,
            hostsPaths.contains(where: Self.isPipe)
        {
            (hosts, hostsFiles) = (last.hosts, last.hostsFiles)
        } else {
            let wasRead = last?.hostsFiles.contains(Self.systemHosts) == true
            let read = HostsReader.load(
                paths: hostsPaths ?? (wasRead ? [Self.systemHosts] : Self.existing(Self.systemHosts)),
                settings: self.hosts, last: last?.hosts)
            keptHosts = read.kept
            diagnostics.append(contentsOf: read.diagnostics)
            (hosts, hostsFiles) = (read.table, read.files)
            watched += read.watched
            if hostsPaths == nil && read.watched.isEmpty { watched.append(Self.systemHosts) }
        }
        let (rules, readRules) = RuleReader.load(
            paths: rulesPaths ?? [], settings: self.hosts, last: last?.rules ?? .empty)
        diagnostics.append(contentsOf: readRules.diagnostics)
        watched += readRules.watched
        let (lastPlaces, lastAuthorities) = (last?.places ?? [:], last?.authorities)
        let last = last?.zones

        var failed: [String] = []
        let zones = readZones(last: last, &failed, &diagnostics, &watched)
        let (listed, origin) = upstreamServers(&diagnostics, &watched)
        for server in listed where server.interface != nil && server.address.scope == 0 {
            diagnostics.warning(
                Place(path: "\(server)"), "this machine has no such interface; the server is asked once it has")
        }
        let routed = listed.map(\.domain).filter { !$0.isRoot }
        return LoadedSources(
            hosts: hosts, hostsFiles: hostsFiles, keptHosts: keptHosts, hostsPaths: hostsPaths, rules: rules,
            rulesFiles: readRules.files, keptRules: readRules.kept, zones: zones,
            failedZones: failed,
            special: SpecialNames(without: withoutSpecialNames, routed: routed), listed: listed,
            // Those of views' servers, too: they are listed later.
            places: lastPlaces.filter { ($0.key.partition > 0 || listed.contains($0.key)) && seeks($0.key) },
            authorities: authorities(lastAuthorities, &diagnostics, &watched),
            upstreamOrigin: origin, awaitsSystem: asksSystem && origin == nil,
            privateAddresses: PrivateAddressPolicy(privateAddresses, exempt: privateDomains + routed),
            diagnostics: diagnostics, watched: watched)
    }

    /// Reads the zone files. A zone that can't be loaded keeps its version in `last`.
    func readZones(
        last: ZoneSet?, _ failed: inout [String], _ diagnostics: inout Diagnostics, _ watched: inout [String]
    ) -> ZoneSet {
        var zones: [Zone] = []
        for zoneFile in listZoneFiles(last, &failed, &diagnostics, &watched) {
            let result = ZoneReader.read(path: zoneFile.path, name: zoneFile.name)
            for diagnostic in result.diagnostics { diagnostics.append(diagnostic) }
            watched += result.files.isEmpty ? [zoneFile.path] : result.files
            var zone: Zone?
            if result.isLoadable, let apex = result.apex {
                zone = Zone(apex: apex, records: result.records, path: zoneFile.path)
            } else {
                failed.append(zoneFile.path)
                zone = last?.zones.first { $0.path == zoneFile.path }
            }
            guard let zone else { continue }
            if let first = zones.first(where: { $0.apex == zone.apex }) {
                diagnostics.error(
                    Place(path: zoneFile.path), "\(zone.apex) is in \(first.path) already, which is served; remove one")
                failed.append(zoneFile.path)
                continue
            }
            zones.append(zone)
        }
        return ZoneSet(zones)
    }

    /// The zone files to read: those of folders, sorted, then those named individually. If a folder can't be read, it
    /// and its files count as failed, so that each keeps its last good zone.
    private func listZoneFiles(
        _ last: ZoneSet?, _ failed: inout [String], _ diagnostics: inout Diagnostics, _ watched: inout [String]
    ) -> [ZoneFile] {
        var files: [ZoneFile] = []
        var folders = zoneFolders ?? []
        if zoneFolders == nil, zoneFiles.isEmpty {
            folders = Self.defaultZoneFolders.first { Self.isFolder($0) }.map { [$0] } ?? []
            if folders.isEmpty { watched += Self.defaultZoneFolders }
        }
        for folder in folders {
            watched.append(folder)
            let prefix = folder.hasSuffix("/") ? folder : folder + "/"
            guard let names = Folder.list(folder) else {
                diagnostics.error(
                    Place(path: folder), "is no folder that can be read; name a folder, or give a zone file with --zone"
                )
                failed.append(folder)
                files += (last?.zones ?? []).map(\.path).filter {
                    $0.hasPrefix(prefix) && !$0.dropFirst(prefix.count).contains("/")
                }.map { ZoneFile(name: nil, path: $0) }
                continue
            }
            for name in names where name.hasSuffix(".zone") {
                files.append(ZoneFile(name: nil, path: prefix + name))
            }
        }
        for file in zoneFiles where !files.contains(file) { files.append(file) }
        return files
    }

    /// Whether other servers than `last`, or others of their interfaces, are to be asked by the system's state of now.
    func hasOtherServers(than last: [UpstreamServer]) -> Bool {
        var diagnostics = Diagnostics()
        var watched: [String] = []
        let listed = upstreamServers(&diagnostics, &watched).servers
        // What can't be read keeps its last good content.
        let last = last.filter { $0.partition == 0 }
        return (diagnostics.hasErrors ? last.map { $0.now() } : listed) != last
    }

    func upstreamServers(
        _ diagnostics: inout Diagnostics, _ watched: inout [String]
    ) -> (servers: [UpstreamServer], origin: String?) {
        let configured = upstream.servers.map { $0.now() }
        guard asksSystem else { return (configured, nil) }
        let system = ResolvConf.read(ownAddresses: ownAddresses)
        for diagnostic in system.diagnostics { diagnostics.append(diagnostic) }
        watched += system.watched
        let room = ForwardSettings.maximumServers - configured.count
        return (system.servers.prefix(room) + configured, system.servers.isEmpty ? nil : system.path)
    }

    /// What can't be read keeps its last good content.
    private func authorities(
        _ last: UpstreamServer.Authorities?, _ diagnostics: inout Diagnostics, _ watched: inout [String]
    ) -> UpstreamServer.Authorities? {
        guard let path = upstreamAuthorities else { return nil }
        watched.append(path)
        do {
            let bytes = try FileText.bytes(of: path, limit: Certificate.largestFile)
            _ = try Certificate(pem: bytes)
            return .init(path: path, pem: bytes)
        } catch {
            diagnostics.error(Place(path: path), "\(error); upstream.ca is a file of trusted certificates")
            return last?.path == path ? last : .init(path: path, pem: [])
        }
    }

    private static func existing(_ path: String) -> [String] { Glibc.access(path, F_OK) == 0 ? [path] : [] }

    /// A pipe can't be read twice.
    private static func isPipe(_ path: String) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return false }
        return status.st_mode & S_IFMT == S_IFIFO || status.st_mode & S_IFMT == S_IFCHR
    }

    private static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
