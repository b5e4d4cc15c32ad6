import Certificates
public import DNSWire
import Glibc
public import LookupLog
public import Resolution

/// Everything that can be set, and what it is when nobody sets it.
///
/// The same keys are read from the command line and from a YAML file; `ConfigurationKey.all` is the list of them.
public struct Configuration: Sendable {
    /// A zone file, and the zone's name where the SOA's owner is not to decide.
    public struct ZoneFile: Hashable, Sendable {
        public var name: Name?
        public var path: String
    }

    /// Who is asked for what is not local.
    public enum Upstream: Hashable, Sendable {
        /// The servers of /etc/resolv.conf.
        case system
        /// Nobody: only local data is served.
        case none
        case servers([UpstreamServer])
    }

    /// What a lookup's log record is written as.
    public enum LogFormat: String, Sendable, CaseIterable { case text, json, none }

    /// Bounds on TCP connections.
    public struct Streams: Hashable, Sendable {
        public var maximumConnections = 1000
        /// Queries of one connection that may wait for upstream at once.
        public var maximumPipelined = 100
        /// Milliseconds without a query after which a connection is closed (RFC 7766 6.2.3).
        public var idleTimeout: UInt64 = 10_000
    }

    /// An address where DNS is served over TLS or HTTPS.
    public struct EncryptedAddress: Hashable, Sendable, CustomStringConvertible {
        public enum Service: String, Hashable, Sendable, CaseIterable {
            case tls, https

            var defaultPort: UInt16 { self == .tls ? 853 : 443 }
        }
        public var service: Service
        public var address: SocketAddress

        public var description: String { "\(service)://\(address)" }
    }

    /// Something that is there by default, and then may be left out when it can't be had.
    public struct Endpoint<Value: Hashable & Sendable>: Hashable, Sendable {
        /// Nil: off.
        public internal(set) var value: Value?
        /// Nobody has asked for it: it is no error when it can't be had.
        public internal(set) var isDefault = true

        init(_ value: Value?) { self.value = value }

        mutating func set(_ value: Value?) {
            self.value = value
            isDefault = false
        }
    }

    /// What is kept of the lookups, and how much.
    public struct History: Hashable, Sendable {
        /// The database.
        public var path = Endpoint<String>(LocalAuthority.stateFolder + "/history.db")
        /// Bytes.
        public var maximumSize = 512 << 20
        /// Seconds.
        public var maximumAge: UInt64 = 30 * 86_400
        /// Lookups in a second; what comes beyond is counted and not kept.
        public var maximumRate = 10_000
    }

    /// Who gets dnstap, and how much of it files hold.
    public struct Dnstap: Hashable, Sendable {
        public var destinations: [DnstapDestination] = []
        /// Bytes of a file, after which another is begun.
        public var maximumFileSize = 100 << 20
        /// Files that are full and not yet removed.
        public var keptFiles = 9

        static let maximumDestinations = 16
    }

    /// Whose answers say in an extended error why they are as they are.
    public enum Explains: String, Sendable, CaseIterable { case loopback, all, off }

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
    public static var controlPaths: [String] {
        defaultControlPath == systemControlPath ? [systemControlPath] : [defaultControlPath, systemControlPath]
    }

    /// UDP and TCP on each.
    public var listen = Self.defaultListen
    public var encrypted: [EncryptedAddress] = []
    /// The certificate (with its chain) and its key, PEM; nil: issued by the local authority.
    public var certificatePath: String?
    public var keyPath: String?
    static let defaultListen = [SocketAddress(high: 0, low: 0x7F00_0035, port: 53, isIPv6: false)]
    /// Nobody has said where to listen.
    var listensByDefault = true
    /// Files and folders with overrides; nil: /etc/hosts, if there is one.
    public var hostsPaths: [String]?
    public var hosts = HostsSettings()
    /// Folders whose `*.zone` files are loaded; nil, and no `zoneFiles` either: `zones` or else /etc/stub53/zones.
    public var zoneFolders: [String]?
    public var zoneFiles: [ZoneFile] = []
    /// Groups of special-use names that are not answered by us.
    public var withoutSpecialNames: Set<SpecialNames.Group> = []
    public var upstream = Upstream.system
    /// How upstream is asked; whom is said by `ConfigurationSources.upstream`.
    public var forwarding = ForwardSettings(servers: [])
    public var cache = AnswerCache.Settings()
    /// Networks that are served; nil: those this machine is directly connected to. Loopback always is.
    var access: [AccessList.Network]?
    public var streams = Streams()
    public var logFormat = LogFormat.text
    /// Nil: standard output.
    public var logFile: String?
    /// Where lookups are kept to be searched.
    public var history = History()
    public var dnstap = Dnstap()
    /// Who is told the reason of an answer in its EDNS.
    public var explains = Explains.loopback
    /// The control socket.
    public var control = Endpoint<String>(defaultControlPath)
    /// The inspector page.
    public var inspector = Endpoint<SocketAddress>(SocketAddress(high: 0, low: 0x7F00_0035, port: 8053, isIPv6: false))
    /// Serving threads; nil: one per core.
    public var workers: Int?
    /// Answer to `id.server.` CH TXT and NSID, at most 255 bytes; empty: refused.
    public var identity = Self.hostName
    /// Answer to `version.bind.` CH TXT, at most 255 bytes; empty: refused.
    public var version = "stub53 \(Release.version)"
    /// Starts although a zone is bad.
    public var keepsGoing = false
    /// The file that was read, for watching.
    public private(set) var file: String?
    /// What was read together with it.
    private var options: [Option] = []

    public init() {}

    /// Who is served; the networks of this machine as they are now, where none are configured.
    var accessList: AccessList { AccessList(allowing: access ?? AccessList.connectedNetworks()) }

    /// One option of the command line: the key that it sets and the values given.
    public struct Option: Sendable {
        /// As the user wrote it: `--listen`.
        public var flag: String
        public var key: String
        public var values: [String]

        public init(_ flag: String, _ key: String, _ values: [String]) {
            self.flag = flag
            self.key = key
            self.values = values
        }
    }

    /// Defaults, then the file, then the options: the later wins.
    ///
    /// All problems are reported, not only the first; what has none is set.
    public static func read(file: String?, options: [Option]) -> (Configuration, Diagnostics) {
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
        listen.flatMap { own in own.isUnspecified ? [own] + Self.reachable(own) : [own] }
    }

    /// The address itself; for all addresses of this machine, each of them.
    static func reachable(_ own: SocketAddress) -> [SocketAddress] {
        guard own.isUnspecified else { return [own] }
        return AccessList.interfaceAddresses().map { $0.address.withPort(own.port) }.filter { $0.isIPv6 == own.isIPv6 }
    }

    /// Whether what is sent to `target` arrives at the listener on `own`, as far as addresses tell.
    private static func reaches(_ target: SocketAddress, _ own: SocketAddress) -> Bool {
        guard target.port == own.port else { return false }
        if own.isUnspecified { return target.isLoopback && (own.isIPv6 || !target.isIPv6) }
        return target.withPort(0) == own.withPort(0)
    }

    /// This machine's name; empty where the system has none.
    public static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, 255) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
