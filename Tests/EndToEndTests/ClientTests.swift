import Foundation
import TestSupport
import Testing

/// Common clients, with an override that beats a zone, which beats upstream.
@Suite("Clients")
struct ClientTests {
    private let folder: TemporaryFolder
    private let upstream: ScriptedServer

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n::1 over.acme.org\n", to: "hosts")
        try folder.write(
            """
            $ORIGIN acme.org.
            $TTL 3600
            @ IN SOA ns hostmaster 1 7200 3600 1209600 300
            @ NS ns
            ns A 152.153.81.53
            @ A 152.153.81.14
            www CNAME @
            over A 152.153.81.99
            over HTTPS 1 . alpn=h3
            text TXT \((0..<12).map { "\"\($0)\(String(repeating: "y", count: 200))\"" }.joined(separator: " "))

            """, to: "zones/acme.org.zone")
        upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query)) }
    }

    private func daemon(_ more: String...) async throws -> DaemonProcess {
        try await DaemonProcess(
            [
                "--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--upstream",
                "127.0.0.1:\(upstream.port)",
            ] + more)
    }

    /// Each lookup's log line has its source and rule.
    private func checkLog(_ daemon: DaemonProcess) async throws {
        let over = try await daemon.lookup("over.acme.org.", "A")
        #expect(over["source"] as? String == "hosts")
        #expect(over["rule"] as? String == "\(folder.file("hosts")):1")
        let zone = try await daemon.lookup("acme.org.", "A")
        #expect(zone["source"] as? String == "zone")
        #expect(zone["rule"] as? String == "\(folder.file("zones"))/acme.org.zone:6")
        let other = try await daemon.lookup("www.example.net.", "A")
        #expect(other["source"] as? String == "upstream")
    }

    @Test("dig, over UDP and TCP")
    func dig() async throws {
        let daemon = try await daemon()
        for transport in ["+notcp", "+tcp"] {
            #expect(try await daemon.dig("over.acme.org", "+short", transport) == "127.0.0.14\n")
            #expect(try await daemon.dig("over.acme.org", "AAAA", "+short", transport) == "::1\n")
            #expect(try await daemon.dig("over.acme.org", "HTTPS", "+short", transport).isEmpty)
            #expect(try await daemon.dig("www.acme.org", "+short", transport) == "acme.org.\n152.153.81.14\n")
            #expect(try await daemon.dig("acme.org", "+short", transport) == "152.153.81.14\n")
            #expect(try await daemon.dig("www.example.net", "+short", transport) == "192.0.2.1\n")
        }
        #expect(try await daemon.dig("-x", "127.0.0.14", "+short") == "over.acme.org.\n")
        let plain = try await daemon.dig("acme.org", "+noedns", "+norec")
        #expect(plain.contains("flags: qr aa ra;") && !plain.contains("OPT PSEUDOSECTION"))
        let full = try await daemon.dig("AcMe.oRg", "+dnssec", "+bufsize=4096", "+nsid")
        #expect(full.contains("; EDNS: version: 0, flags: do; udp: 1232") && full.contains("AcMe.oRg."))
        #expect(full.contains("(good)"))
        let cut = try await daemon.dig("text.acme.org", "TXT", "+ignore", "+bufsize=512")
        #expect(cut.contains("flags: qr aa tc"))
        #expect(try await daemon.dig("text.acme.org", "TXT", "+short").contains("\"11yyyy"))
        #expect(try await daemon.dig("version.bind", "CH", "TXT", "+short").hasPrefix("\"stub53 "))
        let transfer = try await daemon.dig("acme.org", "AXFR")
        // Eight records plus the second SOA.
        #expect(transfer.contains("XFR size: 9 records"), "\(transfer)")
        #expect(
            try await daemon.dig("+ednsopt=65001:0102", "+ednsflags=0x40", "acme.org", "+short") == "152.153.81.14\n")
        #expect(try await daemon.dig("+edns=1", "+noednsneg", "acme.org").contains("status: BADVERS"))
        #expect(try await daemon.dig("+opcode=2", "acme.org").contains("status: NOTIMP"))
        let kept = try await daemon.dig("+tcp", "+keepopen", "acme.org", "over.acme.org", "www.example.net", "+short")
        #expect(kept == "152.153.81.14\n127.0.0.14\n192.0.2.1\n")
        try await checkLog(daemon)
        #expect(try await daemon.stop() == 0)
    }

    @Test("kdig, over UDP and TCP")
    func kdig() async throws {
        let daemon = try await daemon()
        for transport in ["+notcp", "+tcp"] {
            for (name, expected) in [
                ("over.acme.org", "127.0.0.14\n"), ("acme.org", "152.153.81.14\n"), ("www.example.net", "192.0.2.1\n"),
            ] {
                let result = try await Command.run(
                    [
                        "@127.0.0.1", "-p", "\(daemon.port)", transport, "+short", "+edns", "+cookie",
                        "+timeout=\(longestWait)", name, "A",
                    ],
                    executable: URL(filePath: "/usr/bin/kdig"))
                #expect(result.output == expected, "\(result)")
            }
        }
        try await checkLog(daemon)
    }

    @Test("drill, over UDP and TCP")
    func drill() async throws {
        let daemon = try await daemon()
        for transport in ["-u", "-t"] {
            for (name, expected) in [
                ("over.acme.org", "127.0.0.14"), ("acme.org", "152.153.81.14"), ("www.example.net", "192.0.2.1"),
            ] {
                let result = try await Command.run(
                    ["-p", "\(daemon.port)", transport, name, "@127.0.0.1", "A"],
                    executable: URL(filePath: "/usr/bin/drill"))
                #expect(result.output.contains("\t\(expected)\n"), "\(result)")
            }
        }
        try await checkLog(daemon)
    }

    @Test("Python's dnspython: UDP, TCP, EDNS, its resolver")
    func dnspython() async throws {
        let daemon = try await daemon()
        let script = """
            import dns.message, dns.query, dns.resolver, dns.flags, dns.edns, sys
            port = int(sys.argv[1])
            def ask(name, type="A", **options):
                return dns.message.make_query(name, type, **options)
            for send in (dns.query.udp, dns.query.tcp):
                answer = send(ask("over.acme.org"), "127.0.0.1", port=port, timeout=\(longestWait))
                assert answer.answer[0].to_text() == "over.acme.org. 0 IN A 127.0.0.14", answer
                assert answer.flags & dns.flags.AA
                answer = send(ask("acme.org", use_edns=0, want_dnssec=True, payload=1400), "127.0.0.1", port=port, timeout=\(longestWait))
                assert answer.answer[0][0].to_text() == "152.153.81.14" and answer.edns == 0, answer
                answer = send(ask("nope.acme.org"), "127.0.0.1", port=port, timeout=\(longestWait))
                assert answer.rcode() == 3 and answer.authority[0].rdtype == 6, answer
            cookie = dns.edns.GenericOption(10, b"12345678")
            answer = dns.query.udp(ask("acme.org", use_edns=0, options=[cookie]), "127.0.0.1", port=port, timeout=\(longestWait))
            data = [o for o in answer.options if o.otype == 10][0].data
            assert data[:8] == b"12345678" and len(data) == 24, data
            resolver = dns.resolver.Resolver(configure=False)
            resolver.timeout = resolver.lifetime = \(longestWait)
            resolver.nameservers, resolver.port = ["127.0.0.1"], port
            assert [r.to_text() for r in resolver.resolve("www.acme.org")] == ["152.153.81.14"]
            assert [r.to_text() for r in resolver.resolve("www.example.net")] == ["192.0.2.1"]
            assert resolver.resolve_address("127.0.0.14")[0].to_text() == "over.acme.org."
            print("fine")
            """
        let result = try await Command.run(
            ["-c", script, "\(daemon.port)"], executable: URL(filePath: "/usr/bin/python3"))
        #expect(result.output == "fine\n", "\(result.errors)")
        try await checkLog(daemon)
    }

    @Test(
        "glibc: getent ahosts on a system whose resolv.conf names the daemon",
        .enabled(if: Namespace.isAvailable, "a resolv.conf of its own takes a mount namespace: run as root"))
    func getent() async throws {
        let address = ownLoopbackAddress()
        let daemon = try await daemon("--listen", "\(address):53")
        let script = """
            for name in over.acme.org acme.org www.example.net; do
                getent ahosts $name | sed -n 's/ *STREAM.*//p' | sort | tr '\\n' ' '; echo
            done
            """
        var command = try Namespace.client(of: address, order: "dns", in: folder) + ["sh", "-ec", script]
        let result = try await Command.run(command, executable: URL(filePath: command.removeFirst()))
        #expect(result.output == "127.0.0.14 ::1 \n152.153.81.14 \n192.0.2.1 \n", "\(result)")
        try await checkLog(daemon)
        #expect(try await daemon.lookup("over.acme.org.", "AAAA")["source"] as? String == "hosts")
        #expect(try await daemon.stop() == 0)
    }
}
