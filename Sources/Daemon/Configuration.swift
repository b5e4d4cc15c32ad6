import Certificates
package import DNSWire
import Glibc
package import LocalData
import Lookup
package import LookupLog
package import Pipeline
package import Platform
package import Transports
package import Upstream

/// Everything that can be set, and what it is when nobody sets it.
///
/// The same keys are read from the command line and from a YAML file; `ConfigurationKey.all` is the list of them.
package struct Configuration: Sendable {
    /// A zone file, and the zone's name where the SOA's owner is not to decide.
    package struct ZoneFile: Hashable, Sendable {
        package var name: Name?
        package var path: String
    }

    /// Who is asked for what is not local.
    package enum Upstream: Hashable, Sendable {
        /// The servers of /etc/resolv.conf.
        case system
        /// Nobody: only local data is served.
        case none
        case servers([UpstreamServer])
    }

    /// What a lookup's log record is written as.
    package enum LogFormat: String, Sendable, CaseIterable { case text, json, none }

    /// Something that is there by default, and then may be left out when it can't be had.
    package struct Endpoint<Value: Hashable & Sendable>: Hashable, Sendable {
        /// Nil: off.
        package internal(set) var value: Value?
        /// Nobody has asked for it: it is no error when it can't be had.
        package internal(set) var isDefault = true

        init(_ value: Value?) { self.value = value }

        mutating func set(_ value: Value?) {
            self.value = value
            isDefault = false
        }
    }

    /// What is kept of the lookups, and how much.
    package struct History: Hashable, Sendable {
        /// The database.
        package var path = Endpoint<String>(LocalAuthority.stateFolder + "/history.db")
        /// Bytes.
        package var maximumSize = 512 << 20
        /// Seconds.
        package var maximumAge: UInt64 = 30 * 86_400
        /// Lookups in a second; what comes beyond is counted and not kept.
        package var maximumRate = 10_000
    }

    /// Who gets dnstap, and how much of it files hold.
    package struct Dnstap: Hashable, Sendable {
        package var destinations: [DnstapDestination] = []
        /// Bytes of a file, after which another is begun.
        package var maximumFileSize = 100 << 20
        /// Files that are full and not yet removed.
        package var keptFiles = 9

        static let maximumDestinations = 16
    }

    /// `/run/stub53/control.sock` for root; for others in the folder of their session.
    static var defaultControlPath: String {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        if let folder = variable("RUNTIME_DIRECTORY")?.split(separator: ":").first { return "\(folder)/control.sock" }
        if geteuid() == 0 { return systemControlPath }
        if let folder = variable("XDG_RUNTIME_DIR") { return folder + "/stub53/control.sock" }
        return LocalAuthority.stateFolder + "/control.sock"
    }

    static let systemControlPath = "/run/stub53/control.sock"

    /// Where a client looks for the daemon's control socket: its own user's, then the machine's.
    package static var controlPaths: [String] {
        defaultControlPath == systemControlPath ? [systemControlPath] : [defaultControlPath, systemControlPath]
    }

    /// UDP and TCP on each.
    package var listen = Self.defaultListen
    package var encrypted: [EncryptedAddress] = []
    /// The certificate (with its chain) and its key, PEM; nil: issued by the local authority.
    package var certificatePath: String?
    package var keyPath: String?
    /// Both files, where they are configured.
    var certificateFiles: (certificate: String, key: String)? {
        guard let certificatePath, let keyPath else { return nil }
        return (certificatePath, keyPath)
    }
    static let defaultListen = [SocketAddress(high: 0, low: 0x7F00_0035, port: 53, isIPv6: false)]
    /// Nobody has said where to listen.
    var listensByDefault = true
    /// Files and folders with overrides; nil: /etc/hosts, if there is one.
    package var hostsPaths: [String]?
    package var hosts = HostsSettings()
    /// Folders whose `*.zone` files are loaded; nil, and no `zoneFiles` either: `zones` or else /etc/stub53/zones.
    package var zoneFolders: [String]?
    package var zoneFiles: [ZoneFile] = []
    /// Groups of special-use names that are not answered by us.
    package var withoutSpecialNames: Set<SpecialNames.Group> = []
    package var upstream = Upstream.system
    /// How upstream is asked; whom is said by `ConfigurationSources.upstream`.
    package var forwarding = ForwardSettings(servers: [])
    package var cache = AnswerCache.Settings()
    /// Networks that are served; nil: those this machine is directly connected to. Loopback always is.
    var access: [AccessList.Network]?
    package var streams = StreamLimits()
    package var logFormat = LogFormat.text
    /// Nil: standard output.
    package var logFile: String?
    /// Where lookups are kept to be searched.
    package var history = History()
    package var dnstap = Dnstap()
    /// Who is told the reason of an answer in its EDNS.
    package var explains = Explains.loopback
    /// The control socket.
    package var control = Endpoint<String>(defaultControlPath)
    /// The inspector page.
    package var inspector = Endpoint<SocketAddress>(SocketAddress(high: 0, low: 0x7F00_0035, port: 8053, isIPv6: false))
    /// Serving threads; nil: one per core.
    package var workers: Int?
    /// Answer to `id.server.` CH TXT and NSID, at most 255 bytes; empty: refused.
    package var identity = Self.hostName
    /// Answer to `version.bind.` CH TXT, at most 255 bytes; empty: refused.
    package var version = "stub53 \(Release.version)"
    /// Starts although a zone is bad.
    package var keepsGoing = false
    /// The file that was read, for watching.
    package private(set) var file: String?
    /// What was read together with it.
    private var options: [Option] = []

    package init() {}

    /// Who is served; the networks of this machine as they are now, where none are configured.
    var accessList: AccessList { AccessList(allowing: access ?? AccessList.connectedNetworks()) }

    /// One option of the command line: the key that it sets and the values given.
    package struct Option: Sendable {
        /// As the user wrote it: `--listen`.
        package var flag: String
        package var key: String
        package var values: [String]

        package init(_ flag: String, _ key: String, _ values: [String]) {
            self.flag = flag
            self.key = key
            self.values = values
        }
    }

    /// Defaults, then the file, then the options: the later wins.
    ///
    /// All problems are reported, not only the first; what has none is set.
    package static func read(file: String?, options: [Option]) -> (Configuration, Diagnostics) {
        var configuration = Configuration()
        configuration.options = options
        var diagnostics = Diagnostics()
        var places: [String: Place] = [:]
        if let file {
            configuration.file = file
            ConfigurationFile.read(file, &diagnostics) { key, values, place, diagnostics in
                places[key.path] = place
                key.set(&configuration, values, at: place, key.path, &diagnostics)
            }
        }
        for option in options {
            let place = Place(path: option.flag)
            guard let key = ConfigurationKey.find(option.key) else {
                diagnostics.error(place, "sets '\(option.key)', which is no key")
                continue
            }
            places[key.path] = place
            key.set(&configuration, .init(option.values.map { ($0, place) }), at: place, nil, &diagnostics)
        }
        if !diagnostics.hasErrors { configuration.checkTogether(places, &diagnostics) }
        return (configuration, diagnostics)
    }

    /// The same file and options once more.
    func readAgain() -> (Configuration, Diagnostics) { Self.read(file: file, options: options) }

    /// Sockets that were opened for us are served in place of the default address.
    mutating func adopt(_ inherited: InheritedSockets) {
        guard !inherited.addresses.isEmpty else { return }
        listen = inherited.addresses + (listensByDefault ? [] : listen.filter { !inherited.addresses.contains($0) })
    }

    /// What is wrong only with settings taken together.
    private mutating func checkTogether(_ places: [String: Place], _ diagnostics: inout Diagnostics) {
        func place(_ key: String) -> Place { places[key] ?? Place(path: key) }
        if (certificatePath == nil) != (keyPath == nil) {
            diagnostics.error(
                place(certificatePath == nil ? "tls.key" : "tls.certificate"),
                "certificate and key belong together; give both, or neither to have the local CA make them")
        }
        if encrypted.isEmpty, certificatePath != nil || keyPath != nil {
            diagnostics.error(
                place(certificatePath == nil ? "tls.key" : "tls.certificate"),
                "nothing is served over TLS or HTTPS; listen on tls://ADDR or https://ADDR, or leave it out")
        }
        if listen.isEmpty, encrypted.isEmpty {
            diagnostics.error(place("listen"), "no address to listen on; give one, or leave listen out")
        }
        if cache.ttls.least > cache.ttls.most {
            diagnostics.error(
                place("cache.min-ttl"),
                "cache.min-ttl (\(cache.ttls.least)s) is more than cache.max-ttl (\(cache.ttls.most)s)")
        }
        guard case .servers(let servers) = upstream else { return }
        if servers.isEmpty { upstream = .none }
        let own = ownAddresses
        for server in servers {
            if let own = own.first(where: { Self.reaches(server.address, $0) }) {
                diagnostics.error(
                    place("upstream.servers"),
                    "\(server) is an address of our own (listen \(own)): it would ask itself; name another server")
            }
        }
    }

    /// Where we listen; for all addresses of this machine, each of them too.
    var ownAddresses: [SocketAddress] {
        listen.flatMap { own in own.isUnspecified ? [own] + own.reachable : [own] }
    }

    /// Whether what is sent to `target` arrives at the listener on `own`, as far as addresses tell.
    private static func reaches(_ target: SocketAddress, _ own: SocketAddress) -> Bool {
        guard target.port == own.port else { return false }
        if own.isUnspecified { return target.isLoopback && (own.isIPv6 || !target.isIPv6) }
        return target.withPort(0) == own.withPort(0)
    }

    /// This machine's name; empty where the system has none.
    package static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, 255) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
