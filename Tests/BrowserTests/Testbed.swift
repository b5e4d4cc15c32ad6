import DNSWire
import Foundation
import TestSupport

/// The participants when a browser opens a page: the override's web server, a decoy that other records lead to, an
/// upstream server, and the daemon.
final class Testbed: Sendable {
    /// Where records of the name exist besides the override.
    enum Holder: String, Sendable, CaseIterable { case upstream, zone }

    static let isPossible = WebServer.isInstalled && TestAuthority.isAvailable && Namespace.isAvailable
    static let name = "acme.org"

    let folder: TemporaryFolder
    let authority: TestAuthority
    /// The override's target.
    let server: WebServer
    /// The target of all other records, such as a CDN.
    let decoy: WebServer
    let upstream: ScriptedServer
    let daemon: DaemonProcess

    /// `https`: the value of `hosts.https`.
    init(_ holder: Holder, https: String) async throws {
        folder = try TemporaryFolder()
        authority = try await TestAuthority()
        server = try await WebServer("the test server", certificate: try await authority.certificate(for: [Self.name]))
        // A CDN would also have a certificate for the public name of its ECH; a test server does not.
        decoy = try await WebServer(
            "the decoy", certificate: try await authority.certificate(for: [Encrypted.publicName, Self.name]))
        try folder.write("# mine\n\(server.address) \(Self.name)\n", to: "hosts")
        let decoyAddress = decoy.address.split(separator: ".").compactMap { UInt8($0) }
        // A browser also asks for its maker's names, which lead nowhere.
        let asked = Data(Packet.name(Self.name + "."))
        upstream = try ScriptedServer { query, _ in
            Data(query).range(of: asked) == nil
                ? .send(Reply.error(query, 3))
                : .send(Reply.record(query, of: [.a: decoyAddress, .https: Self.serviceRecord(decoyAddress)]))
        }
        try folder.write(
            """
            $ORIGIN \(Self.name).
            $TTL 3600
            @ IN SOA ns hostmaster 1 7200 3600 1209600 300
            @ NS ns
            ns A 152.153.81.53
            @ A 152.153.81.14
            @ HTTPS 1 . alpn=h3,h2 ipv4hint=\(decoy.address) ech=\(Data(Encrypted.configuration).base64EncodedString())

            """, to: "zones/acme.org.zone")
        let address = ownLoopbackAddress()
        try folder.write(
            """
            listen: [\(address):53, "https://\(address):443"]
            workers: 1
            hosts: {files: \(folder.file("hosts")), https: \(https)}
            zones: {folders: \(holder == .zone ? folder.file("zones") : "none")}
            upstream: {servers: 127.0.0.1:\(upstream.port)}

            """, to: "stub53.yaml")
        daemon = try await DaemonProcess(
            ["--config", folder.file("stub53.yaml")],
            behind: ["/usr/bin/env", "STATE_DIRECTORY=\(folder.file("state"))"], listens: false)
    }

    /// The state folder with the local CA of this test, for the daemon and `stub53 trust`.
    var state: String { "STATE_DIRECTORY=\(folder.file("state"))" }

    /// The daemon's own DNS over HTTPS, with its local CA installed as a user would.
    var doh: Browser.Resolver {
        let state = state
        return .doh("https://\(daemon.address)/dns-query") { database in
            let result = try await Command.run(
                [state, Command.executable.path, "trust", "--install", "--nss", database],
                executable: URL(filePath: "/usr/bin/env"))
            guard result.code == 0 else { throw LineReader.Missing(description: result.errors) }
        }
    }

    /// Whether this machine has a route to IPv6 addresses: without one, a browser asks for none.
    static let hasIPv6 = {
        let probe = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(probe) }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = UInt16(53).bigEndian
        inet_pton(AF_INET6, "2001:4860:4860::8888", &address.sin6_addr)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(probe, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
            }
        }
    }()

    /// Opens the page with a new browser.
    func open(_ browser: Browser, _ resolver: Browser.Resolver) async throws -> String {
        try await browser.open("http://\(Self.name)/", resolver, server: daemon.address, trusting: authority)
    }

    /// Ends the daemon, so that its log is complete; returns the lookups of the name in order.
    func lookups() async throws -> [Lookup] {
        _ = try await daemon.stop()
        return seen
    }

    /// The lookups of the name so far.
    var seen: [Lookup] { daemon.output.all.compactMap(Lookup.init).filter { $0.name == Self.name + "." } }

    /// `1 . alpn=h3,h2 ipv4hint=ADDRESS ech=...` (RFC 9460 2.2, 7; RFC 9848).
    private static func serviceRecord(_ address: [UInt8]) -> [UInt8] {
        let protocols: [UInt8] = [2] + "h3".utf8 + [2] + "h2".utf8
        let parameters: [(UInt16, [UInt8])] = [(1, protocols), (4, address), (5, Encrypted.configuration)]
        return [0, 1, 0]
            + parameters.flatMap { key, value in
                Packet.bytes(key) + Packet.bytes(UInt16(value.count)) + value
            }
    }
}

/// Keys for Encrypted ClientHello, as a CDN would publish.
enum Encrypted {
    static let publicName = "public.cdn.test"

    /// An ECHConfigList of one configuration: X25519, HKDF-SHA256, AES-128-GCM (RFC 9849 4). Any 32 bytes are a key.
    static let configuration: [UInt8] = {
        let key = (0..<32).map { UInt8($0 + 7) }
        let keys: [UInt8] = [42] + Packet.bytes(0x20) + Packet.bytes(32) + key
        let suites = Packet.bytes(4) + Packet.bytes(1) + Packet.bytes(1)
        let name = [0, UInt8(publicName.utf8.count)] + Array(publicName.utf8)
        let contents = keys + suites + name + Packet.bytes(0)
        let one = Packet.bytes(0xFE0D) + Packet.bytes(UInt16(contents.count)) + contents
        return Packet.bytes(UInt16(one.count)) + one
    }()
}

/// A line of the log, with the members needed here.
struct Lookup: Sendable, Hashable, CustomStringConvertible {
    let name: String
    let type: String
    let transport: String
    let source: String
    let rule: String
    let code: String
    let answers: [String]

    /// Nil for lines that are not lookups.
    init?(_ line: String) {
        guard line.hasPrefix("{"),
            let fields = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
            let name = fields["name"] as? String, let type = fields["type"] as? String
        else { return nil }
        self.name = name
        self.type = type
        transport = fields["transport"] as? String ?? "-"
        source = fields["source"] as? String ?? "-"
        rule = fields["rule"] as? String ?? "-"
        code = fields["rcode"] as? String ?? "-"
        answers = fields["answers"] as? [String] ?? []
    }

    var description: String { "\(type) \(source) \(code) \(answers)" }
}
