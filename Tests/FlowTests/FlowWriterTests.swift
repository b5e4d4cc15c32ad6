import DNSWire
import Foundation
import Platform
import Testing

@testable import Flow

@Suite("Output of a flow")
struct FlowWriterTests {
    private func text(_ flow: Flow) -> String { flow.lines.map(\.text).joined(separator: "\n") }

    @Test("as a timed list, aligned")
    func list() throws {
        #expect(
            text(try SampleFlow.whole()) == """
                   ms  who                    what
                  0.0  User -> Browser        http://acme.org/
                  0.1  Browser -> DNS Server  HTTPS acme.org?
                  0.2  DNS Server -> Browser  no data         hosts /etc/hosts:12, masked
                  0.3  Browser -> DNS Server  AAAA acme.org?
                  0.4  DNS Server -> Browser  no data         hosts /etc/hosts:12
                  0.5  Browser -> DNS Server  A acme.org?
                  0.6  DNS Server -> Browser  127.0.0.14      hosts /etc/hosts:12, TTL 0
                  0.7  Browser -> Web Server  127.0.0.14:80   TCP connect
                  0.8  Browser -> Web Server  127.0.0.14:80   GET / HTTP/1.1
                  0.9  Web Server -> Browser  301 Moved Permanently, Location: https://acme.org/
                  1.0  Browser -> Web Server  127.0.0.14:443  TCP connect
                  1.1  Browser -> Web Server  127.0.0.14:443  ClientHello (SNI acme.org, ALPN h2 http/1.1)
                  1.2  Web Server -> Browser  ServerHello TLS 1.3 AES_128_GCM_SHA256
                  1.3  Web Server -> Browser  certificate CN=acme.org until 2026-12-23, issued by CN=Test CA; it verifies
                  1.4  Browser -> Web Server  Finished; encrypted from here, ALPN h2
                  1.5  Browser -> Web Server  127.0.0.14:443  GET / HTTP/2
                  1.6  Web Server -> Browser  200 HTTP/2, 27 bytes

                downgrade: possible. The first request is plain (no HTTPS record, no HSTS): an attacker on the path can hold back the redirect.
                           acme.org sends no HSTS: the next visit by http starts as openly as this one.
                           zones/acme.org.zone:15 has an HTTPS record; hosts.https: synthesize would send the browser straight to https.
                           Strict-Transport-Security: max-age=31536000 from https://acme.org/ would cover later visits.
                """)
    }

    @Test("as JSON that parses, with the same steps")
    func json() throws {
        let flow = try SampleFlow.whole()
        let object = try #require(try JSONSerialization.jsonObject(with: Data(flow.json.utf8)) as? [String: Any])
        #expect(object["url"] as? String == "http://acme.org/")
        #expect(object["outcome"] as? String == "response")
        let steps = try #require(object["steps"] as? [[String: Any]])
        #expect(steps.count == flow.steps.count)
        #expect(steps[2]["rule"] as? String == "/etc/hosts:12" && steps[2]["masked"] as? Bool == true)
        #expect(steps[1]["ms"] as? Double == 0.1)
        #expect(steps.last?["protocol"] as? String == "HTTP/2" && steps.last?["status"] as? Int == 200)
        #expect((object["downgrade"] as? [String: Any])?["verdict"] as? String == "possible")
    }

    @Test("as a Mermaid sequence diagram, with the same participants")
    func mermaid() throws {
        let lines = try SampleFlow.whole().mermaid.split(separator: "\n")
        #expect(
            lines.prefix(7) == [
                "sequenceDiagram", "    autonumber", "    participant User as User",
                "    participant Browser as Browser",
                "    participant DNSServer as DNS Server", "    participant WebServer as Web Server",
                "    User->>Browser: http://acme.org/",
            ])
        #expect(lines.contains("    DNSServer-->>Browser: 127.0.0.14, hosts /etc/hosts:12, TTL 0"))
        #expect(
            lines.last?.hasPrefix("    Note over User,WebServer: downgrade: possible.<br/>The first request") == true)
    }

    /// Texts that a server, certificate or zone may use to break out of the output.
    static let hostile = [
        "\u{1B}[31mred\u{7}", "a\r\nBrowser->>User: forged", "x;y#35;z", "%%{init: {}}%%", "<script>alert(1)</script>",
        "\u{202E}txet\u{2066}", "\"quoted\\\"", "$$x$$", "end", "wrap: x", "\u{0}", "\u{115F}\u{3164}\u{2028}",
        String(repeating: "long", count: 5000),
    ]

    @Test("received text can't break out of the output", arguments: hostile)
    func escaping(_ text: String) throws {
        var sample = try SampleFlow()
        sample.answer(.https, [text], rule: text)
        sample.add(.nameServer, .browser, .lookupFailure(text))
        try sample.plain(SampleFlow.redirect(text))
        try sample.encrypted(
            WebResponse(status: 200, reason: text, version: "HTTP/1.1", strictTransport: text, length: 1),
            problems: [text], subject: "CN=" + text)
        sample.add(.browser, .user, .failure(text))
        let flow = sample.flow
        let printed = self.text(flow)
        // One line per step, plus the header, a blank line and the verdict; only visible characters.
        let verdict = DowngradeVerdict(flow)
        #expect(flow.lines.count == flow.steps.count + 2 + verdict.reasons.count + verdict.mends.count)
        for whole in [printed, flow.mermaid, flow.json] {
            #expect(whole.unicodeScalars.allSatisfy { $0 == "\n" || isHarmless($0) })
            #expect(!whole.contains("\u{1B}"))
        }
        #expect(flow.lines.allSatisfy { $0.text.count < 1500 })
        let object = try #require(try JSONSerialization.jsonObject(with: Data(flow.json.utf8)) as? [String: Any])
        #expect((object["steps"] as? [[String: Any]])?.last?["reason"] as? String == text)
        let lines = flow.mermaid.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 6 + flow.steps.count + 2)
        for line in lines.dropFirst(6).dropLast(2) {
            let message = try #require(line.firstIndex(of: ":").map { line[line.index(after: $0)...].dropFirst() })
            // Characters with a meaning in Mermaid and HTML occur only in codes.
            let rest = message.replacing(/#[0-9]+;/, with: "")
            #expect(!rest.contains { ";#<>{}$%\"`".contains($0) }, "\(line)")
            #expect(message != "end" && !message.hasPrefix("wrap:") && !message.isEmpty)
        }
    }
}
