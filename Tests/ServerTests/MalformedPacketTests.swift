import DNSWire
import Foundation
import LookupLog
import TestSupport
import Testing

@testable import Platform

/// One file in the folder `Malformed`, named after its defect.
///
/// `#` starts a comment; `expect` is the expected result: drop, answer (NOERROR or NXDOMAIN), or an RCODE; `over` is a
/// transport other than UDP. Everything else is the message in hex digits, with comments after `;`.
struct MalformedPacket: Sendable, CustomTestStringConvertible {
    let defect: String
    var comment = ""
    var expected = ""
    var transport = Transport.udp
    var bytes: [UInt8] = []

    var testDescription: String { defect }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Malformed")

    static let all: [MalformedPacket] = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.sorted().compactMap { name in
            do {
                return try MalformedPacket(name)
            } catch {
                Issue.record("\(error)")
                return nil
            }
        }
    }()

    init(_ file: String) throws {
        defect = file.replacing(".hex", with: "")
        let text = try String(contentsOf: Self.folder.appending(path: file), encoding: .utf8)
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.split(separator: " ")
            switch words.first {
            case "#": comment += words.dropFirst().joined(separator: " ") + " "
            case "expect" where words.count == 2: expected = String(words[1])
            case "over" where words == ["over", "tcp"]: transport = .tcp
            default:
                let digits = line.prefix { $0 != ";" }.filter { $0 != " " }
                var rest = Substring(digits)
                while !rest.isEmpty {
                    guard rest.count >= 2, let byte = UInt8(rest.prefix(2), radix: 16) else {
                        throw WireResponse.Malformed(description: "\(file):\(index + 1): no hex digits")
                    }
                    bytes.append(byte)
                    rest = rest.dropFirst(2)
                }
            }
        }
    }
}

@Suite("Malformed messages (RFC 1035 4.1, 6891 6.1, 7873 5.2, 8906)")
struct MalformedPacketTests {
    @Test("Every file of the corpus is readable and states its defect and expected result")
    func readable() throws {
        #expect(MalformedPacket.all.count >= 60)
        let outcomes: Set = ["drop", "answer", "FORMERR", "NOTIMP", "REFUSED", "NOTAUTH", "BADVERS"]
        for packet in MalformedPacket.all {
            #expect(outcomes.contains(packet.expected), "\(packet.defect)")
            #expect(packet.comment.count > 8, "\(packet.defect)")
        }
        // Several defects lead to each result.
        for outcome in outcomes { #expect(MalformedPacket.all.filter { $0.expected == outcome }.count > 1) }
    }

    @Test("are dropped, refused with the right RCODE, or answered nevertheless", arguments: MalformedPacket.all)
    func outcome(packet: MalformedPacket) throws {
        var world = try WireWorld()
        let reaction = world.send(packet.bytes, over: packet.transport)
        if packet.expected == "drop" {
            guard case .nothing = reaction else {
                Issue.record("got \(hex(reaction.bytes))")
                return
            }
            return
        }
        let response = try WireResponse(reaction.bytes)
        if packet.expected == "answer" {
            #expect([.noError, .nxDomain].contains(response.code))
        } else {
            #expect("\(response.code)" == packet.expected)
            #expect(response.answers.isEmpty && response.authority.isEmpty)
        }
        WireRules.check(response, to: packet.bytes, over: packet.transport)
    }

    @Test("cut anywhere, get a valid response or none", arguments: MalformedPacket.all)
    func prefixes(packet: MalformedPacket) throws {
        var world = try WireWorld(forwards: true)
        for length in 0..<packet.bytes.count {
            let message = Array(packet.bytes[..<length])
            guard case .reply(let bytes) = world.send(message, over: packet.transport) else { continue }
            WireRules.check(try WireResponse(bytes), to: message, over: packet.transport)
        }
    }

    @Test(
        "from an unserved client, are dropped or refused, with no more bytes than received",
        arguments: MalformedPacket.all)
    func stranger(packet: MalformedPacket) throws {
        var world = try WireWorld()
        guard case .reply(let bytes) = world.send(packet.bytes, from: WireWorld.stranger) else {
            #expect(packet.expected == "drop")
            return
        }
        let response = try WireResponse(bytes)
        #expect(response.code == .refused)
        #expect(bytes.count <= packet.bytes.count)
        WireRules.check(response, to: packet.bytes, over: .udp)
    }
}

/// Rules for every response to any message.
enum WireRules {
    /// - RFC: 1035 4.1.1 (header), 4.2.1 (512 bytes); 6891 6.1.1 (OPT answers OPT), 6.1.4 (flags), 6.2.5 (size).
    static func check(
        _ response: WireResponse, to message: [UInt8], over transport: Transport,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let told = Comment(rawValue: "\(hex(message.prefix(400).map { $0 })) got \(hex(response.wire))")
        func expect(_ holds: Bool, _ rule: String) {
            if !holds { Issue.record("\(rule): \(told)", sourceLocation: sourceLocation) }
        }
        let flags = Header.Flags(rawValue: UInt16(message[2]) << 8 | UInt16(message[3]))
        expect(response.wire.prefix(2) == message.prefix(2), "the ID is the query's")
        expect(response.has(.response), "QR=1")
        expect(response.flags.opcode == flags.opcode, "the opcode is the query's")
        expect(response.flags.rawValue & 0x40 == 0, "Z=0")
        expect(response.ednsVersion ?? 0 == 0, "we speak version 0")
        expect(response.ednsFlags & 0x7FFF == 0, "no EDNS flag but DO")
        expect(!response.has(.authenticData), "nothing here is validated")
        if response.hasQuestion {
            let end = 12 + questionLength(message)
            expect(end <= response.wire.count && response.wire[12..<end] == message[12..<end], "the question is echoed")
        }
        if flags.opcode == .query {
            expect(response.has(.recursionDesired) == flags.contains(.recursionDesired), "RD is the query's")
        } else {
            expect(response.flags.rawValue & 0x07F0 == 0, "the flags are QUERY's own")
        }

        var name = LookupName()
        var query = Query()
        let verdict = message.withUnsafeBytes { query.parse($0, name: &name) }
        expect(response.ednsVersion == nil || query.hasEDNS, "no OPT for who sent none")
        expect(response.ednsVersion != nil || !query.hasEDNS, "OPT answers OPT")
        guard transport == .udp else { return }
        expect(response.wire.count <= min(max(Int(query.payloadSize), 512), 1232), "as long as the client can take")
        if case .fail = verdict { expect(response.wire.count <= message.count, "no error is longer than its query") }
        let isError = ![ResponseCode.noError, .nxDomain].contains(response.code)
        if isError, !query.hasEDNS { expect(response.wire.count <= message.count, "no error is longer than its query") }
    }

    private static func questionLength(_ message: [UInt8]) -> Int {
        message.withUnsafeBytes { (MessageReader.endOfName($0, at: 12) ?? 12) + 4 - 12 }
    }
}
