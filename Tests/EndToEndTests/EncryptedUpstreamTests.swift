import Foundation
import TestSupport
import Testing

/// Upstream over TLS and HTTPS: real servers, and broken ones.
@Suite("Encrypted upstream servers", .serialized, .enabled(if: TestAuthority.isAvailable))
struct EncryptedUpstreamTests {
    let folder: TemporaryFolder
    let authority: TestAuthority
    /// For `dns.acme.org` and 127.0.0.1.
    let certificate: (certificate: String, key: String)
    /// Behind the servers; any name has the address 192.0.2.1.
    let source: ScriptedServer

    init() async throws {
        folder = try TemporaryFolder()
        authority = try await TestAuthority()
        certificate = try await authority.certificate(for: ["dns.acme.org"], addresses: ["127.0.0.1"])
        source = try ScriptedServer { query, _ in .send(Reply.addresses(query)) }
    }

    /// With a time-out that no busy machine exceeds.
    func daemon(
        _ servers: [String], timeout: String = "60s", more: String = "", behind: [String] = []
    ) async throws -> DaemonProcess {
        let list = servers.map { "\"\($0)\"" }.joined(separator: ", ")
        let file = try folder.write(
            "upstream:\n  servers: [\(list)]\n  ca: \(authority.path)\n  timeout: \(timeout)\n\(more)",
            to: "stub53.yaml")
        try FileManager.default.createDirectory(atPath: folder.file("zones"), withIntermediateDirectories: true)
        return try await DaemonProcess(
            ["--config", file, "--no-hosts", "--zones", folder.file("zones")], behind: behind)
    }

    /// Our own program as a server, with its ports for TLS and HTTPS.
    func server(
        _ certificate: (certificate: String, key: String)
    ) async throws -> (daemon: DaemonProcess, tls: UInt16, https: UInt16) {
        let (tls, https) = (try freePort(), try freePort())
        let daemon = try await DaemonProcess([
            "--no-hosts", "--zone",
            try folder.write("$ORIGIN own.example.\n@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.\n", to: "own.zone"),
            "--upstream", "127.0.0.1:\(source.port)", "--listen", "127.0.0.1:0", "--listen", "tls://127.0.0.1:\(tls)",
            "--listen", "https://127.0.0.1:\(https)", "--certificate", certificate.certificate, "--key",
            certificate.key,
        ])
        return (daemon, tls, https)
    }

    private func checkAnswers(_ server: String, _ transport: String) async throws {
        let daemon = try await daemon([server])
        for name in ["one", "two", "three"] {
            #expect(try await daemon.dig("\(name).example.net", "+short") == "192.0.2.1\n", "\(server)")
            let lookup = try await daemon.lookup("\(name).example.net.", "A")
            #expect((lookup["upstream"] as? String)?.hasSuffix("/\(transport)") == true, "\(lookup)")
        }
        #expect(try await daemon.stop() == 0)
    }

    // MARK: Real servers

    @Test("our own listeners, by name and by address, over TLS and HTTPS")
    func own() async throws {
        let (own, tls, https) = try await server(certificate)
        defer { withExtendedLifetime(own) {} }
        try await checkAnswers("tls://127.0.0.1:\(tls)", "dot")
        try await checkAnswers("tls://127.0.0.1:\(tls)#dns.acme.org", "dot")
        try await checkAnswers("https://127.0.0.1:\(https)/dns-query", "doh")
        try await checkAnswers("https://dns.acme.org:\(https)/dns-query#127.0.0.1", "doh")
    }

    @Test("Unbound over TLS")
    func unbound() async throws {
        let port = try freePort()
        let configuration = try folder.write(
            """
            server:
              interface: 127.0.0.1@\(port)
              tls-port: \(port)
              tls-service-key: "\(certificate.key)"
              tls-service-pem: "\(certificate.certificate)"
              do-daemonize: no
              username: ""
              chroot: ""
              directory: "\(folder.path)"
              pidfile: ""
              use-syslog: no
              logfile: ""
              verbosity: 1
              module-config: "iterator"
              do-not-query-localhost: no
              local-zone: "example.net." redirect
              local-data: "example.net. 60 IN A 192.0.2.1"
            remote-control:
              control-enable: no

            """, to: "unbound.conf")
        let program = try ProgramProcess("/usr/sbin/unbound", ["-d", "-c", configuration])
        _ = try await program.errors.first(containing: "start of service")
        try await checkAnswers("tls://127.0.0.1:\(port)#dns.acme.org", "dot")
        program.signal(SIGTERM)
        _ = try await program.exitCode()
    }

    /// Where `make test-tools` unpacks it.
    private static let resolver = FileManager.default.currentDirectoryPath + "/.build/peers"

    @Test(
        "Knot Resolver over TLS",
        .enabled(if: Namespace.isAvailable, "its paths are absolute, which takes a namespace: run as root"))
    func knotResolver() async throws {
        let port = try freePort()
        let configuration = try folder.write(
            """
            net.listen('127.0.0.1', \(port), { kind = 'tls' })
            net.tls('\(certificate.certificate)', '\(certificate.key)')
            cache.size = 10 * MB
            trust_anchors.remove('.')
            policy.add(policy.all(policy.ANSWER({ [kres.type.A] = { rdata = kres.str2ip('192.0.2.1'), ttl = 60 } })))
            print('ready')

            """, to: "kresd.conf")
        let libraries = "/usr/lib/\(Self.machine)-linux-gnu"
        let program = try ProgramProcess(
            "/usr/bin/unshare",
            [
                "-m", "/bin/sh", "-ec",
                """
                mount -t overlay overlay -o lowerdir=\(Self.resolver)\(libraries):\(libraries) \(libraries)
                exec \(Self.resolver)/usr/sbin/kresd -n -c \(configuration) \(folder.path)
                """,
            ])
        _ = try await program.output.first(containing: "ready")
        try await checkAnswers("tls://127.0.0.1:\(port)#dns.acme.org", "dot")
        program.signal(SIGTERM)
        _ = try await program.exitCode()
    }

    private static let machine: String = {
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }()

    @Test("dnsdist over TLS and HTTPS")
    func dnsdist() async throws {
        let (tls, https) = (try freePort(), try freePort())
        let configuration = try folder.write(
            """
            setLocal("127.0.0.1:\(try freePort())")
            addTLSLocal("127.0.0.1:\(tls)", "\(certificate.certificate)", "\(certificate.key)")
            addDOHLocal("127.0.0.1:\(https)", "\(certificate.certificate)", "\(certificate.key)", "/dns-query")
            newServer({address="127.0.0.1:\(source.port)", healthCheckMode="up"})
            setSecurityPollSuffix("")

            """, to: "dnsdist.conf")
        let program = try ProgramProcess(
            "/usr/bin/stdbuf", ["-oL", "/usr/bin/dnsdist", "--supervised", "--disable-syslog", "-C", configuration])
        _ = try await program.output.first(containing: "ACL allowing queries")
        try await checkAnswers("tls://127.0.0.1:\(tls)#dns.acme.org", "dot")
        try await checkAnswers("https://dns.acme.org:\(https)/dns-query#127.0.0.1", "doh")
        program.signal(SIGKILL)
        _ = try await program.exitCode()
    }

    // MARK: Verification

    enum BadCertificate: String, CaseIterable {
        case otherName, otherAddress, expired, untrusted

        var reason: String {
            switch self {
            case .otherName, .otherAddress: "certificate is for another name"
            case .expired: "certificate has expired"
            case .untrusted: "certificate is not from a trusted authority"
            }
        }
    }

    @Test(
        "a server that can't be verified gets no query, and nothing is asked in plain text",
        arguments: BadCertificate.allCases)
    func badCertificate(_ kind: BadCertificate) async throws {
        let stranger = try await TestAuthority()
        let used =
            switch kind {
            case .otherName: certificate
            case .otherAddress: try await authority.certificate(for: ["dns.acme.org"], addresses: ["127.0.0.2"])
            case .expired: try await authority.expiredCertificate(for: "dns.acme.org")
            case .untrusted:
                try await stranger.certificate(for: ["dns.acme.org"], addresses: ["127.0.0.1"])
            }
        let (own, tls, https) = try await server(used)
        let name = kind == .otherName ? "other.acme.org" : "dns.acme.org"
        let servers =
            kind == .otherAddress
            ? ["tls://127.0.0.1:\(tls)", "https://127.0.0.1:\(https)/dns-query"]
            : ["tls://127.0.0.1:\(tls)#\(name)", "https://\(name):\(https)/dns-query#127.0.0.1"]
        for server in servers {
            let daemon = try await daemon([server])
            let answer = try await daemon.dig("www.example.net")
            #expect(answer.contains("status: SERVFAIL") && answer.contains(kind.reason), "\(answer)")
            #expect(try await daemon.stop() == 0)
        }
        #expect(source.questions() == 0)
        #expect(try await own.stop() == 0)
    }

    // MARK: Broken servers

    /// A process of `Servers/tls.py`, and its port.
    private func toxic(_ fault: String) async throws -> (program: ProgramProcess, port: UInt16) {
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Servers/tls.py").path
        let program = try ProgramProcess(
            "/usr/bin/python3", [script, certificate.certificate, certificate.key, fault])
        let line = try await program.output.first { _ in true }
        return (program, try #require(UInt16(line)))
    }

    @Test(
        "no question is lost, whatever the server does to its connections",
        arguments: [
            "none", "closes", "closes-after-100", "closes-idle", "reversed", "drips", "cut", "hangs-once", "dies-once",
        ])
    func toxicServers(_ fault: String) async throws {
        let (program, port) = try await toxic(fault)
        let daemon = try await daemon(["tls://127.0.0.1:\(port)#dns.acme.org"])
        let client = try DatagramClient(port: daemon.port)
        for round in 0..<3 as Range<UInt16> {
            for id in 0..<50 as Range<UInt16> {
                client.send(Wire.query("n\(round)-\(id).example.net.", id: round * 50 + id))
            }
            var answered: Set<UInt16> = []
            for _ in 0..<50 {
                let message = try #require(try await client.receive())
                #expect(Wire.code(message) == 0, "\(fault)")
                answered.insert(Wire.id(message))
            }
            #expect(answered.count == 50)
            // Until the server has closed the idle connection.
            if fault == "closes-idle" { try await Task.sleep(for: .milliseconds(400)) }
        }
        #expect(try await daemon.stop() == 0)
        program.signal(SIGKILL)
    }

    @Test("after the machine has slept, its connections are closed, not tried: the server may have forgotten them")
    func asleep() async throws {
        let (program, port) = try await toxic("none")
        let asleep = try folder.write("0", to: "asleep")
        let library = try await Preload.library(Preload.asleep, in: folder)
        let daemon = try await daemon(
            ["tls://127.0.0.1:\(port)#dns.acme.org"],
            behind: ["/usr/bin/env", "LD_PRELOAD=\(library)", "ASLEEP=\(asleep)"])
        #expect(try await daemon.dig("one.example.net", "+short") == "192.0.2.1\n")
        // In place: the daemon has the file open.
        let file = try FileHandle(forWritingTo: URL(filePath: asleep))
        try file.write(contentsOf: Data("60".utf8))
        try file.close()
        _ = try await program.output.first(containing: "closed 1")
        #expect(try await daemon.dig("two.example.net", "+short") == "192.0.2.1\n")
        #expect(program.output.all.contains("connection 2"))
        #expect(try await daemon.stop() == 0)
        program.signal(SIGKILL)
    }

    @Test("a server that hangs in the handshake, or answers another question, leads to SERVFAIL, and the next is asked")
    func hopelessServers() async throws {
        for fault in ["hangs", "other-question"] {
            let (program, port) = try await toxic(fault)
            let alone = try await daemon(["tls://127.0.0.1:\(port)#dns.acme.org"], timeout: "2s")
            #expect(try await alone.dig("www.example.net").contains("status: SERVFAIL"))
            #expect(try await alone.stop() == 0)
            let both = try await daemon(["tls://127.0.0.1:\(port)#dns.acme.org", "127.0.0.1:\(source.port)"])
            #expect(try await both.dig("www.example.net", "+short") == "192.0.2.1\n")
            #expect(try await both.stop() == 0)
            program.signal(SIGKILL)
        }
    }

    @Test("HTTP errors, redirects and other contents are no answers, and the next server is asked")
    func httpErrors() async throws {
        let port = try freePort()
        let configuration = try folder.write(
            """
            daemon off;
            master_process off;
            pid \(folder.path)/nginx.pid;
            error_log stderr notice;
            events {}
            http {
              access_log off;
              client_body_temp_path \(folder.path)/body;
              proxy_temp_path \(folder.path)/proxy;
              fastcgi_temp_path \(folder.path)/fastcgi;
              uwsgi_temp_path \(folder.path)/uwsgi;
              scgi_temp_path \(folder.path)/scgi;
              server {
                listen 127.0.0.1:\(port) ssl http2;
                ssl_certificate \(certificate.certificate);
                ssl_certificate_key \(certificate.key);
                location /500 { return 500; }
                location /429 { return 429; }
                location /301 { return 301 https://127.0.0.1:\(port)/500; }
                location /html { default_type text/html; return 200 "<p>no DNS"; }
                location /empty { default_type application/dns-message; return 200 ""; }
              }
            }

            """, to: "nginx.conf")
        let nginx = try ProgramProcess("/usr/sbin/nginx", ["-c", configuration, "-e", "stderr"])
        _ = try await nginx.errors.first(containing: "using the \"epoll\" event method")
        for (path, reason) in [
            ("/500", "overloaded or broken"), ("/429", "overloaded or broken"), ("/301", "does not answer DNS"),
            ("/404", "does not answer DNS"), ("/html", "is no DNS message"), ("/empty", "is no DNS message"),
        ] {
            let alone = try await daemon(["https://dns.acme.org:\(port)\(path)#127.0.0.1"], timeout: "2s")
            let answer = try await alone.dig("www.example.net")
            #expect(answer.contains("status: SERVFAIL") && answer.contains(reason), "\(path): \(answer)")
            #expect(try await alone.stop() == 0)
            let both = try await daemon(
                ["https://dns.acme.org:\(port)\(path)#127.0.0.1", "127.0.0.1:\(source.port)"])
            #expect(try await both.dig("www.example.net", "+short") == "192.0.2.1\n")
            #expect(try await both.stop() == 0)
        }
        nginx.signal(SIGKILL)
        _ = try await nginx.exitCode()
    }

    @Test("a thousand questions at once are answered", arguments: ["tls", "https"])
    func thousand(_ scheme: String) async throws {
        let (own, tls, https) = try await server(certificate)
        let daemon = try await daemon([
            scheme == "tls" ? "tls://127.0.0.1:\(tls)#dns.acme.org" : "https://127.0.0.1:\(https)/dns-query"
        ])
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<1_000 as Range<UInt16> { client.send(Wire.query("n\(id).example.net.", id: id)) }
        for _ in 0..<1_000 { #expect(Wire.code(try #require(try await client.receive())) == 0) }
        #expect(try await daemon.stop() == 0)
        #expect(try await own.stop() == 0)
    }
}
