import Foundation
import TestSupport
import Testing

/// One line of a hosts file governs all types by which a browser reaches a name, whatever HTTPS records exist
/// elsewhere.
@Suite(
    "The override family, in real browsers", .serialized,
    .enabled(if: Testbed.isPossible, "nginx, openssl and certutil are needed, and root: see `make test-browsers`"))
struct OverrideFamilyTests {
    /// Chromium's queries for a name: AAAA only if it could use the answer.
    private static let types = Testbed.hasIPv6 ? ["HTTPS", "AAAA", "A"] : ["HTTPS", "A"]

    @Test(
        "Chromium follows a masked override to https, ignoring other hints, h3 and ECH",
        arguments: Testbed.Holder.allCases, [false, true])
    func chromium(_ holder: Testbed.Holder, overHTTPS: Bool) async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let testbed = try await Testbed(holder, https: "mask")
        let page = try await testbed.open(.chromium, overHTTPS ? testbed.doh : .ownClient)
        #expect(page.contains("the test server, https, HTTP/2.0"))
        #expect(try testbed.server.requests() == ["http GET / HTTP/1.1 301", "https GET / HTTP/2.0 200"])
        #expect(testbed.server.datagrams() == 0)
        #expect(try await testbed.decoy.connections() == 0 && testbed.decoy.datagrams() == 0)
        let lookups = try await testbed.lookups()
        #expect(Set(lookups.map { "\($0.type) \($0.source)" }) == Set(Self.types.map { "\($0) hosts" }))
        #expect(Set(lookups.map(\.transport)) == [overHTTPS ? "doh" : "udp"])
        #expect(testbed.upstream.count(Testbed.name) == 0)
    }

    @Test(
        "Chromium goes straight to https if HTTPS is synthesized: no plain request",
        arguments: Testbed.Holder.allCases, [false, true])
    func synthesized(_ holder: Testbed.Holder, overHTTPS: Bool) async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let testbed = try await Testbed(holder, https: "synthesize")
        let page = try await testbed.open(.chromium, overHTTPS ? testbed.doh : .ownClient)
        #expect(page.contains("the test server, https, HTTP/2.0"))
        #expect(try testbed.server.requests() == ["https GET / HTTP/2.0 200"])
        #expect(Set(try await testbed.lookups().map(\.source)) == ["hosts"])
    }

    @Test("HTTPS records that are passed on reach Chromium: it tries HTTP/3 at the override's address")
    func passed() async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let testbed = try await Testbed(.upstream, https: "pass")
        // The page may fail: the server lacks the keys and protocols in the record.
        _ = try? await testbed.open(.chromium, .ownClient)
        #expect(testbed.server.datagrams() > 0)
        let lookups = try await testbed.lookups()
        #expect(lookups.contains { $0.type == "HTTPS" && $0.source == "upstream" })
    }

    @Test(
        "Firefox goes straight to https if HTTPS is synthesized, over DNS over HTTPS: no plain request",
        arguments: Testbed.Holder.allCases)
    func firefoxSynthesized(_ holder: Testbed.Holder) async throws {
        guard Browser.firefox.isInstalled else { try Test.cancel("Firefox is not installed") }
        let testbed = try await Testbed(holder, https: "synthesize")
        _ = try await testbed.open(.firefox, testbed.doh)
        #expect(try testbed.server.requests().first == "https GET / HTTP/2.0 200")
        #expect(try !testbed.server.requests().contains { $0.hasPrefix("http ") })
        #expect(Set(try await testbed.lookups().map { "\($0.transport) \($0.source)" }) == ["doh hosts"])
    }

    @Test(
        "Firefox follows a masked override, ignoring other hints, h3 and ECH", arguments: Testbed.Holder.allCases,
        [false, true])
    func firefox(_ holder: Testbed.Holder, overHTTPS: Bool) async throws {
        guard Browser.firefox.isInstalled else { try Test.cancel("Firefox is not installed") }
        let testbed = try await Testbed(holder, https: "mask")
        _ = try await testbed.open(.firefox, overHTTPS ? testbed.doh : .ownClient)
        #expect(try testbed.server.requests().prefix(2) == ["http GET / HTTP/1.1 301", "https GET / HTTP/2.0 200"])
        #expect(testbed.server.datagrams() == 0)
        #expect(try await testbed.decoy.connections() == 0 && testbed.decoy.datagrams() == 0)
        let lookups = try await testbed.lookups()
        #expect(lookups.contains { $0.type == "HTTPS" && $0.answers.isEmpty })
        #expect(Set(lookups.map(\.transport)) == [overHTTPS ? "doh" : "udp"])
        #expect(Set(lookups.map(\.source)) == ["hosts"])
    }

    @Test(
        "A browser that uses the C library follows the override too, whatever is passed on: it asks for no HTTPS",
        arguments: Browser.allCases)
    func systemResolver(_ browser: Browser) async throws {
        guard browser.isInstalled else { try Test.cancel("\(browser.rawValue) is not installed") }
        let testbed = try await Testbed(.upstream, https: "pass")
        _ = try await testbed.open(browser, .systemResolver)
        #expect(try testbed.server.requests().prefix(2) == ["http GET / HTTP/1.1 301", "https GET / HTTP/2.0 200"])
        #expect(testbed.server.datagrams() == 0)
        let lookups = try await testbed.lookups()
        #expect(!lookups.isEmpty && lookups.allSatisfy { $0.type != "HTTPS" && $0.source == "hosts" }, "\(lookups)")
    }

    @Test("From the first lookup to HTTP/2: the override beats the zone, and a new browser follows its edit")
    func flow() async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let testbed = try await Testbed(.zone, https: "mask")
        #expect(try await testbed.open(.chromium, .ownClient).contains("the test server, https, HTTP/2.0"))
        let first = testbed.seen
        // Asked once for the http URL, and again for the https URL of the redirect.
        #expect(first.map(\.type) == Self.types + Self.types)
        #expect(Set(first.map { "\($0.source) \($0.rule)" }) == ["hosts \(testbed.folder.file("hosts")):2"])

        try testbed.folder.write("\(testbed.decoy.address) \(Testbed.name)\n", to: "hosts")
        _ = try await testbed.daemon.errors.first { $0.hasPrefix("reload") }
        #expect(try await testbed.open(.chromium, .ownClient).contains("the decoy, https, HTTP/2.0"))
        let second = testbed.seen.dropFirst(first.count)
        #expect(Set(second.map { "\($0.source) \($0.rule)" }) == ["hosts \(testbed.folder.file("hosts")):1"])
        #expect(try testbed.server.requests().count == 2)
    }

    @Test("stub53 exec --browser opens a page with its own profile, which trusts the local CA")
    func exec() async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let testbed = try await Testbed(.zone, https: "mask")
        // The DNS over HTTPS listener has a certificate of the local CA and no page. Only a client that trusts it can
        // learn that.
        let result = try await Command.run(
            [
                testbed.state, Command.executable.path, "exec", "--server", testbed.daemon.address, "--browser",
                "chromium",
                "https://\(testbed.daemon.address)/", "--headless", "--dump-dom",
            ], executable: URL(filePath: "/usr/bin/env"))
        #expect(result.code == 0, "\(result.errors.suffix(500))")
        #expect(result.errors.contains("ERR_HTTP_RESPONSE_CODE_FAILURE"), "\(result.errors.suffix(500))")
    }
}
