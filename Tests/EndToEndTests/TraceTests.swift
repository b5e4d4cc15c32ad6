import Foundation
import Platform
import TestSupport
import Testing

/// The whole flow against nginx, with names from the test's own hosts file or zone.
@Suite("trace walks the flow and shows it")
struct TraceTests {
    private let folder: TemporaryFolder
    private let certificates: TestCertificates

    init() async throws {
        folder = try TemporaryFolder()
        certificates = try await TestCertificates(in: folder)
    }

    private func zone(_ address: String, _ more: String = "") -> String {
        """
        $ORIGIN acme.test.
        $TTL 60
        @ IN SOA ns hostmaster 1 3600 900 604800 300
        @ NS ns
        ns A 127.0.0.1
        @ A \(address)
        \(more)

        """
    }

    /// Runs it with the test's authority, and the hosts file and zones in the folder as sources.
    private func trace(_ url: String, _ more: String...) async throws -> Command.Result {
        let patience = more.contains("--timeout") ? [] : ["--timeout", "\(longestWait)"]
        return try await Command.run(["trace", url, "--ca", "ca.pem"] + patience + more + local, in: folder.path)
    }

    private var local: [String] { ["--hosts", "hosts", "--zones", "zones", "--no-upstream"] }

    private func override(_ address: String) throws {
        try folder.write("\(address) acme.test\n", to: "hosts")
        try FileManager.default.createDirectory(atPath: folder.file("zones"), withIntermediateDirectories: true)
    }

    /// The text of each line after the time.
    private func steps(_ result: Command.Result) -> [String] {
        result.output.split(separator: "\n").map { line in
            line.drop { $0 == " " }.drop { $0 != " " }.split(separator: " ").joined(separator: " ")
        }
    }

    // MARK: To a page

    @Test("a redirect to https with HTTP/2, step by step, and the possible downgrade")
    func redirect() async throws {
        try await certificates.issue("acme", for: "acme.test")
        let server = try await WebServer(
            WebServer.redirect(to: "https://acme.test:8443/") + WebServer.encrypted(), folder: folder)
        try override(server.address)
        try folder.write(
            zone("192.0.2.1", "_8080._https HTTPS 1 acme.test. alpn=h2 port=8443"), to: "zones/acme.test.zone")
        let result = try await trace("http://acme.test:8080/")
        let until = try #require(result.output.firstMatch(of: /until ([0-9-]+),/)).1
        #expect(
            steps(result).prefix(19) == [
                "who what",
                "User -> Browser http://acme.test:8080/",
                "Browser -> DNS Server HTTPS _8080._https.acme.test?",
                "DNS Server -> Browser no data hosts hosts:1, masked",
                "Browser -> DNS Server AAAA acme.test?",
                "DNS Server -> Browser no data hosts hosts:1",
                "Browser -> DNS Server A acme.test?",
                "DNS Server -> Browser \(server.address) hosts hosts:1, TTL 0",
                "Browser -> Web Server \(server.address):8080 TCP connect",
                "Browser -> Web Server \(server.address):8080 GET / HTTP/1.1",
                "Web Server -> Browser 301 Moved Permanently, Location: https://acme.test:8443/",
                "Browser -> DNS Server HTTPS _8443._https.acme.test?",
                "DNS Server -> Browser no data hosts hosts:1, masked",
                "Browser -> Web Server \(server.address):8443 TCP connect",
                "Browser -> Web Server \(server.address):8443 ClientHello (SNI acme.test, ALPN h2 http/1.1)",
                "Web Server -> Browser ServerHello TLS 1.3 AES_256_GCM_SHA384",
                "Web Server -> Browser certificate CN=acme.test until \(until), issued by CN=Test CA; it verifies",
                "Browser -> Web Server Finished; encrypted from here, ALPN h2",
                "Browser -> Web Server \(server.address):8443 GET / HTTP/2",
            ], "\(result.output)")
        #expect(result.output.contains("200 HTTP/2, 5 bytes\n\ndowngrade: possible. The first request is plain"))
        #expect(result.output.contains("zones/acme.test.zone:7 has an HTTPS record; hosts.https: synthesize"))
        #expect(result.code == 0 && result.errors.isEmpty, "\(result.errors)")
    }

    @Test("an HTTPS record avoids the plain request")
    func httpsRecord() async throws {
        try await certificates.issue("acme", for: "acme.test")
        let server = try await WebServer(WebServer.encrypted(http2: false), folder: folder)
        try folder.write("", to: "hosts")
        try folder.write(
            zone(server.address, "_8080._https HTTPS 1 @ alpn=h2 port=8443"), to: "zones/acme.test.zone")
        let result = try await trace("http://acme.test:8080/")
        #expect(!result.output.contains("\(server.address):8080"), "\(result.output)")
        #expect(result.output.contains("https://acme.test:8080/ at once, without a plain request: HTTPS record"))
        #expect(result.output.contains("zone zones/acme.test.zone:7"))
        #expect(result.output.contains("200 OK HTTP/1.1, 5 bytes\n\ndowngrade: no."), "\(result.output)")
        #expect(result.code == 0)
    }

    @Test("an HTTPS record in AliasMode leads to another name")
    func aliasRecord() async throws {
        try await certificates.issue("acme", for: "acme.test")
        let server = try await WebServer(WebServer.encrypted(), folder: folder)
        try folder.write("", to: "hosts")
        try folder.write(
            zone("192.0.2.1", "_8443._https HTTPS 0 svc\nsvc HTTPS 1 . alpn=h2\nsvc A \(server.address)"),
            to: "zones/acme.test.zone")
        let result = try await trace("https://acme.test:8443/")
        #expect(steps(result).contains("Browser -> DNS Server A svc.acme.test?"), "\(result.output)")
        #expect(result.output.contains("200 HTTP/2, 5 bytes"))
    }

    @Test("without a redirect, the page is unencrypted")
    func noRedirect() async throws {
        let server = try await WebServer(
            "server { listen ADDRESS:8080; return 200 plain; }", folder: folder)
        try override(server.address)
        let result = try await trace("http://acme.test:8080/")
        #expect(result.output.contains("200 OK HTTP/1.1, 5 bytes\n\ndowngrade: possible. There is no redirect"))
        #expect(result.code == 0)
    }

    @Test("HSTS sends a redirect to plain http back to https")
    func strictTransport() async throws {
        try await certificates.issue("acme", for: "acme.test")
        let blocks = WebServer.encrypted(
            more: """
                add_header Strict-Transport-Security max-age=31536000 always;
                location / { return 302 http://acme.test:8443/next; }
                location /next { return 200 there; }
                """)
        let server = try await WebServer(blocks, folder: folder)
        try override(server.address)
        let result = try await trace("https://acme.test:8443/")
        #expect(result.output.contains("302, Location: http://acme.test:8443/next, HSTS max-age=31536000"))
        #expect(result.output.contains("https://acme.test:8443/next at once, without a plain request: HSTS"))
        #expect(result.output.contains("200 HTTP/2, 5 bytes"), "\(result.output)")
        #expect(result.code == 0)
    }

    // MARK: Certificates

    @Test(
        "a certificate that does not verify is reported, and the flow continues",
        arguments: ["expired", "future", "wrong", "self", "stranger"])
    func certificate(_ kind: String) async throws {
        let reason: String
        switch kind {
        case "expired":
            try await certificates.issue("acme", for: "acme.test", dates: ("20240101000000Z", "20240201000000Z"))
            reason = "CN=acme.test expired on 2024-02-01"
        case "future":
            try await certificates.issue("acme", for: "acme.test", dates: ("20450101000000Z", "20450201000000Z"))
            reason = "CN=acme.test is valid only from 2045-01-01 on"
        case "wrong":
            try await certificates.issue("acme", for: "other.test", "127.0.0.1")
            reason = "it is for other.test, 127.0.0.1, not for acme.test"
        case "self":
            try await certificates.selfSign("acme", for: "acme.test")
            reason = "it is self-signed, and not among the trusted"
        default:
            try await certificates.issue("acme", for: "acme.test")
            reason = "the issuer CN=Test CA is not known: not among the trusted, and not sent"
        }
        let server = try await WebServer(WebServer.encrypted(), folder: folder)
        try override(server.address)
        let authority = kind == "stranger" ? [] : ["--ca", "ca.pem"]
        let result = try await Command.run(
            ["trace", "https://acme.test:8443/"] + authority + local, in: folder.path)
        #expect(
            result.output.contains("; it does not verify: \(reason). A browser stops here and warns\n"),
            "\(result.output)")
        #expect(result.output.contains("200 HTTP/2, 5 bytes"))
        #expect(result.code == 0)
    }

    // MARK: Ends without a page

    @Test("nothing listens: the refusal is a step, and the exit code is 1")
    func refused() async throws {
        let address = ownLoopbackAddress()
        try override(address)
        let result = try await trace("http://acme.test:8080/")
        #expect(
            steps(result).contains { $0.hasPrefix("Web Server -> Browser \(address):8080 refused: nothing listens") })
        #expect(result.code == 1 && result.errors.isEmpty)
    }

    @Test("a redirect loop is reported")
    func loop() async throws {
        let server = try await WebServer(
            "server { listen ADDRESS:8080; location / { return 302 /b; } location /b { return 302 /a; } }",
            folder: folder)
        try override(server.address)
        let result = try await trace("http://acme.test:8080/a")
        #expect(
            result.output.contains("a redirect loop: http://acme.test:8080/a was asked for before"), "\(result.output)")
        #expect(result.code == 1)
    }

    @Test("endless redirects are cut off")
    func endless() async throws {
        let server = try await WebServer(
            "server { listen ADDRESS:8080; return 302 ${request_uri}x; }", folder: folder)
        try override(server.address)
        let result = try await trace("http://acme.test:8080/a")
        #expect(result.output.contains("more than 10 redirects: a browser gives up"))
        #expect(result.code == 1)
    }

    @Test("a silent server, without TLS and in the handshake", arguments: ["http", "https"])
    func silent(_ scheme: String) async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        let port = try #require(bindLoopback(listener, 0))
        listen(listener, 4)
        try override("127.0.0.1")
        let result = try await trace("\(scheme)://acme.test:\(port)/", "--timeout", "1")
        let reason = scheme == "http" ? "no response within 1 s" : "the handshake was not over within 1 s"
        #expect(result.output.contains(reason), "\(result.output)")
        #expect(result.code == 1)
    }

    @Test("plain HTTP where TLS is expected, and vice versa")
    func mixedUp() async throws {
        try await certificates.issue("acme", for: "acme.test")
        let server = try await WebServer(
            "server { listen ADDRESS:8080; return 200 plain; }" + WebServer.encrypted(), folder: folder)
        try override(server.address)
        let result = try await trace("https://acme.test:8080/")
        #expect(result.output.contains("what came is not TLS"), "\(result.output)")
        #expect(result.code == 1)
        let other = try await trace("http://acme.test:8443/")
        #expect(other.output.contains("400 Bad Request"), "\(other.output)")
    }

    @Test("a name that does not exist")
    func noName() async throws {
        try folder.write("", to: "hosts")
        try folder.write(zone("127.0.0.1"), to: "zones/acme.test.zone")
        let result = try await trace("http://nx.acme.test/")
        #expect(result.output.contains("nx.acme.test. does not exist (NXDOMAIN): there is nowhere to connect to"))
        #expect(result.output.contains("downgrade: not judged."))
        #expect(result.code == 1)
    }

    @Test("no DNS server answers: which one, and what to do")
    func noServer() async throws {
        let port = try freePort()
        let result = try await Command.run(["trace", "http://acme.test/", "--server", "127.0.0.1:\(port)"])
        #expect(
            result.output.contains(
                "127.0.0.1:\(port): no DNS server answers there (Connection refused); start 'stub53 serve' there"),
            "\(result.output)")
        #expect(result.code == 1)
    }

    // MARK: Forms and sources

    @Test("a running daemon answers the lookups; output as JSON and as a diagram")
    func daemon() async throws {
        try await certificates.issue("acme", for: "acme.test")
        let server = try await WebServer(
            WebServer.redirect(to: "https://acme.test:8443/") + WebServer.encrypted(), folder: folder)
        try override(server.address)
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--no-upstream",
        ])
        let common = [
            "trace", "http://acme.test:8080", "--server", "\(daemon.address):\(daemon.port)", "--ca",
            folder.file("ca.pem"),
        ]
        let json = try await Command.run(common + ["--format", "json"])
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["lookup"] as? String == "\(daemon.address):\(daemon.port)")
        let steps = try #require(object["steps"] as? [[String: Any]])
        let answer = try #require(steps.first { $0["event"] as? String == "answer" && $0["type"] as? String == "A" })
        #expect(answer["authoritative"] as? Bool == true && answer["rule"] is NSNull)
        let certificate = try #require(steps.first { $0["event"] as? String == "certificate" })
        #expect(certificate["verifies"] as? Bool == true)
        #expect(steps.last?["status"] as? Int == 200)
        // The daemon has received a browser's queries.
        for (name, type) in [("_8080._https.acme.test.", "HTTPS"), ("acme.test.", "AAAA"), ("acme.test.", "A")] {
            _ = try await daemon.lookup(name, type)
        }
        let diagram = try await Command.run(common + ["--format", "mermaid"])
        #expect(diagram.output.hasPrefix("sequenceDiagram\n    autonumber\n"))
        #expect(diagram.output.contains("    DNSServer-->>Browser: \(server.address), authoritative, TTL 0\n"))
        #expect(diagram.code == 0)
    }

    @Test("upstream is asked for what the sources leave to it, and named")
    func upstream() async throws {
        let server = try await WebServer("server { listen ADDRESS:8080; return 200 plain; }", folder: folder)
        let octets = server.address.split(separator: ".").compactMap { UInt8($0) }
        let upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query, [octets])) }
        let result = try await Command.run(
            [
                "trace", "http://elsewhere.example:8080/", "--no-hosts", "--zones", folder.path, "--upstream",
                "127.0.0.1:\(upstream.port)",
            ])
        #expect(
            steps(result).contains(
                "DNS Server -> Browser \(server.address) upstream 127.0.0.1:\(upstream.port), TTL 60"),
            "\(result.output)\(result.errors)")
        #expect(result.output.contains("200 OK HTTP/1.1, 5 bytes"))
    }

    // MARK: Usage

    @Test(
        "an unsuitable URL is wrong usage",
        arguments: [
            ["trace"], ["trace", "ftp://acme.test/"], ["trace", "http://a..b/"],
            ["trace", "acme.test", "--format", "xml"],
            ["trace", "acme.test", "--server", "nowhere"], ["trace", "acme.test", "--timeout", "0"],
            ["trace", "acme.test", "--server", "127.0.0.1", "--no-hosts"],
        ])
    func usage(_ arguments: [String]) async throws {
        let result = try await Command.run(arguments)
        #expect(result.code == 64 && result.output.isEmpty)
        #expect(result.errors.hasPrefix("Error: "))
    }

    @Test("a file without certificates is reported before anything is asked")
    func badAuthorities() async throws {
        try folder.write("nothing\n", to: "empty.pem")
        let result = try await Command.run(["trace", "http://acme.test/", "--ca", folder.file("empty.pem")])
        #expect(result.code == 78 && result.output.isEmpty)
        #expect(result.errors.hasSuffix("empty.pem: holds no certificate that can be read; give a PEM file\n"))
    }
}
