import DNSWire
import Foundation
import TestSupport
import Testing

/// `stub53 doctor NAME`, and what it asks upstream servers.
@Suite("The doctor of a name", .enabled(if: Namespace.isAvailable, "port 53 is needed: run as root"))
struct DoctorNameTests {
    typealias World = DoctorTests.World

    private func expect(
        _ result: Command.Result, _ what: String, _ why: String = "", _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(result.code == 1 && result.output.contains("\(what)\n  why   "), "\(result)", sourceLocation: location)
        #expect(why.isEmpty || result.output.contains(why), "\(result.output)", sourceLocation: location)
    }

    // MARK: The name

    @Test(
        "finds what is special about a name",
        arguments: [
            (
                "printer", "printer is a single label",
                "the C library tries it below lan.example first (/etc/resolv.conf:2)"
            ),
            ("nas.local", "nas.local may not be asked of the DNS", "RFC 6762"),
            ("acne.org", "acne.org is not overridden, but acme.org is", "hosts:1 differs by 1 letter"),
            ("www.acme.org", "www.acme.org is not overridden, but acme.org is", "hosts:1 is for that name only"),
            (
                "closed.dev", "browsers never ask closed.dev by plain http",
                "port 443 does not answer: 127.0.0.1:443: refused"
            ),
            ("twice.org", "hosts:4: 192.0.2.9 for twice.org. is not used", "repeats hosts:3"),
        ])
    func names(_ name: String, _ what: String, _ why: String) async throws {
        let world = try await World(
            hosts: "192.0.2.14 acme.org\n127.0.0.1 closed.dev\n192.0.2.9 twice.org\n192.0.2.9 twice.org\n")
        try world.folder.append("search lan.example\n", to: "root/etc/resolv.conf")
        _ = try await world.daemon.dig(name)
        let result = try await world.doctor(name)
        expect(result, what, why)
        #expect(result.output.hasSuffix("\n1 finding\n"), "\(result.output)")
    }

    @Test("finds that the machine's hosts file answers before stub53, and lines that can't be used")
    func hostsFile() async throws {
        let world = try await World(hosts: "192.0.2.14 acme.org\n192.0.2.999 bad.org\n")
        try world.machine(["etc/hosts": "127.0.0.1 localhost\n203.0.113.7 box ACME.org\n"])
        _ = try await world.daemon.dig("acme.org")
        let result = try await world.doctor("acme.org")
        expect(result, "programs take acme.org from /etc/hosts", "/etc/hosts:2 says 203.0.113.7")
        expect(result, "hosts:2 is not served as written")
        #expect(result.output.hasSuffix("\n2 findings\n"))
    }

    @Test("finds HTTPS records that lead around an override, or around a zone's addresses")
    func serviceRecords() async throws {
        let folder = try TemporaryFolder()
        try folder.write(
            """
            $ORIGIN acme.test.
            $TTL 60
            @ IN SOA ns hostmaster 1 3600 900 604800 300
            @ NS ns
            ns A 127.0.0.1
            www A 192.0.2.1
            www HTTPS 1 . alpn=h2 ipv4hint=203.0.113.9
            over A 192.0.2.2
            over HTTPS 1 . alpn=h2
            good A 192.0.2.3
            good HTTPS 1 . alpn=h2 ipv4hint=192.0.2.3

            """, to: "zones/acme.test.zone")
        try folder.write("192.0.2.14 over.acme.test\n", to: "hosts")
        try folder.write("hosts.https: pass\n", to: "stub53.yaml")
        let world = try await World(
            ["--no-upstream", "--zones", "zones", "--config", "stub53.yaml"], folder: folder)
        for name in ["www", "over", "good"] { _ = try await world.daemon.dig("\(name).acme.test") }
        expect(
            try await world.doctor("www.acme.test"), "an HTTPS record of www.acme.test leads around its addresses",
            "zones/acme.test.zone:7: its hint 203.0.113.9 is none of the name's addresses (192.0.2.1)")
        expect(
            try await world.doctor("over.acme.test"), "an HTTPS record of over.acme.test leads around its addresses",
            "zones/acme.test.zone:9: it is not from where A is from (192.0.2.14)")
        #expect(try await world.doctor("good.acme.test").output == "good.acme.test: all is well\n")
    }

    // MARK: Who asked

    @Test("finds that nobody asked, and the processes that have not asked since a change, with what they were told")
    func lookups() async throws {
        let world = try await World()
        expect(try await world.doctor("acme.org"), "no program has asked stub53 for acme.org")
        // It asks, on one socket, until it is told to stop; and stays.
        let script = """
            import os, socket, time
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("\(world.daemon.address)", 53))
            while not os.path.exists("stop"):
                s.send(bytes.fromhex("123401000001000000000000" "0461636d65" "036f7267" "0000010001"))
                s.recv(4096)
                time.sleep(0.02)
            print("stopped", flush=True)
            time.sleep(\(longestWait))
            """
        let program = try ProgramProcess("/usr/bin/python3", ["-c", script], folder: world.folder.path)
        _ = try await world.daemon.output.first { _ in true }
        try await eventually("its process is known") {
            let log = (try? String(contentsOfFile: world.folder.file("log"), encoding: .utf8)) ?? ""
            return log.contains(#""process":{"pid":\#(program.identifier),"#)
        }
        try world.folder.write("", to: "stop")
        _ = try await program.output.first { $0 == "stopped" }
        #expect(try await world.doctor("acme.org").output == "acme.org: all is well\n")
        try await world.override("192.0.2.77 acme.org\n")
        expect(
            try await world.doctor("acme.org"),
            "python3 (process \(program.identifier)) has not asked for acme.org A since it changed",
            "it was told 192.0.2.14 (hosts:1); now it is 192.0.2.77 (hosts:1)")
        // A program that has ended holds nothing.
        program.signal(SIGKILL)
        _ = try await program.exitCode()
        #expect(try await world.doctor("acme.org").output == "acme.org: all is well\n")
    }

    // MARK: Certificates

    @Test(
        "finds a certificate that browsers refuse, of the name and of the daemon; one they trust is none, also for .dev"
    )
    func certificates() async throws {
        let folder = try TemporaryFolder()
        let certificates = try await TestCertificates(in: folder)
        try await certificates.issue("acme", for: "shop.dev")
        try await certificates.selfSign("daemon", for: "localhost")
        let server = try await WebServer(WebServer.encrypted(port: 443), folder: folder)
        try folder.write("\(server.address) shop.dev\n", to: "hosts")
        let world = try await World(
            [
                "--no-upstream", "--listen", "https://\(ownLoopbackAddress()):8443", "--certificate", "daemon.pem",
                "--key", "daemon.key",
            ], folder: folder)
        _ = try await world.daemon.dig("shop.dev")
        let refused = try await world.doctor("shop.dev")
        expect(refused, "browsers refuse the certificate of shop.dev", "the issuer CN=Test CA is not known")
        #expect(refused.output.contains("\nbrowsers refuse the certificate of https://127."), "\(refused.output)")
        // A browser that asks this very daemon over HTTPS is none either.
        let url = try #require(refused.output.firstMatch(of: /https:\/\/127[^\n]*/)).0
        try world.machine([
            "root/.mozilla/firefox/x/prefs.js":
                "user_pref(\"network.trr.mode\", 3);\nuser_pref(\"network.trr.uri\", \"\(url)\");\n"
        ])
        let prefix = Namespace.entry(
            "mount --bind $folder/ca.pem \"$(readlink -f /etc/ssl/certs/ca-certificates.crt)\"", in: folder)
        let words = [
            Command.executable.path, "doctor", "shop.dev", "--control", world.socket, "--root", folder.file("root"),
        ]
        let trusted = try await Command.run(Array((prefix + words).dropFirst()), executable: URL(filePath: prefix[0]))
        #expect(!trusted.output.contains("shop.dev") && trusted.output.hasSuffix("\n1 finding\n"), "\(trusted)")
    }

    // MARK: Upstream

    /// What a scripted server can do.
    struct Ability: Sendable {
        var payload: UInt16? = 1232
        var keepsDO = true
        var signs = true
        var hasTCP = true
        var hasCookies = true
        var isSilent = false
        /// For names that nobody has, in place of NXDOMAIN.
        var rewrite: [UInt8]?
        var known: [String: [UInt8]] = [:]

        func script(_ query: [UInt8], _ transport: ScriptedServer.Transport) -> ScriptedServer.Reaction {
            if isSilent { return .silence }
            if transport == .tcp, !hasTCP { return .hangUp }
            var end = 12
            var labels: [String] = []
            while query[end] != 0 {
                labels.append(String(decoding: query[(end + 1)...(end + Int(query[end]))], as: UTF8.self).lowercased())
                end += Int(query[end]) + 1
            }
            let type = RecordType(rawValue: UInt16(query[end + 1]) << 8 | UInt16(query[end + 2]))
            let name = labels.joined(separator: ".")
            var packet = Packet(flags: 0x8180)
            packet.id = UInt16(query[0]) << 8 | UInt16(query[1])
            packet.questions = [Array(query[12..<(end + 5)])]
            let owner: [UInt8] = [0xC0, 12]
            if name.isEmpty, type == .dnskey {
                packet.answers = [Packet.record([0], .dnskey, [1, 1, 3, 8] + [UInt8](repeating: 7, count: 64))]
                if signs {
                    let times: [UInt8] = [0, 0, 14, 16, 0x70, 0, 0, 0, 0x60, 0, 0, 0]
                    packet.answers.append(
                        Packet.record(
                            [0], .rrsig, [0, 48, 8, 0] + times + [0, 1, 0] + [UInt8](repeating: 9, count: 64)))
                }
            } else if let address = known[name] ?? (name.hasSuffix(".com") ? rewrite : nil), type == .a {
                packet.answers = [Packet.record(owner, .a, address)]
            } else if !name.isEmpty, known[name] == nil {
                packet.flags |= 3
            }
            if let payload, query[11] == 1 {
                let cookie = hasCookies ? [(code: EDNS.Option.cookie, data: [UInt8](repeating: 1, count: 16))] : []
                packet.additional = [Packet.opt(payload: payload, flags: keepsDO ? 0x8000 : 0, cookie)]
            }
            return .send(packet.wire)
        }
    }

    @Test(
        "finds what an upstream server can't do",
        arguments: [
            (Ability(payload: nil), "has no EDNS", "no OPT record"),
            (Ability(payload: 512), "takes only 512 bytes over UDP", "larger answers come over TCP"),
            (Ability(keepsDO: false), "ignores DO", "can't validate"),
            (Ability(signs: false), "strips signatures", "DNSKEY without RRSIG"),
            (Ability(hasTCP: false), "does not answer over TCP", "does not fit into a datagram"),
            (Ability(rewrite: [203, 0, 113, 80]), "rewrites NXDOMAIN", "it gave 203.0.113.80"),
            (Ability(isSilent: true), "does not answer", "no response within"),
        ])
    func abilities(_ ability: Ability, _ what: String, _ why: String) async throws {
        let server = try ScriptedServer { ability.script($0, $1) }
        let world = try await World(["--upstream", "127.0.0.1:\(server.port)"])
        let result = try await world.doctor()
        expect(result, "127.0.0.1:\(server.port) \(what)", why)
        #expect(result.output.hasSuffix("\n1 finding\n"), "\(result.output)")
    }

    @Test("an upstream server that can do everything is no finding; as JSON its abilities are listed")
    func able() async throws {
        let ability = Ability()
        let server = try ScriptedServer { ability.script($0, $1) }
        let world = try await World(["--upstream", "127.0.0.1:\(server.port)"])
        let result = try await world.doctor("--json")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let upstream = try #require((report["upstreams"] as? [[String: Any]])?.first)
        #expect(result.code == 0 && upstream["server"] as? String == "127.0.0.1:\(server.port)", "\(result)")
        #expect(upstream["edns_size"] as? Int == 1232)
        for key in ["tcp", "dnssec_ok", "cookies", "signatures"] { #expect(upstream[key] as? Bool == true, "\(key)") }
        #expect(upstream["announces_encryption"] as? Bool == false && upstream["rewrites"] == nil)
    }

    @Test("finds an override that says what upstream says, and an old one of a public address that does not")
    func againstUpstream() async throws {
        let ability = Ability(known: [
            "same.org": [198, 51, 100, 1], "moved.org": [198, 51, 100, 2], "mine.org": [198, 51, 100, 3],
        ])
        let server = try ScriptedServer { ability.script($0, $1) }
        let folder = try TemporaryFolder()
        try folder.write("198.51.100.1 same.org\n198.51.100.99 moved.org\n127.0.0.1 mine.org\n", to: "hosts")
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -40.5 * 86_400)], ofItemAtPath: folder.file("hosts"))
        let world = try await World(["--upstream", "127.0.0.1:\(server.port)"], folder: folder)
        for name in ["same.org", "moved.org", "mine.org"] { _ = try await world.daemon.dig(name) }
        expect(
            try await world.doctor("same.org"), "the override of same.org changes nothing",
            "says what upstream says: 198.51.100.1")
        expect(
            try await world.doctor("moved.org"), "the override of moved.org may be out of date",
            "hosts:2 has not changed for 40 days; upstream says 198.51.100.2")
        #expect(try await world.doctor("mine.org").output == "mine.org: all is well\n")
    }

    @Test("finds private addresses that upstream gives for public names")
    func privateAnswers() async throws {
        let ability = Ability(known: ["www.example.net": [192, 168, 1, 1]])
        let server = try ScriptedServer { ability.script($0, $1) }
        let world = try await World(["--upstream", "127.0.0.1:\(server.port)"])
        #expect(try await world.daemon.dig("www.example.net", "+short") == "192.168.1.1\n")
        expect(
            try await world.doctor(), "127.0.0.1:\(server.port) gives private addresses for public names",
            "www.example.net. got one at ")
    }
}
