import DNSWire
import Foundation
import LookupLog
import TestSupport
import Testing

@testable import Daemon
@testable import Lookup
@testable import Platform
@testable import Transports

@Suite("The reason of an answer in an extended error (RFC 8914)")
struct ReasonTests {
    /// INFO-CODE and text; nil without that option.
    private func reason(
        _ packet: Packet, _ explains: ReasonAudience = .loopback, over transport: Transport = .udp,
        from client: SocketAddress = WireWorld.loopback
    ) throws -> String? {
        var world = try WireWorld(forwards: true, explains: explains)
        try world.fill("cached.example.")
        return try Self.text(world.ask(packet, over: transport, from: client))
    }

    static func text(_ response: WireResponse) -> String? {
        guard let option = response.options[EDNS.Option.extendedError], option.count >= 2 else { return nil }
        return "\(Int(option[0]) << 8 | Int(option[1])) \(String(decoding: option[2...], as: UTF8.self))"
    }

    private func asked(_ name: String, _ type: RecordType = .a, payload: UInt16 = 1232) -> Packet {
        Packet(name, type, flags: 0x0100, additional: [Packet.opt(payload: payload)])
    }

    /// Removes the temporary folder, whose name varies.
    private func withoutFolder(_ text: String?) -> String? {
        text?.replacing(/[^ ]*\/(?=hosts:|zones\/)/, with: "")
    }

    static let reasons: [(name: String, type: RecordType, reason: String)] = [
        ("over.acme.org.", .a, "0 hosts hosts:1"), ("over.acme.org.", .aaaa, "0 hosts hosts:2"),
        ("over.acme.org.", .https, "0 hosts hosts:1, masked"),
        ("14.0.0.127.in-addr.arpa.", .ptr, "0 hosts hosts:1"),
        ("acme.org.", .mx, "0 zone zones/acme.org.zone:6"),
        ("nothing.acme.org.", .a, "0 zone zones/acme.org.zone:3"),
        ("www.acme.org.", .a, "0 www: zone zones/acme.org.zone:10; acme: zone zones/acme.org.zone:5"),
        ("x.invalid.", .a, "0 special RFC 6761 6.4"), ("cached.example.", .a, "0 cache"),
        ("cached.example.", .any, "0 special RFC 8482 4.2"),
    ]

    @Test("has the source and its line; for a chain, those of each name", arguments: reasons)
    func told(_ test: (name: String, type: RecordType, reason: String)) throws {
        #expect(withoutFolder(try reason(asked(test.name, test.type))) == test.reason)
    }

    @Test("is sent only to clients that speak EDNS")
    func withoutEDNS() throws {
        #expect(try reason(Packet("over.acme.org.")) == nil)
    }

    @Test("shows other machines no path of this one, unless configured")
    func others() throws {
        let neighbour = SocketAddress(high: 0, low: 0xC0A8_0107, port: 4000, isIPv6: false)
        var world = try WireWorld(explains: .loopback, serves: "192.168.1.0/24")
        #expect(Self.text(try world.ask(asked("over.acme.org."), from: neighbour)) == nil)
        #expect(Self.text(try world.ask(asked("over.acme.org."), from: WireWorld.loopback)) != nil)
        var open = try WireWorld(explains: .all, serves: "192.168.1.0/24")
        #expect(withoutFolder(Self.text(try open.ask(asked("over.acme.org."), from: neighbour))) == "0 hosts hosts:1")
        // A refused client learns nothing in either case.
        #expect(Self.text(try open.ask(asked("over.acme.org."), from: WireWorld.stranger))?.contains("hosts") != true)
    }

    @Test("is never sent if it is switched off")
    func off() throws {
        #expect(try reason(asked("over.acme.org."), .off) == nil)
    }

    @Test("leaves an error's own code and text")
    func errors() throws {
        var world = try WireWorld(explains: .loopback)
        #expect(Self.text(try world.ask(asked("far.example."))) == "20 no local data, and not forwarded")
        let badVersion = Packet("over.acme.org.", additional: [Packet.opt(version: 1)])
        #expect(Self.text(try world.ask(badVersion)) == nil)
        let malformed = Packet("over.acme.org.", additional: [Packet.opt(), Packet.opt()])
        #expect(Self.text(try world.ask(malformed)) == nil)
    }

    @Test("never displaces a record: no answer is truncated for it, and none exceeds the client's limit")
    func room() throws {
        var plain = try WireWorld(explains: .off)
        var explained = try WireWorld(explains: .loopback)
        for payload in UInt16(512)...700 {
            let packet = asked("medium.acme.org.", .txt, payload: payload)
            let (without, with) = (try plain.ask(packet), try explained.ask(packet))
            #expect(with.has(.truncated) == without.has(.truncated))
            #expect(with.lines == without.lines)
            #expect(with.wire.count <= Int(payload))
        }
        let truncated = try explained.ask(asked("big.acme.org.", .txt))
        #expect(truncated.has(.truncated))
        #expect(withoutFolder(Self.text(truncated))?.hasPrefix("0 zone zones/acme.org.zone:") == true)
    }

    @Test("is printable ASCII whatever the names and paths, of at most 200 bytes")
    func hostile() throws {
        let paths = PathTexts(["", "h\u{1B}\n\u{202E}ö", String(repeating: "long/", count: 60) + "end.zone"])
        defer { paths.deallocate() }
        let response: [UInt8] = [UInt8](repeating: 0, count: 12) + [4, 0x1B, 0x0A, 0xFF, 0x61, 0]
        var texts: [[UInt8]] = []
        for file in [1, 2] as [UInt32] {
            var decision = Decision()
            for hop in 0..<3 {
                let place = Place(file: file, line: 4_294_967_295)
                if hop > 0 { _ = decision.appendHop(.init(nameOffset: 12, source: .zone, place: place)) }
                decision.source = .zone
                decision.place = place
                var buffer = [UInt8](repeating: 0xAA, count: 300)
                let length = buffer.withUnsafeMutableBytes { bytes in
                    response.withUnsafeBytes { response in
                        var text = ReasonText(to: bytes.baseAddress!, limit: 280)
                        text.write(decision, Faults(), response, hasNames: true, paths, upstream: [])
                        text.markCut()
                        return text.count
                    }
                }
                #expect(length <= ReasonText.mostBytes && buffer[length...].allSatisfy { $0 == 0xAA })
                texts.append(Array(buffer[..<length]))
            }
        }
        #expect(texts.joined().allSatisfy { (0x20...0x7E).contains($0) })
        #expect(texts[0] == Array("zone h\\027\\010\\226\\128\\174\\195\\182:4294967295".utf8))
        #expect(
            String(decoding: texts[3], as: UTF8.self).contains("...") && texts[5].suffix(3) == Array("...".utf8)[...])
    }
}
