import Foundation

/// The servers measured.
enum Peer: String, CaseIterable, Codable, Sendable {
    /// A loop of `recvmmsg` and `sendmmsg`: the lower bound.
    case echo
    case stub53
    /// stub53 with two workers on two cores.
    case stub53Two = "stub53 x2"
    case unbound, nsd, knot, dnsdist, recursor, dnsmasq

    var program: String {
        switch self {
        case .echo, .stub53, .stub53Two: ""
        case .knot: "knotd"
        case .recursor: "pdns_recursor"
        default: rawValue
        }
    }
}

/// The data that a server serves.
enum Content: Sendable, Hashable {
    /// Only its defaults.
    case nothing
    /// Overrides: a hosts file with this many lines.
    case hosts(Int)
    /// The same, with every lookup logged to a file.
    case loggedHosts(Int)
    /// The same, and in stub53's history too.
    case keptHosts(Int)
    case zone(Int)
    /// The same over TLS or HTTPS.
    case encryptedZone(Int, https: Bool)
    /// Answers from upstream.
    case forwarded
    /// The same over TLS or HTTPS.
    case forwardedEncrypted(https: Bool)
}

/// Writes configurations and starts servers, each in its own folder.
struct Starter {
    let settings: Settings
    let data: DataFiles
    let folder: String

    /// The file to which a server logs lookups.
    static let lookupLog = "lookups.log"

    /// Starts `peer` with `content` and the servers it depends on; the last one is the server itself.
    func start(_ peer: Peer, _ content: Content) throws -> [Server] {
        var servers: [Server] = []
        do {
            if let upstream = try upstream(peer, content) { servers.append(try Server(upstream)) }
            let upstream = servers.last.map { $0.setup.encryptedPort ?? $0.port }
            servers.append(try Server(setup(peer, content, upstream: upstream)))
            return servers
        } catch {
            for server in servers { server.stop() }
            throw error
        }
    }

    /// The upstream of a forwarder: it shares the core of the load.
    private func upstream(_ peer: Peer, _ content: Content) throws -> Setup? {
        guard peer != .echo else { return nil }
        switch (content, peer) {
        case (.zone(let count), .dnsdist):
            var setup = try setup(.nsd, .zone(count), upstream: nil, role: "behind-")
            setup.cores = settings.loadCores
            return setup
        case (.forwarded, _):
            let port = try LoopbackSocket.freePort()
            return Setup(
                command: [settings.echo, "\(port)", "3600"], port: port, probe: Question(name: "upstream.example."),
                cores: settings.loadCores, folder: try makeFolder("upstream"))
        case (.forwardedEncrypted(let https), _): return try encryptedUpstream(https: https)
        default: return nil
        }
    }

    /// dnsdist, which answers any name itself.
    private func encryptedUpstream(https: Bool) throws -> Setup {
        let (plain, port) = (try LoopbackSocket.freePort(), try LoopbackSocket.freePort())
        let certificate = try data.certificate()
        let folder = try makeFolder("upstream")
        let listener = https ? "addDOHLocal" : "addTLSLocal"
        let path = https ? ", \"/dns-query\"" : ""
        let lines = [
            "setLocal(\"127.0.0.1:\(plain)\")",
            "\(listener)(\"127.0.0.1:\(port)\", \"\(certificate.chain)\", \"\(certificate.key)\"\(path))",
            "addAction(AllRule(), SpoofAction(\"192.0.2.1\", {ttl=3600}))", "setSecurityPollSuffix(\"\")",
        ]
        try lines.joined(separator: "\n").write(toFile: folder + "/dnsdist.conf", atomically: false, encoding: .utf8)
        return Setup(
            command: ["dnsdist", "--supervised", "--disable-syslog", "-C", folder + "/dnsdist.conf"], port: plain,
            encryptedPort: port, probe: Question(name: "upstream.example."), cores: settings.loadCores, folder: folder)
    }

    private func setup(_ peer: Peer, _ content: Content, upstream: UInt16?, role: String = "") throws -> Setup {
        let port = try LoopbackSocket.freePort()
        let folder = try makeFolder(role + peer.rawValue.replacing(" ", with: "-"))
        var setup = Setup(
            command: [], port: port, probe: probe(content), cores: settings.serverCores, folder: folder)
        if case .encryptedZone = content { setup.encryptedPort = try LoopbackSocket.freePort() }
        if content == .nothing { setup.needsRecord = false }
        func template(_ name: String, _ values: [String: String]) throws -> String {
            var text = try String(contentsOfFile: "\(settings.templates)/\(name)", encoding: .utf8)
            let common = [
                "PORT": "\(port)", "FOLDER": folder, "USER": NSUserName(), "UPSTREAM": "\(upstream ?? 0)",
                "SERVER": "", "MORE": "",
            ]
            for (key, value) in common.merging(values, uniquingKeysWith: { $1 }) {
                text = text.replacing("%\(key)%", with: value)
            }
            let path = "\(folder)/\(name)"
            try text.write(toFile: path, atomically: false, encoding: .utf8)
            return path
        }
        switch peer {
        case .echo:
            setup.command = [settings.echo, "\(port)"]
            setup.needsRecord = false
        case .stub53, .stub53Two:
            if peer == .stub53Two { setup.cores = settings.allCores }
            setup.command = [settings.stub53, "serve", "--listen", "127.0.0.1:\(port)"]
            if content != .nothing {
                setup.command += ["--workers", peer == .stub53 ? "1" : "2", "--inspector", "off", "--control", "off"]
            }
            setup.command += try stub53Options(content, setup, upstream)
        case .unbound:
            setup.command = [
                "unbound", "-d", "-c", try template("unbound.conf", unboundValues(content, setup, upstream)),
            ]
        case .nsd:
            guard case .zone(let count) = content else { throw Failure("nsd serves zones only") }
            setup.command = ["nsd", "-d", "-c", try template("nsd.conf", ["DATA": data.zone(count)])]
        case .knot:
            guard case .zone(let count) = content else { throw Failure("knot serves zones only") }
            setup.command = ["knotd", "-c", try template("knot.conf", ["DATA": data.zone(count)])]
        case .dnsdist:
            setup.command = [
                "dnsdist", "--supervised", "--disable-syslog", "-C",
                try template("dnsdist.conf", dnsdistValues(content)),
            ]
        case .recursor:
            _ = try template("recursor.conf", [:])
            setup.command = ["pdns_recursor", "--config-dir=\(folder)"]
        case .dnsmasq:
            setup.command = [
                "dnsmasq", "-k", "-C", try template("dnsmasq.conf", dnsmasqValues(content, folder, upstream)),
            ]
        }
        return setup
    }

    private func stub53Options(_ content: Content, _ setup: Setup, _ upstream: UInt16?) throws -> [String] {
        switch content {
        // The default configuration except for the log's path: /etc/hosts, the system's upstreams, text.
        case .nothing: return ["--log-file", "/dev/null"]
        case .hosts(let count):
            return ["--hosts", try data.hosts(count), "--no-upstream", "--log", "none", "--history", "off"]
        case .loggedHosts(let count):
            return [
                "--hosts", try data.hosts(count), "--no-upstream", "--log", "json",
                "--log-file", "\(setup.folder)/\(Self.lookupLog)", "--history", "off",
            ]
        case .keptHosts(let count):
            let options = try stub53Options(.loggedHosts(count), setup, upstream)
            return options.dropLast() + ["\(setup.folder)/history.db"]
        case .zone(let count):
            return ["--no-hosts", "--zone", try data.zone(count), "--no-upstream", "--log", "none", "--history", "off"]
        case .encryptedZone(let count, let https):
            let address = "\(https ? "https" : "tls")://127.0.0.1:\(setup.encryptedPort ?? 0)"
            let certificate = try data.certificate()
            return try stub53Options(.zone(count), setup, upstream) + [
                "--listen", address, "--certificate", certificate.chain, "--key", certificate.key,
            ]
        case .forwarded:
            return ["--no-hosts", "--upstream", "127.0.0.1:\(upstream ?? 0)", "--log", "none", "--history", "off"]
        case .forwardedEncrypted(let https):
            let server = https ? "https://127.0.0.1:\(upstream ?? 0)/dns-query" : "tls://127.0.0.1:\(upstream ?? 0)"
            let file = setup.folder + "/stub53.yaml"
            try "upstream: {servers: [\"\(server)\"], ca: \(try data.certificate().chain)}\n"
                .write(toFile: file, atomically: false, encoding: .utf8)
            return ["--config", file, "--no-hosts", "--log", "none", "--history", "off"]
        }
    }

    private func unboundValues(_ content: Content, _ setup: Setup, _ upstream: UInt16?) throws -> [String: String] {
        switch content {
        case .nothing: return [:]
        case .hosts(let count): return ["SERVER": "    include: \"\(try data.localData(count))\""]
        case .loggedHosts(let count), .keptHosts(let count):
            return ["SERVER": "    include: \"\(try data.localData(count))\"\n    log-replies: yes"]
        case .zone(let count):
            let zone = "    name: \"zone.example\"\n    zonefile: \"\(try data.zone(count))\"\n"
            return ["MORE": "auth-zone:\n\(zone)    for-downstream: yes\n    for-upstream: no"]
        case .encryptedZone(let count, let https):
            let (port, certificate) = (setup.encryptedPort ?? 0, try data.certificate())
            let lines = [
                "interface: 127.0.0.1@\(port)", "\(https ? "https" : "tls")-port: \(port)",
                "tls-service-pem: \"\(certificate.chain)\"", "tls-service-key: \"\(certificate.key)\"",
            ]
            return try unboundValues(.zone(count), setup, upstream).merging(
                ["SERVER": lines.map { "    " + $0 }.joined(separator: "\n")], uniquingKeysWith: { $1 })
        case .forwarded:
            return ["MORE": "forward-zone:\n    name: \".\"\n    forward-addr: 127.0.0.1@\(upstream ?? 0)"]
        case .forwardedEncrypted(let https):
            if https { throw Failure("unbound asks nobody over HTTPS") }
            let server = "    name: \".\"\n    forward-tls-upstream: yes\n    forward-addr: 127.0.0.1@\(upstream ?? 0)"
            return [
                "SERVER": "    tls-cert-bundle: \"\(try data.certificate().chain)\"",
                "MORE": "forward-zone:\n\(server)#localhost",
            ]
        }
    }

    /// The options of its upstream server.
    private func dnsdistValues(_ content: Content) throws -> [String: String] {
        guard case .forwardedEncrypted(let https) = content else { return [:] }
        let path = https ? ", dohPath=\"/dns-query\"" : ""
        let chain = try data.certificate().chain
        return ["MORE": ", tls=\"openssl\", subjectName=\"localhost\", caStore=\"\(chain)\"\(path)"]
    }

    private func dnsmasqValues(_ content: Content, _ folder: String, _ upstream: UInt16?) throws -> [String: String] {
        switch content {
        case .nothing: return [:]
        case .hosts(let count): return ["MORE": "addn-hosts=\(try data.hosts(count))"]
        case .loggedHosts(let count), .keptHosts(let count):
            let log = "log-queries\nlog-async=100\nlog-facility=\(folder)/\(Self.lookupLog)"
            return ["MORE": "addn-hosts=\(try data.hosts(count))\n\(log)"]
        case .zone, .encryptedZone: throw Failure("dnsmasq reads no zone files")
        case .forwarded: return ["MORE": "server=127.0.0.1#\(upstream ?? 0)"]
        case .forwardedEncrypted: throw Failure("dnsmasq asks nobody over TLS")
        }
    }

    /// The last name of the data: once it is served, everything is.
    private func probe(_ content: Content) -> Question {
        switch content {
        case .nothing: Question(name: "localhost.")
        case .hosts(let count), .loggedHosts(let count), .keptHosts(let count):
            Question(name: DataFiles.host(count - 1))
        case .zone(let count), .encryptedZone(let count, _): Question(name: DataFiles.owner(count - 1))
        case .forwarded, .forwardedEncrypted: Question(name: "first.example.")
        }
    }

    private func makeFolder(_ name: String) throws -> String {
        let path = "\(folder)/\(name)"
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }
}
