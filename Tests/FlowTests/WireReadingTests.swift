import DNSWire
import Platform
import Testing

@testable import Flow

@Suite("Parsing data from the wire")
struct WireReadingTests {
    // MARK: HTTPS records

    @Test("an HTTPS record is parsed")
    func service() throws {
        let alpn: [UInt8] = [0, 1, 0, 6, 2] + Array("h2".utf8) + [2] + Array("h3".utf8)
        let record = try #require(
            ServiceRecord(rdata: [0, 1, 0] + alpn + [0, 3, 0, 2, 0x20, 0xFB] + [0, 4, 0, 4, 127, 0, 0, 14]))
        #expect(!record.isAlias && record.target.isRoot)
        #expect(record.protocols == ["h2", "h3"] && record.usableProtocols == ["h2", "http/1.1"])
        #expect(record.port == 8443 && record.hints.map(\.ip) == ["127.0.0.14"])
        #expect(record.reasonAgainst == nil)
    }

    @Test("an alias, and a record with requirements unknown here")
    func unfit() throws {
        let alias = try #require(ServiceRecord(rdata: [0, 0] + Name("other.org")!.wire))
        #expect(alias.isAlias && alias.target == Name("other.org"))
        let onlyH3 = try #require(ServiceRecord(rdata: [0, 1, 0, 0, 1, 0, 3, 2] + Array("h3".utf8) + [0, 2, 0, 0]))
        #expect(onlyH3.reasonAgainst == "it needs h3, which is not spoken here")
        let mandatory = try #require(ServiceRecord(rdata: [0, 1, 0, 0, 0, 0, 2, 0x30, 0x39, 0x30, 0x39, 0, 0]))
        #expect(mandatory.reasonAgainst == "key12345 is mandatory in it and not known")
    }

    @Test("every prefix of a record, and every record with a changed byte, is parsed or refused")
    func hostileService() {
        let whole: [UInt8] =
            [0, 1] + Name("svc.acme.org")!.wire + [0, 1, 0, 3, 2] + Array("h2".utf8) + [0, 4, 0, 4, 1, 2, 3, 4]
        for count in 0..<whole.count { _ = ServiceRecord(rdata: Array(whole[..<count])) }
        for index in whole.indices {
            for value: UInt8 in [0, 1, 63, 64, 192, 255] {
                var changed = whole
                changed[index] = value
                _ = ServiceRecord(rdata: changed)
            }
        }
    }

    // MARK: ServerHello

    /// A ServerHello of TLS 1.3 with AES_128_GCM_SHA256, as one record.
    static let hello: [UInt8] = {
        let body: [UInt8] =
            [3, 3] + [UInt8](repeating: 7, count: 32) + [0] + [0x13, 0x01, 0] + [0, 6] + [0, 43, 0, 2, 3, 4]
        let message = [2, 0, 0, UInt8(body.count)] + body
        return [22, 3, 3, 0, UInt8(message.count)] + message
    }()

    @Test("version and cipher suite are read from a ServerHello")
    func serverHello() {
        let hello = ServerHello(version: 0x0304, cipherSuite: 0x1301)
        #expect(ServerHello.read(Self.hello) == .hello(hello))
        #expect("\(hello)" == "TLS 1.3 AES_128_GCM_SHA256")
        // Spread over two records.
        let message = Array(Self.hello[5...])
        let spread = [22, 3, 3, 0, 10] + message[..<10] + [22, 3, 3, 0, UInt8(message.count - 10)] + message[10...]
        #expect(ServerHello.read(Array(spread)) == .hello(hello))
    }

    @Test("a partial one needs more, an alert is reported, and other protocols are recognized")
    func otherBytes() {
        for count in 0..<Self.hello.count { #expect(ServerHello.read(Array(Self.hello[..<count])) == .needsMore) }
        #expect(ServerHello.read([21, 3, 3, 0, 2, 2, 40]) == .alert(40))
        #expect(ServerHello.read(Array("HTTP/1.1 400 Bad Request\r\n".utf8)) == .noTLS)
        #expect(ServerHello.read([22, 3, 3, 0, 4, 2, 0, 0, 0]) == .noTLS)
        for index in Self.hello.indices {
            for value: UInt8 in [0, 1, 127, 255] {
                var changed = Self.hello
                changed[index] = value
                _ = ServerHello.read(changed)
            }
        }
    }

    // MARK: HSTS and names

    @Test("HSTS fields are parsed as in RFC 6797")
    func strictTransport() {
        #expect(StrictTransport("max-age=31536000; includeSubDomains")?.maxAge == 31_536_000)
        #expect(StrictTransport("max-age=31536000; includeSubDomains")?.includesSubdomains == true)
        #expect(StrictTransport("MAX-AGE=\"0\"")?.maxAge == 0)
        #expect(StrictTransport("max-age=99999999999999999999")?.maxAge == .max)
        for bad in ["", "includeSubDomains", "max-age", "max-age=-1", "max-age=1; max-age=2", "max-age=\""] {
            #expect(StrictTransport(bad) == nil, "\(bad)")
        }
    }

    @Test("a certificate covers its names, and those that match its wildcards")
    func covers() {
        let names = ["acme.org", "*.dev.acme.org", "127.0.0.14", "*"]
        for host in ["acme.org", "ACME.org", "a.dev.acme.org", "127.0.0.14"] {
            #expect(CertificateReport.covers(names, host), "\(host)")
        }
        for host in ["www.acme.org", "dev.acme.org", "a.b.dev.acme.org", "127.0.0.15", "org"] {
            #expect(!CertificateReport.covers(names, host), "\(host)")
        }
    }
}
