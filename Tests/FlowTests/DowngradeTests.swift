import DNSWire
import Testing

@testable import Flow

@Suite("Where a flow could be downgraded")
struct DowngradeTests {
    private func check(
        _ sample: SampleFlow, _ answer: DowngradeVerdict.Answer, _ texts: String..., without: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let verdict = DowngradeVerdict(sample.flow)
        let all = (verdict.reasons + verdict.mends).joined(separator: "\n")
        #expect(verdict.answer == answer, "\(all)", sourceLocation: sourceLocation)
        for text in texts { #expect(all.contains(text), "\(all)", sourceLocation: sourceLocation) }
        if let without { #expect(!all.contains(without), "\(all)", sourceLocation: sourceLocation) }
    }

    private func sample(
        _ url: String = "http://acme.org/", record: Bool = false, rule: String? = nil
    ) throws -> SampleFlow {
        var sample = try SampleFlow(url)
        sample.answer(.https, record ? ["1 . alpn=h2"] : [], rule: rule)
        return sample
    }

    @Test("the redirect of a plain first request can be suppressed")
    func redirect() throws {
        var sample = try sample()
        try sample.plain(SampleFlow.redirect("https://acme.org/"))
        try sample.encrypted(SampleFlow.page())
        check(sample, .possible, "hold back the redirect", "acme.org. HTTPS 1 . alpn=h2", "sends no HSTS")
    }

    @Test("HSTS protects later visits, not the first")
    func strictTransport() throws {
        var sample = try sample()
        try sample.plain(SampleFlow.redirect("https://acme.org/"))
        try sample.encrypted(SampleFlow.page("max-age=31536000"))
        check(sample, .possible, "hold back the redirect", without: "sends no HSTS")
    }

    @Test("without a redirect, the page itself is unprotected")
    func noRedirect() throws {
        var sample = try sample()
        try sample.plain(SampleFlow.page(version: "HTTP/1.1"))
        check(sample, .possible, "There is no redirect", "A redirect (301) of http://acme.org/ to https://acme.org/")
    }

    @Test("a redirect to plain http, at once or after https")
    func plainRedirect() throws {
        var first = try sample()
        try first.plain(SampleFlow.redirect("http://www.acme.org/"))
        first.add(.browser, .browser, .note("-"))
        var back = try sample("https://acme.org/")
        try back.encrypted(SampleFlow.redirect("http://acme.org/x"))
        try back.plain(nil, "http://acme.org/x")
        check(back, .possible)
        check(first, .possible, "plain")
    }

    @Test("with an HTTPS record there is no plain request")
    func record() throws {
        var sample = try sample(record: true)
        sample.add(.browser, .browser, .upgrade(try FlowURL("https://acme.org/"), .httpsRecord))
        try sample.encrypted(SampleFlow.page())
        check(sample, .no, "straight to https://acme.org/", "sends no HSTS", without: "HTTPS 1 . alpn=h2")
    }

    @Test("a flow that starts with https says what http would do")
    func encrypted() throws {
        var sample = try sample("https://acme.org/")
        try sample.encrypted(SampleFlow.page())
        check(sample, .elsewhere, "Typed as http://acme.org/ it could be: no HTTPS record, no HSTS.")
        var strict = try self.sample("https://acme.org/", record: true)
        try strict.encrypted(SampleFlow.page("max-age=31536000"))
        check(strict, .no)
        #expect(DowngradeVerdict(strict.flow).mends.isEmpty)
    }

    @Test("HSTS over a connection that does not verify is ignored")
    func badCertificate() throws {
        var sample = try sample("https://acme.org/")
        try sample.encrypted(SampleFlow.page("max-age=31536000"), problems: ["it expired"])
        check(sample, .elsewhere, "does not verify", "no HSTS")
    }

    @Test("an override without its HTTPS record names the setting")
    func overridden() throws {
        var sample = try sample(rule: "hosts:1")
        try sample.plain(SampleFlow.redirect("https://acme.org/"))
        check(sample, .possible, "hosts.https: synthesize")
    }

    @Test("a flow that reached no server is not judged")
    func unknown() throws {
        var sample = try SampleFlow()
        sample.add(.nameServer, .browser, .lookupFailure("127.0.0.53:53: no DNS server answers there"))
        check(sample, .unknown, "before a web server was asked")
    }
}
