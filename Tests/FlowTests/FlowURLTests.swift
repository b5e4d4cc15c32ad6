import Testing

@testable import Flow

@Suite("URLs as users and servers write them")
struct FlowURLTests {
    @Test(
        "typed text becomes a URL",
        arguments: [
            ("acme.org", "http://acme.org/"), ("acme.org:8080/a?b", "http://acme.org:8080/a?b"),
            ("HTTP://Acme.ORG:80", "http://acme.org/"), ("https://acme.org:443/x#part", "https://acme.org/x"),
            ("https://acme.org:8443", "https://acme.org:8443/"), ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("http://B\u{FC}cher.example/", "http://xn--bcher-kva.example/"), ("http://acme.org.", "http://acme.org/"),
            ("http://me:secret@acme.org/", "http://acme.org/"), ("127.0.0.1", "http://127.0.0.1/"),
            ("localhost:3000", "http://localhost:3000/"), ("http://acme.org/a/../b/./c", "http://acme.org/b/c"),
            ("http://acme.org/a b\u{E9}", "http://acme.org/a%20b%C3%A9"), ("http:\\\\acme.org\\x", "http://acme.org/x"),
        ])
    func typed(_ test: (text: String, url: String)) throws {
        #expect("\(try FlowURL(typed: test.text))" == test.url)
    }

    @Test(
        "other texts are refused with the reason",
        arguments: [
            ("ftp://acme.org/", "not followed by the web"), ("javascript:alert(1)", "not followed by the web"),
            ("http://", "no host"), ("http://acme.org:0/", "port"), ("http://acme.org:99999/", "port"),
            ("http://a..b/", "label is empty"), ("http://../", "label is empty"),
            ("http://a../", "label is empty"), ("http://1.2.3/", "neither a domain name nor an IPv4"),
            ("http://[::1%25lo]/", "not an IPv6 address"), ("http://ac me.org/", "no domain name"),
            ("http://\u{202E}gro/", "no domain name"), ("http://a\u{7}b/", "no domain name"),
            ("http://" + String(repeating: "a", count: 9000), "longer than"),
        ])
    func refused(_ test: (text: String, reason: String)) {
        let problem = #expect(throws: FlowURL.Problem.self) { try FlowURL(typed: test.text) }
        #expect(problem?.description.contains(test.reason) == true, "\(String(describing: problem))")
    }

    @Test(
        "a Location is resolved as in RFC 3986",
        arguments: [
            ("https://acme.org/", "https://acme.org/"), ("//other.org/x", "http://other.org/x"),
            ("/c?d", "http://acme.org/c?d"),
            ("c", "http://acme.org/a/c"), ("../c", "http://acme.org/c"), ("?q", "http://acme.org/a/b?q"),
            ("", "http://acme.org/a/b?x"), ("#there", "http://acme.org/a/b?x"),
            ("http://acme.org@evil.org/", "http://evil.org/"), ("\\\\evil.org\\", "http://evil.org/"),
            ("c/../\u{301}/./d", "http://acme.org/a/%CC%81/d"), ("?\u{301}", "http://acme.org/a/b?%CC%81"),
            ("/x\r\nSet-Cookie: a", "http://acme.org/xSet-Cookie:%20a"),
        ])
    func following(_ test: (location: String, url: String)) throws {
        #expect("\(try FlowURL("http://acme.org/a/b?x").following(test.location))" == test.url)
    }

    @Test("the https form keeps a port that is not 80")
    func secured() throws {
        #expect("\(try FlowURL("http://acme.org/x").secured)" == "https://acme.org/x")
        #expect("\(try FlowURL("http://acme.org:443/x").secured)" == "https://acme.org/x")
        #expect("\(try FlowURL("http://acme.org:8080/x").secured)" == "https://acme.org:8080/x")
    }
}
