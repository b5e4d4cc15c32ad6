import Foundation
import TestSupport
import Testing

/// The README's promises, on the real daemon, with the zones that are shipped.
@Suite("The flow, from the first lookup")
struct FlowTests {
    private static let zones = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "zones").path

    @Test("an override beats the zone, which answers before; each lookup is logged with its line")
    func order() async throws {
        let folder = try TemporaryFolder()
        try folder.write("", to: "hosts")
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("hosts"), "--zones", Self.zones, "--no-upstream",
        ])
        #expect(try await daemon.dig("acme.org", "+short") == "152.153.81.14\n")
        let fromZone = try await daemon.lookup("acme.org.", "A")
        #expect(fromZone["source"] as? String == "zone")
        let rule = try #require(fromZone["rule"] as? String)
        #expect(rule.contains("acme.org.zone:"))
        // The line named is the record's.
        let line = try #require(rule.split(separator: ":").last.flatMap { Int($0) })
        let text = try String(contentsOfFile: Self.zones + "/acme.org.zone", encoding: .utf8)
        #expect(text.split(separator: "\n", omittingEmptySubsequences: false)[line - 1].contains("152.153.81.14"))

        let before = daemon.output.all.count
        try folder.write("# mine\n127.0.0.14 acme.org\n", to: "hosts")
        _ = try await daemon.errors.first(containing: "overrides 0 -> 1 names")
        #expect(try await daemon.dig("acme.org", "+short", "+tcp") == "127.0.0.14\n")
        let fromHosts = try await daemon.lookup("acme.org.", "A", from: before)
        #expect(fromHosts["source"] as? String == "hosts")
        #expect(fromHosts["rule"] as? String == "\(folder.file("hosts")):2")
        #expect(fromHosts["transport"] as? String == "tcp")
        #expect(fromHosts["answers"] as? [String] == ["acme.org. 0 IN A 127.0.0.14"])
        #expect(try await daemon.dig("acme.org", "HTTPS", "+short").isEmpty)
        #expect(try await daemon.dig("www.example.net").contains("status: REFUSED"))
        #expect(try await daemon.stop() == 0)
    }
}
