import Foundation
import TestSupport
import Testing

/// dig sends EDNS, so it shows why an answer is as it is.
@Suite("The reason of an answer, as dig shows it")
struct ReasonTests {
    private static let zone = """
        $ORIGIN acme.org.
        $TTL 3600
        @ SOA ns hostmaster 1 7200 3600 1209600 300
        @ NS ns
        ns A 127.0.0.53
        www CNAME over
        ext CNAME www.example.net.

        """

    private func error(_ output: String) -> String? {
        output.split(separator: "\n").first { $0.hasPrefix("; EDE: ") }.map { String($0.dropFirst(7)) }
    }

    @Test("is file and line for overrides and zones; for a chain, those of each name")
    func local() async throws {
        let folder = try TemporaryFolder()
        try folder.write("# mine\n127.0.0.14 over.acme.org\n", to: "hosts")
        try folder.write(Self.zone, to: "zones/acme.org.zone")
        let daemon = try await DaemonProcess(
            ["--hosts", "hosts", "--zones", "zones", "--no-upstream"], folder: folder.path)
        #expect(error(try await daemon.dig("over.acme.org")) == "0 (Other): (hosts hosts:2)")
        #expect(error(try await daemon.dig("over.acme.org", "HTTPS")) == "0 (Other): (hosts hosts:2, masked)")
        #expect(error(try await daemon.dig("ns.acme.org")) == "0 (Other): (zone zones/acme.org.zone:5)")
        #expect(
            error(try await daemon.dig("www.acme.org", "+tcp"))
                == "0 (Other): (www: zone zones/acme.org.zone:6; over: hosts hosts:2)")
        #expect(error(try await daemon.dig("over.acme.org", "+noedns")) == nil)
        // It is not an error: the log has none.
        #expect(try await daemon.lookup("over.acme.org.", "A")["ede"] is NSNull)
        #expect(try await daemon.stop() == 0)
    }

    @Test("is the server and its round trip for upstream's answer, then the cache")
    func remote() async throws {
        let folder = try TemporaryFolder()
        try folder.write(Self.zone, to: "zones/acme.org.zone")
        let upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query)) }
        let daemon = try await DaemonProcess(
            ["--no-hosts", "--zones", "zones", "--upstream", "127.0.0.1:\(upstream.port)"], folder: folder.path)
        let first = try #require(error(try await daemon.dig("www.example.net")))
        #expect(
            first.wholeMatch(of: /0 \(Other\): \(upstream 127\.0\.0\.1:(\d+) \d+\.\d ms\)/)?.1 == "\(upstream.port)",
            "\(first)")
        #expect(error(try await daemon.dig("www.example.net")) == "0 (Other): (cache)")
        #expect(
            error(try await daemon.dig("ext.acme.org")) == "0 (Other): (ext: zone zones/acme.org.zone:7; www: cache)")
        #expect(try await daemon.stop() == 0)
    }

    @Test("is sent or not as configured, also after a reload")
    func reload() async throws {
        let folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
        try folder.write("explain: off\n", to: "stub53.yaml")
        let daemon = try await DaemonProcess(
            ["--config", "stub53.yaml", "--hosts", "hosts", "--no-upstream"], folder: folder.path)
        #expect(error(try await daemon.dig("over.acme.org")) == nil)
        let beside = try folder.write("explain: loopback\n", to: "new")
        #expect(rename(beside, folder.file("stub53.yaml")) == 0)
        _ = try await daemon.errors.first { $0.hasPrefix("reload ") }
        #expect(error(try await daemon.dig("over.acme.org")) == "0 (Other): (hosts hosts:1)")
        #expect(try await daemon.stop() == 0)
    }
}
