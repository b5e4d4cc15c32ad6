import DNSWire
import Foundation
import TestSupport
import Testing

/// The lookups of a real page, recorded and replayed.
@Suite(
    "A cassette of a page load", .serialized,
    .enabled(if: Testbed.isPossible, "nginx, openssl and certutil are needed, and root: see `make test-browsers`"))
struct CassetteTests {
    /// Who has the parts of the page; the last two have no address.
    private static let hosts = ["www.shop.example", "static.cdn.example", "gone.shop.example", "broken.shop.example"]

    private static func message(_ query: [UInt8], code: UInt8 = 0, _ records: [[UInt8]] = []) -> [UInt8] {
        var end = 12
        while query[end] != 0 { end += Int(query[end]) + 1 }
        return [query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, UInt8(records.count), 0, 0, 0, 0]
            + query[12..<(end + 5)] + records.joined()
    }

    private static func name(_ query: [UInt8]) -> (name: String, type: UInt16) {
        var labels: [String] = []
        var cursor = 12
        while query[cursor] != 0 {
            labels.append(String(decoding: query[(cursor + 1)...(cursor + Int(query[cursor]))], as: UTF8.self))
            cursor += Int(query[cursor]) + 1
        }
        return (labels.joined(separator: ".").lowercased(), UInt16(query[cursor + 1]) << 8 | UInt16(query[cursor + 2]))
    }

    /// What the servers of these names would say; a browser's own names lead nowhere.
    private static func answer(_ query: [UInt8], _ address: [UInt8]) -> [UInt8] {
        let (name, type) = name(query)
        let a = type == 1 ? [Packet.record([0xC0, 12], .a, address)] : []
        switch name {
        case "shop.example", "lb.cdn.example": return message(query, a)
        case "www.shop.example":
            let target = Packet.name("lb.cdn.example.")
            let alias = Packet.record([0xC0, 12], .cname, target)
            return message(query, [alias] + (type == 1 ? [Packet.record(target, .a, address)] : []))
        case "static.cdn.example":
            // 1 . alpn=h2
            return message(
                query, type == 65 ? [Packet.record([0xC0, 12], .https, [0, 1, 0, 0, 1, 0, 3, 2] + "h2".utf8)] : a)
        case "broken.shop.example": return message(query, code: 2)
        default: return message(query, code: 3)
        }
    }

    /// The messages to a client's questions, without ID and TTLs.
    private static func messages(_ daemon: DaemonProcess) async throws -> [String] {
        var messages: [String] = []
        for name in ["shop.example"] + hosts {
            for type in ["A", "AAAA", "HTTPS"] {
                let all = try await daemon.dig(name, type, "+nocookie", "+noedns", "+nocomments", "+noall", "+answer")
                // dig hides no byte: unknown types and sections in hexadecimal.
                let raw = try await Command.run(
                    ["-c", Self.client, daemon.address, name, type], executable: URL(filePath: "/usr/bin/python3"))
                #expect(raw.code == 0, "\(raw.errors)")
                #expect(all.contains("\t") == (raw.output.split(separator: " ").last != "0"), "\(all) \(raw.output)")
                messages.append("\(name) \(type) \(raw.output)")
            }
        }
        return messages
    }

    /// Prints a response in hexadecimal, its ID and TTLs as zeros, and then the number of its answers.
    private static let client = """
        import socket, struct, sys
        address, name, kind = sys.argv[1:]
        wire = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\\0"
        number = {"A": 1, "AAAA": 28, "HTTPS": 65}[kind]
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(60)
        s.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + wire + struct.pack(">2H", number, 1), (address, 53))
        m = bytearray(s.recv(4096))
        m[0:2] = b"\\0\\0"
        def skip(at):
            while m[at]:
                if m[at] >= 0xC0: return at + 2
                at += m[at] + 1
            return at + 1
        at = skip(12) + 4
        for _ in range(sum(struct.unpack(">3H", m[6:12]))):
            at = skip(at)
            m[at + 4:at + 8] = bytes(4)
            at += 10 + struct.unpack(">H", m[at + 8:at + 10])[0]
        print(m.hex(), struct.unpack(">H", m[6:8])[0], end="")
        """

    private struct Visit: Equatable {
        var page: String
        var lookups: Set<String>
        var messages: [String]
        var requests: Int
    }

    /// Opens the page, then asks as another client.
    private func visit(
        _ daemon: DaemonProcess, _ server: WebServer, _ authority: TestAuthority
    ) async throws -> Visit {
        let before = (try? server.requests().count) ?? 0
        let page = try await Browser.chromium.open(
            "https://shop.example/", .ownClient, server: daemon.address, trusting: authority)
        let requests = try server.requests().count - before
        let messages = try await Self.messages(daemon)
        #expect(try await daemon.stop() == 0)
        let names = Set((["shop.example"] + Self.hosts).map { $0 + "." })
        // TTLs aside: those of the cache differ.
        let lookups = daemon.output.all.compactMap(Lookup.init).filter { names.contains($0.name) }.map { lookup in
            let answers = lookup.answers.map { answer in
                answer.split(separator: " ").enumerated().filter { $0.offset != 1 }.map(\.element)
                    .joined(separator: " ")
            }
            return "\(lookup.name) \(lookup.type) \(lookup.code) \(answers)"
        }
        return Visit(page: page, lookups: Set(lookups), messages: messages, requests: requests)
    }

    @Test("gives Chromium and other clients the same messages when the servers are gone")
    func chromium() async throws {
        guard Browser.chromium.isInstalled else { try Test.cancel("Chromium is not installed") }
        let folder = try TemporaryFolder()
        let authority = try await TestAuthority()
        let parts = Self.hosts.map {
            "<script src=https://\($0)/></script>"
        }
        let server = try await WebServer(
            parts.joined(), certificate: try await authority.certificate(for: ["shop.example"] + Self.hosts))
        let address = server.address.split(separator: ".").compactMap { UInt8($0) }
        let upstream = try ScriptedServer { query, _ in .send(Self.answer(query, address)) }
        let cassette = folder.file("page.cassette")
        func daemon(_ options: String...) async throws -> DaemonProcess {
            try await DaemonProcess(["--no-hosts", "--listen", "\(ownLoopbackAddress()):53"] + options)
        }

        let recorded = try await visit(
            try await daemon("--upstream", "127.0.0.1:\(upstream.port)", "--record", cassette), server, authority)
        for host in Self.hosts { #expect(recorded.page.contains("https://\(host)/"), "\(recorded.page)") }
        // The page, and the parts of the two hosts that have an address.
        #expect(recorded.requests == 3)
        for part in [
            "broken.shop.example. A SERVFAIL", "gone.shop.example. A NXDOMAIN", "static.cdn.example. HTTPS NOERROR",
            "www.shop.example. A NOERROR",
        ] { #expect(recorded.lookups.contains { $0.hasPrefix(part) }, "\(part): \(recorded.lookups)") }

        let asked = upstream.count()
        upstream.close(true)
        let replayed = try await visit(
            try await daemon("--no-upstream", "--replay", cassette), server, authority)
        #expect(upstream.count() == asked)
        #expect(replayed.page == recorded.page)
        #expect(replayed.messages == recorded.messages)
        #expect(replayed.lookups == recorded.lookups)
        #expect(replayed.requests == recorded.requests)
    }
}
