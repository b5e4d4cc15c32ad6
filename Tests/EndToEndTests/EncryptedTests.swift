import Certificates
import Foundation
import TestSupport
import Testing

/// DNS over TLS and HTTPS with common clients.
@Suite("Encrypted transports")
struct EncryptedTests {
    private let folder: TemporaryFolder
    private let upstream: ScriptedServer

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
        upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query, ttl: 77)) }
    }

    private var authority: String { folder.file("state/ca.pem") }

    /// A daemon with its own local CA, and the ports of its services in the order of `listen`.
    private func daemon(_ listen: [String], _ more: String...) async throws -> (DaemonProcess, [UInt16]) {
        let options = [
            "--hosts", folder.file("hosts"), "--zones", folder.path, "--upstream", "127.0.0.1:\(upstream.port)",
        ]
        let daemon = try await DaemonProcess(
            options + listen.flatMap { ["--listen", $0] } + more,
            behind: ["/usr/bin/env", "STATE_DIRECTORY=\(folder.file("state"))"])
        // The first is on the ready line, the others on the lines after it.
        var ports: [UInt16] = []
        let lines = daemon.output.all
        let ready = lines.firstIndex { $0.hasPrefix("ready") } ?? 0
        for index in 0..<listen.count {
            let line = try await daemon.output.first(from: ready + index) { $0.contains("127.0.0.1:") }
            let address = line.split(separator: " ").first { $0.contains("127.0.0.1:") } ?? ""
            ports.append(UInt16(address.split(separator: ":").last ?? "") ?? 0)
        }
        return (daemon, ports)
    }

    private func run(_ program: String, _ words: String...) async throws -> Command.Result {
        try await Command.run(words, executable: URL(filePath: "/usr/bin/\(program)"))
    }

    private func kdig(_ port: UInt16, _ words: String...) async throws -> String {
        try await Command.run(
            [
                "@127.0.0.1", "-p", "\(port)", "+tls-ca=\(authority)", "+tls-hostname=localhost",
                "+timeout=\(longestWait)", "+retry=0",
            ] + words, executable: URL(filePath: "/usr/bin/kdig")
        ).output
    }

    private func curl(_ words: String...) async throws -> Command.Result {
        try await Command.run(
            ["--silent", "--show-error", "--max-time", "\(longestWait)", "--cacert", authority] + words,
            executable: URL(filePath: "/usr/bin/curl"))
    }

    /// A query for `name` in base64url: RD, ID 0.
    private static func base64(_ name: String, type: UInt8 = 1) -> String {
        Data(Wire.query(name, type: type, id: 0)).base64EncodedString().replacing("+", with: "-")
            .replacing("/", with: "_").replacing("=", with: "")
    }

    @Test("kdig over TLS: overrides and upstream, verified with the local CA, logged as dot")
    func tls() async throws {
        let (daemon, ports) = try await daemon(["tls://127.0.0.1:0"])
        #expect(try await kdig(ports[0], "+tls", "+short", "over.acme.org") == "127.0.0.14\n")
        #expect(try await kdig(ports[0], "+tls", "+short", "www.example.net") == "192.0.2.1\n")
        #expect(try await daemon.lookup("over.acme.org.", "A")["transport"] as? String == "dot")
        let other = try await daemon.lookup("www.example.net.", "A")
        #expect(other["transport"] as? String == "dot" && other["source"] as? String == "upstream")
        #expect(try await daemon.stop() == 0)
    }

    @Test("kdig over HTTPS, by POST and GET; logged as doh")
    func https() async throws {
        let (daemon, ports) = try await daemon(["https://127.0.0.1:0"])
        #expect(try await kdig(ports[0], "+https=/dns-query", "+short", "over.acme.org") == "127.0.0.14\n")
        #expect(
            try await kdig(ports[0], "+https=/dns-query", "+https-get", "+short", "www.example.net") == "192.0.2.1\n")
        #expect(try await daemon.lookup("over.acme.org.", "A")["transport"] as? String == "doh")
        #expect(try await daemon.lookup("www.example.net.", "A")["transport"] as? String == "doh")
        #expect(try await daemon.stop() == 0)
    }

    @Test(
        "Responses are padded to blocks of 468 bytes on request, over TLS and HTTPS only (RFC 8467 4.1)",
        arguments: ["+tls", "+https=/dns-query"])
    func padded(way: String) async throws {
        let (daemon, ports) = try await daemon([
            way == "+tls" ? "tls://127.0.0.1:0" : "https://127.0.0.1:0", "127.0.0.1:0",
        ])
        defer { withExtendedLifetime(daemon) {} }
        let padded = try await kdig(ports[1], way, "+padding", "over.acme.org")
        #expect(padded.contains("Received 468 B"), "\(padded)")
        let plain = try await Command.run(
            ["@127.0.0.1", "-p", "\(ports[0])", "+padding", "over.acme.org"], executable: URL(filePath: "/usr/bin/kdig")
        )
        #expect(!plain.output.contains("PADDING") && !plain.output.contains("Received 468 B"), "\(plain.output)")
    }

    @Test(
        "curl gets answers over DoH, in HTTP/2 and HTTP/1.1, with the age that the TTL allows", arguments: ["2", "1.1"])
    func http(version: String) async throws {
        let (daemon, ports) = try await daemon(["https://127.0.0.1:0"])
        defer { withExtendedLifetime(daemon) {} }
        let url = "https://127.0.0.1:\(ports[0])/dns-query"
        let flag = version == "2" ? "--http2" : "--http1.1"
        let answer = try await curl(flag, "-i", "\(url)?dns=\(Self.base64("www.example.net"))")
        #expect(answer.code == 0, "\(answer.errors)")
        let head = answer.output.lowercased()
        #expect(head.hasPrefix("http/\(version) 200"))
        #expect(head.contains("content-type: application/dns-message") && head.contains("cache-control: max-age=77"))

        for (words, status) in [
            (["-X", "PUT", url], "405"), (["https://127.0.0.1:\(ports[0])/"], "404"), ([url], "400"),
            (["\(url)?dns=AAAB!"], "400"), (["-d", "x=y", url], "415"),
            (
                [
                    "-H", "content-type: application/dns-message", "--data-binary",
                    String(repeating: "x", count: 70_000), url,
                ], "413"
            ),
            (["-H", "content-type: application/dns-message", "--data-binary", "short", url], "400"),
        ] {
            let result = try await Command.run(
                [
                    "--silent", "--max-time", "\(longestWait)", "--cacert", authority, flag, "-o", "/dev/null", "-w",
                    "%{http_code}",
                ] + words, executable: URL(filePath: "/usr/bin/curl"))
            #expect(result.output == status, "\(words.prefix(2))")
        }
    }

    @Test("curl --doh-url connects to the override's address")
    func dohURL() async throws {
        let (daemon, ports) = try await daemon(["https://127.0.0.1:0"])
        let result = try await curl(
            "--verbose", "--noproxy", "*", "--doh-url", "https://127.0.0.1:\(ports[0])/dns-query",
            "http://over.acme.org:1/")
        #expect(result.errors.contains("Trying 127.0.0.14:1..."), "\(result.errors)")
        #expect(try await daemon.lookup("over.acme.org.", "A")["transport"] as? String == "doh")
    }

    @Test("Many requests share one connection, whether they wait for upstream or not")
    func shared() async throws {
        let (daemon, ports) = try await daemon(["https://127.0.0.1:0"])
        let urls = (0..<150).flatMap { number in
            let name = number % 2 == 0 ? "over.acme.org" : "n\(number).example.net"
            return ["-o", "/dev/null", "https://127.0.0.1:\(ports[0])/dns-query?dns=\(Self.base64(name))"]
        }
        let result = try await Command.run(
            [
                "--silent", "--http2", "--parallel", "--parallel-max", "60", "--max-time", "\(longestWait)", "--cacert",
                authority, "-w", "%{http_code} %{num_connects}\\n",
            ] + urls, executable: URL(filePath: "/usr/bin/curl"))
        let lines = result.output.split(separator: "\n")
        #expect(lines.count == 150 && lines.allSatisfy { $0.hasPrefix("200 ") }, "\(result.output.prefix(300))")
        #expect(lines.count { $0 == "200 0" } >= 100, "connections were not shared")
        #expect(try await daemon.stop() == 0)
    }

    @Test("An encrypted resolver is announced only where its certificate is valid (RFC 9462)")
    func designated() async throws {
        let (daemon, ports) = try await daemon(["127.0.0.1:0", "tls://127.0.0.1:0", "https://127.0.0.1:0"])
        let answer = try await daemon.dig("_dns.resolver.arpa", "SVCB", "+short").split(separator: "\n")
        #expect(
            answer == [
                "1 resolver.arpa. alpn=\"dot\" port=\(ports[1]) ipv4hint=127.0.0.1",
                "2 resolver.arpa. alpn=\"h2,http/1.1\" port=\(ports[2]) ipv4hint=127.0.0.1 key7=\"/dns-query{?dns}\"",
            ])
        let (plain, _) = try await self.daemon(["127.0.0.1:0"])
        #expect(try await plain.dig("_dns.resolver.arpa", "SVCB", "+short").isEmpty)
    }

    @Test("TLS 1.2 and 1.3 are supported, older versions are not")
    func versions() async throws {
        let (daemon, ports) = try await daemon(["tls://127.0.0.1:0"])
        defer { withExtendedLifetime(daemon) {} }
        for (version, works) in [("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
            let result = try await run(
                "openssl", "s_client", "-connect", "127.0.0.1:\(ports[0])", version, "-CAfile", authority,
                "-verify_return_error", "-alpn", "dot", "-brief", "-cipher", "ALL:@SECLEVEL=0")
            #expect((result.code == 0) == works, "\(version): \(result.errors)")
        }
    }

    /// Makes a certificate for NAME.test with its key.
    private func makeCertificate(_ name: String) async throws {
        let made = try await run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
            "2", "-subj", "/CN=\(name)", "-addext", "subjectAltName=DNS:\(name).test", "-keyout",
            folder.file("\(name).key"), "-out", folder.file("\(name).pem"))
        try #require(made.code == 0, "\(made.errors)")
    }

    @Test("A configured certificate is served; one that does not match its key is refused with the file's name")
    func ownCertificate() async throws {
        for name in ["one", "other"] { try await makeCertificate(name) }
        let (daemon, ports) = try await daemon(
            ["127.0.0.1:0", "tls://127.0.0.1:0"], "--certificate", folder.file("one.pem"), "--key",
            folder.file("one.key"))
        let answer = try await Command.run(
            [
                "@127.0.0.1", "-p", "\(ports[1])", "+tls-ca=\(folder.file("one.pem"))", "+tls-hostname=one.test",
                "+short", "over.acme.org",
            ], executable: URL(filePath: "/usr/bin/kdig"))
        #expect(answer.output == "127.0.0.14\n", "\(answer.errors)")
        // Once replaced on disk, the new one is served.
        for kind in ["pem", "key"] {
            try #require(rename(folder.file("other.\(kind)"), folder.file("one.\(kind)")) == 0)
        }
        daemon.program.signal(SIGHUP)
        _ = try await daemon.errors.first { $0.hasPrefix("reload     SIGHUP") }
        let next = try await Command.run(
            [
                "@127.0.0.1", "-p", "\(ports[1])", "+tls-ca=\(folder.file("one.pem"))", "+tls-hostname=other.test",
                "+short", "over.acme.org",
            ], executable: URL(filePath: "/usr/bin/kdig"))
        #expect(next.output == "127.0.0.14\n", "\(next.errors)")
        // It is valid for a name, not for the address, so nothing is announced.
        #expect(try await daemon.dig("_dns.resolver.arpa", "SVCB", "+short").isEmpty)

        try folder.write(
            String(decoding: try Certificate.makeAuthority(name: "x", hosts: []).keyPEM, as: UTF8.self),
            to: "strange.key")
        let wrong = try await Command.run(
            [
                "serve", "--no-hosts", "--no-upstream", "--listen", "tls://127.0.0.1:0", "--certificate",
                folder.file("one.pem"), "--key", folder.file("strange.key"),
            ] + Command.apart)
        #expect(wrong.code == 78 && wrong.errors.contains("\(folder.file("one.pem")): "), "\(wrong.errors)")
    }

    @Test("A certificate in use is reloaded, even if another one is configured, which needs a restart")
    func certificateInUse() async throws {
        // In a folder watched for nothing else, with the key in the same file, so that both are replaced at once.
        for name in ["one", "next", "later"] {
            try await makeCertificate(name)
            let parts = try ["pem", "key"].map {
                try String(contentsOfFile: folder.file("\(name).\($0)"), encoding: .utf8)
            }
            try folder.write(parts.joined(), to: "tls/\(name)")
        }
        func configuration(_ name: String) -> String {
            let path = folder.file("tls/\(name)")
            return "tls: {certificate: \(path), key: \(path)}\n"
        }
        let file = try folder.write(configuration("one"), to: "settings/stub53.yaml")
        let (daemon, ports) = try await daemon(["127.0.0.1:0", "tls://127.0.0.1:0"], "--config", file)
        try folder.write(configuration("next"), to: "settings/stub53.yaml")
        _ = try await daemon.errors.first(containing: "tls.certificate, tls.key changed, which needs a restart")

        let before = daemon.errors.all.count
        try #require(rename(folder.file("tls/later"), folder.file("tls/one")) == 0)
        _ = try await daemon.errors.first(from: before, containing: "reload     changed files")
        let answer = try await Command.run(
            [
                "@127.0.0.1", "-p", "\(ports[1])", "+tls-ca=\(folder.file("later.pem"))", "+tls-hostname=later.test",
                "+short", "over.acme.org",
            ], executable: URL(filePath: "/usr/bin/kdig"))
        #expect(answer.output == "127.0.0.14\n", "\(answer.errors)")
        #expect(try await daemon.stop() == 0)
    }

    @Test("An idle connection is closed, also during a handshake")
    func idle() async throws {
        let file = try folder.write("tcp:\n  idle-timeout: 300ms\n", to: "stub53.yaml")
        let (daemon, ports) = try await daemon(["tls://127.0.0.1:0"], "--config", file)
        defer { withExtendedLifetime(daemon) {} }
        let client = try StreamClient(port: ports[0])
        // Nothing is sent, and the server closes the connection.
        #expect(try await client.receive() == nil)
    }
}
