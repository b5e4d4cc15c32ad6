import Foundation
import TestSupport
import Testing

/// One line of a hosts file governs a browser's whole way to a name, whatever others' HTTPS records say.
@Suite(
    "The override family, in real browsers", .serialized,
    .enabled(if: Stage.isPossible, "nginx, openssl and certutil are needed, and root: see `make test-browsers`"))
struct OverrideFamilyTests {
    @Test(
        "Chromium follows a masked override to https, past other hints, h3 and ECH", arguments: Stage.Holder.allCases)
    func chromium(_ holder: Stage.Holder) async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let stage = try await Stage(holder, https: "mask")
        let page = try await stage.open(.chromium, .ownClient)
        #expect(page.contains("the test server, https, HTTP/2.0"))
        #expect(try stage.server.requests() == ["http GET / HTTP/1.1 301", "https GET / HTTP/2.0 200"])
        #expect(stage.server.datagrams() == 0)
        let lookups = try await stage.lookups()
        #expect(Set(lookups.map { "\($0.type) \($0.source)" }) == ["HTTPS hosts", "AAAA hosts", "A hosts"])
        #expect(stage.upstream.count(Stage.name) == 0)
    }

    @Test(
        "Chromium goes straight to https where HTTPS is synthesized: no plain request", arguments: Stage.Holder.allCases
    )
    func synthesized(_ holder: Stage.Holder) async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let stage = try await Stage(holder, https: "synthesize")
        #expect(try await stage.open(.chromium, .ownClient).contains("the test server, https, HTTP/2.0"))
        #expect(try stage.server.requests() == ["https GET / HTTP/2.0 200"])
        #expect(Set(try await stage.lookups().map(\.source)) == ["hosts"])
    }
}
