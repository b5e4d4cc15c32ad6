import DNSWire

@testable import Flow

/// Inputs of a flow: typed URLs and Locations, Strict-Transport-Security, HTTPS records.
enum URLTarget {
    static let target = FuzzTarget(
        name: "url", longest: 9000,
        seeds: {
            [
                "uhttp://acme.org/a/../b?c#d", "uacme.org:8080", "uhttps://[2001:db8::1]:444/", "uB\u{FC}cher.de",
                "l//x/y",
                "l../../a", "l?q", "l\\\\x\\y", "uhttp://u:p@h/%2e%2E/", "smax-age=31536000; includeSubDomains",
                "smax-age=\"0\"",
            ].map { Array($0.utf8) }
                + [[0x72, 0, 1, 0, 0, 1, 0, 3, 2, 104, 50, 0, 4, 0, 4, 192, 0, 2, 1], [0x72, 0, 0, 1, 97, 0]]
        },
        words: {
            [
                "http://", "https://", "//", "../", "%2e", "@", "[::1]", "xn--", "\u{3002}", "max-age=",
                "includeSubDomains",
            ].map { Array($0.utf8) }
        },
        prepare: {
            { input in
                var reader = InputReader(input)
                switch reader.byte() {
                case UInt8(ascii: "l"): location(text(reader.rest))
                case UInt8(ascii: "s"):
                    if let field = StrictTransport(text(reader.rest)) { expect(field.maxAge >= 0, "a negative age") }
                case UInt8(ascii: "r"): record(Array(reader.rest))
                default:
                    guard let url = url({ () throws(FlowURL.Problem) in try FlowURL(typed: text(reader.rest)) }) else {
                        return
                    }
                    check(url)
                    check(url.secured)
                }
            }
        })

    private static func url(_ read: () throws(FlowURL.Problem) -> FlowURL) -> FlowURL? {
        do { return try read() } catch {
            checkSentence(error.description)
            return nil
        }
    }

    /// The result is clean ASCII, and parses to the same URL.
    private static func check(_ url: FlowURL) {
        let text = url.description
        expect(text.utf8.allSatisfy { (0x21...0x7E).contains($0) }, "not clean: \(text)")
        expect(url.target.hasPrefix("/") && !url.target.contains("#"), "the target is \(url.target)")
        expect((url.address != nil) != (url.name != nil), "\(url.host) is neither name nor address, or both")
        expect(url.port > 0, "port 0")
        guard let again = try? FlowURL(text) else {
            return expect(text.utf8.count > FlowURL.maximumLength, "\(text) is no URL")
        }
        expect(again == url, "\(text) is read as \(again)")
    }

    private static func location(_ text: String) {
        guard let base = try? FlowURL("https://acme.org:8443/a/b/c?d") else { broken("no URL") }
        guard let url = url({ () throws(FlowURL.Problem) in try base.following(text) }) else { return }
        check(url)
    }

    private static func record(_ rdata: [UInt8]) {
        guard let record = ServiceRecord(rdata: rdata) else { return }
        expect(record.hints.count <= 16, "\(record.hints.count) hints")
        expect(Name(wire: record.target.wire) != nil, "the target is no name")
        _ = (record.reasonAgainst, record.usableProtocols)
    }
}
