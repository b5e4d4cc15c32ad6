import Foundation
import Synchronization
import TestSupport
import Testing

/// Upstream servers that have to be found: by the address of their host, or because a plain server announces them.
extension EncryptedUpstreamTests {
    @Test("the host of an HTTPS server is looked up with the other servers")
    func lookedUpHost() async throws {
        let (own, _, https) = try await server(certificate)
        defer { withExtendedLifetime(own) {} }
        let plain = try ScriptedServer { query, _ in .send(Reply.addresses(query, [[127, 0, 0, 1]])) }
        let daemon = try await daemon([
            "corp.example=127.0.0.1:\(plain.port)", "127.0.0.1:\(plain.port)",
            "example.net=https://dns.acme.org:\(https)/dns-query",
        ])
        #expect(plain.questions("dns") >= 1)
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("a host whose address is not known at the start is looked up until it is")
    func lookedUpLater() async throws {
        let (own, _, https) = try await server(certificate)
        defer { withExtendedLifetime(own) {} }
        let isKnown = Mutex(false)
        let plain = try ScriptedServer { query, _ in
            isKnown.withLock { $0 } ? .send(Reply.addresses(query, [[127, 0, 0, 1]])) : .send(Reply.error(query, 2))
        }
        let daemon = try await daemon([
            "127.0.0.1:\(plain.port)", "example.net=https://dns.acme.org:\(https)/dns-query",
        ])
        _ = try await daemon.errors.first(containing: "no address of dns.acme.org. is known yet")
        #expect(try await daemon.dig("www.example.net").contains("status: SERVFAIL"))
        isKnown.withLock { $0 = true }
        _ = try await daemon.errors.first(containing: "/dns-query is asked as")
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("if a host's address does not answer, its next one is asked")
    func nextAddress() async throws {
        let (own, _, https) = try await server(certificate)
        defer { withExtendedLifetime(own) {} }
        // Nothing listens at the first one.
        let plain = try ScriptedServer { query, _ in
            .send(Reply.addresses(query, [[127, 0, 0, 2], [127, 0, 0, 1]]))
        }
        let daemon = try await daemon([
            "127.0.0.1:\(plain.port)", "example.net=https://dns.acme.org:\(https)/dns-query",
        ])
        #expect(try await daemon.dig("www.example.net").contains("status: SERVFAIL"))
        _ = try await daemon.errors.first(containing: "/dns-query#127.0.0.1:\(https)")
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("with upstream.discover, a plain server that announces an encrypted one is asked over that")
    func discovered() async throws {
        let (own, _, _) = try await server(certificate)
        let daemon = try await daemon(["127.0.0.1:\(own.port)"], more: "  discover: yes\n")
        _ = try await daemon.errors.first(containing: "127.0.0.1:\(own.port) is asked as tls://127.0.0.1:")
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.1\n")
        let lookup = try await daemon.lookup("www.example.net.", "A")
        #expect((lookup["upstream"] as? String)?.hasSuffix("/dot") == true, "\(lookup)")
        #expect(lookup["upstream_connection"] as? String == "new" && lookup["handshake_us"] is Int, "\(lookup)")
        #expect(try await daemon.dig("two.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.lookup("two.example.net.", "A")["upstream_connection"] as? String == "reused")
        // Without its encrypted part it is asked as it is configured.
        #expect(try await own.stop() == 0)
        let plain = try await DaemonProcess([
            "--no-hosts", "--zones", folder.file("zones"), "--listen", "127.0.0.1:\(own.port)", "--upstream",
            "127.0.0.1:\(source.port)",
        ])
        _ = try await daemon.dig("three.example.net")
        _ = try await daemon.errors.first(containing: "127.0.0.1:\(own.port) is asked without encryption")
        #expect(try await daemon.dig("four.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.lookup("four.example.net.", "A")["upstream"] as? String == "127.0.0.1:\(own.port)/udp")
        #expect(try await daemon.stop() == 0)
        #expect(try await plain.stop() == 0)
    }

    @Test("without upstream.discover from now on, the plain server is asked again")
    func discoveredNoMore() async throws {
        let (own, _, _) = try await server(certificate)
        let daemon = try await daemon(["127.0.0.1:\(own.port)"], more: "  discover: yes\n")
        _ = try await daemon.errors.first(containing: "127.0.0.1:\(own.port) is asked as tls://127.0.0.1:")
        let file = folder.file("stub53.yaml")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        try folder.write(text.replacing("discover: yes", with: "discover: no"), to: "stub53.yaml")
        _ = try await daemon.errors.first { $0.hasPrefix("reload ") }
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.1\n")
        #expect(
            try await daemon.lookup("www.example.net.", "A")["upstream"] as? String == "127.0.0.1:\(own.port)/udp")
        #expect(try await daemon.stop() == 0)
        #expect(try await own.stop() == 0)
    }

    @Test("an announced server without a certificate for the plain one's address is not asked")
    func unverified() async throws {
        let (own, _, _) = try await server(
            try await authority.certificate(for: ["dns.acme.org"], addresses: ["127.0.0.2"]))
        let plain = try await daemon(["127.0.0.1:\(own.port)"], more: "  discover: yes\n")
        // It has been asked, and then refused twice.
        _ = try await own.lookup("_dns.resolver.arpa.", "SVCB")
        #expect(try await plain.dig("www.example.net", "+short") == "192.0.2.1\n")
        #expect(
            try await plain.lookup("www.example.net.", "A")["upstream"] as? String == "127.0.0.1:\(own.port)/udp")
        #expect(try await plain.stop() == 0)
        #expect(!plain.errors.all.contains { $0.contains("is asked as") })
        #expect(try await own.stop() == 0)
    }
}
