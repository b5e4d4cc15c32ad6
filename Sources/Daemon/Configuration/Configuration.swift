package import Cassettes
import Certificates
package import DNSWire
import Glibc
package import LocalData
import Lookup
package import LookupLog
import Pipeline
package import Platform
package import Transports
package import Upstream

/// All settings, with their defaults.
///
/// The keys in `ConfigurationKey.all` set them, from the command line and from a YAML file.
package struct Configuration: Sendable {
    /// Where queries are received.
    package struct Listen: Equatable, Sendable {
        /// Serves UDP and TCP on each.
        package var plain: [SocketAddress] = []
        package var encrypted: [EncryptedAddress] = []
        /// The addresses are the default, not configured.
        var isDefault = false

        static let standard: Listen = {
            var listen = Listen()
            listen.plain = [standardAddress]
            listen.isDefault = true
            return listen
        }()

        /// 127.0.0.53:53.
        package static let standardAddress = SocketAddress(high: 0, low: 0x7F00_0035, port: 53, isIPv6: false)

        var addresses: [SocketAddress] { plain + encrypted.map(\.address) }

        package static func == (left: Listen, right: Listen) -> Bool {
            left.plain == right.plain && left.encrypted == right.encrypted
        }
    }

    /// A zone file; the zone's name, if it is not the owner of the SOA.
    package struct ZoneFile: Hashable, Sendable {
        package var name: Name?
        package var path: String
    }

    /// Which servers are asked for names that are not local.
    package struct Upstream: Hashable, Sendable {
        /// Who is asked for names outside the routes, where no server is named for that.
        enum Rest: String {
            /// The servers of /etc/resolv.conf.
            case system
            /// Nobody: these names are refused.
            case none
        }

        /// Nil: nothing is said.
        var rest: Rest? = .system
        /// Of routes, and for all other names.
        var servers: [UpstreamServer] = []

        /// Whether the system's servers are asked for names outside the routes. Beside routes alone nothing has to be
        /// said for that: a route changes nothing for other names.
        package var asksSystem: Bool { rest == .system || rest == nil && !servers.contains { $0.domain.isRoot } }
    }

    /// How lookups are logged.
    package enum LogFormat: String, Sendable, CaseIterable { case text, json, none }

    /// A part of the service that is on by default. If the default is not available, the part is left out without an
    /// error.
    package struct Endpoint<Value: Hashable & Sendable>: Hashable, Sendable {
        /// Nil: off.
        package let value: Value?
        /// Not configured.
        package let isDefault: Bool

        init(_ value: Value?, isDefault: Bool = false) {
            self.value = value
            self.isDefault = isDefault
        }
    }

    /// Which lookups are stored, and where.
    package struct History: Hashable, Sendable {
        /// The database.
        package var path = Endpoint(LocalAuthority.stateFolder + "/history.db", isDefault: true)
        /// Bytes.
        package var maximumSize = 512 << 20
        /// Seconds.
        package var maximumAge: UInt64 = 30 * 86_400
        /// Lookups per second; further ones are counted but not stored.
        package var maximumRate = 10_000
    }

    /// The destinations of dnstap, and the limits on its files.
    package struct Dnstap: Hashable, Sendable {
        package var destinations: [DnstapDestination] = []
        /// Bytes; a file of this size is renamed, and a new one started.
        package var maximumFileSize = 100 << 20
        /// How many renamed files are kept.
        package var keptFiles = 9

        static let maximumDestinations = 16
    }

    package var listen = Listen.standard
    /// The certificate (with its chain) and its key, PEM; nil: the local authority issues one.
    package var certificatePath: String?
    package var keyPath: String?
    /// Both files, if they are configured.
    var certificateFiles: (certificate: String, key: String)? {
        guard let certificatePath, let keyPath else { return nil }
        return (certificatePath, keyPath)
    }
    /// Files and folders with overrides; nil: /etc/hosts, if it exists.
    package var hostsPaths: [String]?
    package var hosts = HostsSettings()
    /// Files and folders with rules.
    package var rulesPaths: [String]?
    /// Folders whose `*.zone` files are loaded; nil, without `zoneFiles`: `zones`, else /etc/stub53/zones.
    package var zoneFolders: [String]?
    package var zoneFiles: [ZoneFile] = []
    /// Groups of special-use names that are treated as ordinary names.
    package var withoutSpecialNames: Set<SpecialNames.Group> = []
    package var upstream = Upstream()
    /// How upstream is asked; the servers are in `LoadedSources.upstream`.
    package var forwarding = ForwardSettings(servers: [])
    /// A file of certificates that encrypted upstream servers are verified with; nil: the system's.
    package var upstreamAuthorities: String?
    /// Whether encrypted servers that plain ones announce are asked in their place (RFC 9462).
    package var discovers = false
    /// What happens to private addresses that upstream gives for public names, but for those in `privateDomains`.
    package var privateAddresses = PrivateAddressPolicy.Action.warn
    package var privateDomains: [Name] = []
    package var cache = AnswerCache.Settings()
    package var cassette = CassetteSettings()
    /// Networks that are served; nil: those this machine is directly connected to. Loopback is always served.
    var access: [AccessList.Network]?
    package var streams = StreamLimits()
    package var logFormat = LogFormat.text
    /// Nil: standard output.
    package var logFile: String?
    /// When the log's file is moved away, and how many old ones stay.
    package var logRotation = FileRotation.Limits(size: 100 << 20, kept: 9)
    package var history = History()
    package var dnstap = Dnstap()
    /// Which clients get the reason of an answer as an extended error.
    package var explains = ReasonAudience.loopback
    /// The control socket.
    package var control = Endpoint(defaultControlPath, isDefault: true)
    /// The inspector page.
    package var inspector = Endpoint(
        SocketAddress(high: 0, low: 0x7F00_0035, port: 8053, isIPv6: false), isDefault: true)
    /// In the order in which they are tried: the first that fits a query answers it.
    var views: [ViewSettings] = []
    /// Serving threads; nil: one per core.
    package var workers: Int?
    /// Whom to become, if started by root; nil: the usual user, if there is one.
    package var user: SystemUser?
    /// Answer to `id.server.` CH TXT and NSID, at most 255 bytes; empty: refused.
    package var identity = Self.hostName
    /// Answer to `version.bind.` CH TXT, at most 255 bytes; empty: refused.
    package var version = "stub53 \(Release.version)"
    /// Start even if a zone can't be loaded.
    package var keepsGoing = false
    /// Where the configuration was read from.
    var origin = Origin(file: nil, options: [])
    /// How many settings its file has.
    var settingsInFile = 0

    package init() {}

    /// The file and options of a configuration, to read it again.
    struct Origin: Sendable {
        var file: String?
        var options: [Option]
    }

    /// One option of the command line: the key that it sets, and the values given.
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

    /// Whether a group of special-use names is answered here.
    subscript(special group: SpecialNames.Group) -> Bool {
        get { !withoutSpecialNames.contains(group) }
        set { if newValue { withoutSpecialNames.remove(group) } else { withoutSpecialNames.insert(group) } }
    }

    /// Which clients are served; without configured networks, those that this machine's `addresses` are in.
    func accessList(_ addresses: [InterfaceAddress]) -> AccessList {
        AccessList(allowing: access ?? AccessList.networks(of: addresses))
    }

    /// Whether the servers of /etc/resolv.conf are asked.
    var asksSystem: Bool { upstream.asksSystem && !cassette.isOffline }

    /// Serves inherited sockets instead of the default address.
    mutating func adopt(_ inherited: InheritedSockets) {
        guard !inherited.addresses.isEmpty else { return }
        let chosen = listen.isDefault ? [] : listen.plain.filter { !inherited.addresses.contains($0) }
        listen.plain = inherited.addresses + chosen
    }

    /// The addresses we listen on; for a wildcard address, also each address of this machine.
    var ownAddresses: [SocketAddress] {
        listen.plain.flatMap { own in own.isUnspecified ? [own] + own.reachable : [own] }
    }

    /// This machine's host name; empty if there is none.
    package static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, 255) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: The control socket

    /// `/run/stub53/control.sock` for root; for other users, in their session's runtime folder. Stays the same when the
    /// process becomes another user.
    static let defaultControlPath: String = {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        if let folder = variable("RUNTIME_DIRECTORY")?.split(separator: ":").first { return "\(folder)/control.sock" }
        if geteuid() == 0 { return systemControlPath }
        if let folder = variable("XDG_RUNTIME_DIR") { return folder + "/stub53/control.sock" }
        return LocalAuthority.stateFolder + "/control.sock"
    }()

    private static let systemControlPath = "/run/stub53/control.sock"

    /// Where clients look for the daemon's control socket: first the user's own, then the machine's.
    package static var controlPaths: [String] {
        defaultControlPath == systemControlPath ? [systemControlPath] : [defaultControlPath, systemControlPath]
    }
}
