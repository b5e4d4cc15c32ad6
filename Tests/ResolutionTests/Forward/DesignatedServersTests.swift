import Testing

@testable import Platform
@testable import Upstream

/// RFC 9462 4, 9461 and 9460 2.2: what a plain server announces of itself.
@Suite("An announced encrypted server")
struct DesignatedServersTests {
    private let address = SocketAddress(ip: "192.0.2.53", port: 53)!
    private static let dot: [UInt8] = [0, 1, 0, 4, 3] + Array("dot".utf8)
    private static let both: [UInt8] = [0, 1, 0, 7, 2] + Array("h2".utf8) + [3] + Array("dot".utf8)
    private static let port: [UInt8] = [0, 3, 0, 2, 0x20, 0xFB]
    private static let path: [UInt8] = [0, 7, 0, 16] + Array("/dns-query{?dns}".utf8)
    private static let target: [UInt8] = [3] + Array("dns".utf8) + [7] + Array("example".utf8) + [0]

    private func announced(_ rdata: [UInt8]) -> DesignatedServers.Announcement? {
        rdata.withUnsafeBytes { DesignatedServers.Announcement($0) }
    }

    private func servers(_ rdata: [UInt8]) -> [String]? {
        announced(rdata).map { $0.servers(at: address).map(\.description) }
    }

    @Test("is at the plain server's address, over HTTPS before TLS, at its port or the usual one")
    func usable() throws {
        #expect(servers([0, 1] + Self.target + Self.dot) == ["tls://192.0.2.53:853"])
        #expect(
            servers([0, 1] + Self.target + Self.both + Self.port + Self.path)
                == ["https://192.0.2.53:8443/dns-query", "tls://192.0.2.53:8443"])
        #expect(servers([0, 2, 0] + Self.both) == ["tls://192.0.2.53:853"])
        // HTTP/3 only.
        #expect(servers([0, 1, 0, 0, 1, 0, 3, 2] + Array("h3".utf8) + Self.path) == [])
    }

    @Test("at other addresses only is left alone")
    func elsewhere() throws {
        let here: [UInt8] = [0, 4, 0, 8, 198, 51, 100, 1, 192, 0, 2, 53]
        let there: [UInt8] = [0, 4, 0, 4, 198, 51, 100, 1]
        #expect(try #require(announced([0, 1, 0] + Self.dot)).covers(address))
        #expect(try #require(announced([0, 1, 0] + Self.dot + here)).covers(address))
        #expect(try !#require(announced([0, 1, 0] + Self.dot + there)).covers(address))
    }

    @Test(
        "in malformed or unknown form is no announcement",
        arguments: [
            [], [0], [0, 1], [0, 0, 0], [0, 1, 64], [0, 1, 3, 0x64], [0, 1, 0, 0], [0, 1, 0, 0, 1, 0],
            [0, 1, 0, 0, 1, 0, 4, 3, 0x64],
            // A protocol without end, a port of three bytes, keys out of order, a mandatory key that is not known.
            [0, 1, 0, 0, 1, 0, 2, 9, 0x64], [0, 1, 0, 0, 3, 0, 3, 1, 2, 3],
            [0, 1, 0] + port + dot, [0, 1, 0] + dot + dot, [0, 1, 0, 0, 0, 0, 2, 0x12, 0x34] + dot,
        ] as [[UInt8]])
    func malformed(_ rdata: [UInt8]) {
        #expect(announced(rdata) == nil, "\(rdata)")
    }
}
