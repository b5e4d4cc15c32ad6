import DNSWire
import Foundation
import LDNS
import Lookup
import LookupLog
import Platform
import TestSupport
import Testing
import Upstream

@Suite("Lookups as dnstap")
struct DnstapMessageTests {
    /// The frames of a file written from these lookups.
    static func tapped(_ lookups: [SampleLookup], upstream messages: [UpstreamMessage] = []) throws -> FrameStreamFile {
        let folder = try TemporaryFolder()
        let path = folder.file("tap")
        let writer = try DnstapWriter([.file(path: path)], identity: "here", version: "stub53 test")
        let log = try LookupLog(sinks: [], observers: [writer])
        let ring = log.makeRing()
        for lookup in lookups { lookup.append(to: ring) }
        if let exchanges = log.makeExchangeRing() {
            for message in messages { exchanges.append(message, clock: 1_795_453_200_000_000) }
        }
        log.start()
        log.stop()
        return try FrameStreamFile(path: path)
    }

    @Test("A lookup is a query and a response, byte for byte")
    func bytes() throws {
        let file = try Self.tapped([SampleLookup()])
        #expect(file.hasStop && file.payloads.count == 2)
        let question: [UInt8] = [4] + Array("acme".utf8) + [3] + Array("org".utf8) + [0, 0, 1, 0, 1]
        let query: [UInt8] = [0x12, 0x34, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 0] + question
        let response: [UInt8] =
            [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0] + question
            + [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]
        let head: [UInt8] = [0x0A, 4] + Array("here".utf8) + [0x12, 11] + Array("stub53 test".utf8)
        // 1795453200 s, 123456000 ns; the response 11 us later.
        let seconds: [UInt8] = [0x90, 0xE2, 0x91, 0xD8, 6]
        let queryTime: [UInt8] = [0x40] + seconds + [0x4D, 0x00, 0xCA, 0x5B, 0x07]
        let responseTime: [UInt8] = [0x60] + seconds + [0x6D, 0xF8, 0xF4, 0x5B, 0x07]
        let client: [UInt8] = [0x22, 4, 127, 0, 0, 1, 0x30, 0xB1, 0xA8, 3]
        let first = [8, 5, 0x10, 1, 0x18, 1] + client + queryTime + [0x52, UInt8(query.count)] + query
        let second =
            [8, 6, 0x10, 1, 0x18, 1] + client + queryTime + responseTime + [0x72, UInt8(response.count)] + response
        #expect(file.payloads[0] == head + [0x72, UInt8(first.count)] + first + [0x78, 1])
        #expect(file.payloads[1] == head + [0x72, UInt8(second.count)] + second + [0x78, 1])
    }

    @Test("Transports and address families have their numbers; a mapped address becomes IPv4")
    func transports() throws {
        var lookups: [SampleLookup] = []
        for transport in Transport.allCases {
            for address in ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"] {
                var lookup = SampleLookup()
                lookup.transport = transport
                lookup.client = try #require(SocketAddress(ip: address, port: 5353))
                lookups.append(lookup)
            }
        }
        let frames = try Self.tapped(lookups).frames()
        let numbers: [UInt64?] = [1, 2, 3, 4].flatMap { Array(repeating: $0, count: 6) }
        let families: [UInt64?] = (0..<4).flatMap { _ in [1, 1, 2, 2, 1, 1] }
        #expect(frames.map(\.transport) == numbers && frames.map(\.family) == families)
        #expect(frames[4].queryAddress == [192, 0, 2, 7] && frames[4].queryPort == 5353)
        let six: [UInt8] = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]
        #expect(frames[2].queryAddress == six)
        #expect(frames.allSatisfy { $0.identity == "here" && $0.version == "stub53 test" && $0.type == 1 })
    }

    /// A lookup, and its expected rebuilt response.
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var lookup: SampleLookup
        var code = ResponseCode.noError
        var answers = 1
        var authority = 0
        var truncated = false
        /// Options in the response's OPT; nil: there is no OPT.
        var options: [UInt8]?
    }

    static let cases: [Case] = {
        func sample(_ change: (inout SampleLookup) -> Void) -> SampleLookup {
            var lookup = SampleLookup()
            change(&lookup)
            return lookup
        }
        let many = (0..<1000).map { SampleLookup.Answer(rdata: [10, 0, UInt8($0 >> 8), UInt8($0 & 0xFF)]) }
        func failed(_ code: ResponseCode) -> Decision {
            SampleLookup.decision(.none) { $0.fail(code, .prohibited, "not served") }
        }
        let explained: [UInt8] = [0, 15, 0, 12, 0, 18] + Array("not served".utf8)
        return [
            Case(testDescription: "plain", lookup: sample { _ in }),
            Case(testDescription: "with EDNS", lookup: sample { $0.hasEDNS = true }, options: []),
            Case(testDescription: "DO", lookup: sample { $0.dnssecOK = true }, options: []),
            Case(
                testDescription: "an extended error",
                lookup: sample {
                    $0.hasEDNS = true
                    $0.answers = []
                    $0.decision = failed(.refused)
                }, code: .refused, answers: 0, options: explained),
            Case(
                testDescription: "an extended RCODE",
                lookup: sample {
                    $0.hasEDNS = true
                    $0.answers = []
                    $0.decision = failed(.badVersion)
                }, code: .badVersion, answers: 0, options: explained),
            Case(
                testDescription: "an extended error without EDNS",
                lookup: sample {
                    $0.answers = []
                    $0.decision = failed(.serverFailure)
                }, code: .serverFailure, answers: 0),
            Case(
                testDescription: "answer and authority",
                lookup: sample {
                    $0.answers.append(
                        .init(type: .ns, rdata: Name("ns.acme.org.")!.wire, inAuthority: true))
                }, authority: 1),
            Case(
                testDescription: "told to come back over TCP",
                lookup: sample {
                    $0.truncated = true
                    $0.hasEDNS = true
                }, answers: 0, truncated: true, options: []),
            Case(
                testDescription: "more than a record keeps",
                lookup: sample {
                    $0.answers = many
                    $0.transport = .tcp
                    $0.dnssecOK = true
                }, answers: 254, truncated: true, options: []),
        ]
    }()

    @Test("The rebuilt messages are well formed for our own walk and for libldns", arguments: cases)
    func rebuilt(_ test: Case) throws {
        let frames = try Self.tapped([test.lookup]).frames()
        try #require(frames.map(\.kind) == [5, 6])
        // The query equals the sample's.
        #expect(frames[0].queryMessage == test.lookup.message && frames[0].responseMessage == nil)
        let bytes = try #require(frames[1].responseMessage)
        let summary = try #require(bytes.withUnsafeBytes { MessageReader.walk($0) })
        #expect(summary.answers == test.answers && summary.authority == test.authority)
        let message = try Message(wire: bytes)
        #expect(message.id == 0x1234 && message.responseCode == test.code)
        #expect(message.isTruncated == test.truncated)
        #expect(message.records(.answer).count == test.answers)
        #expect(summary.opt.map { Array(bytes[$0.rdata..<$0.end]) } == test.options)
        if let opt = summary.opt {
            #expect(opt.recordClass.rawValue == 1232)
            #expect(opt.ttl & 0x8000 == (test.lookup.dnssecOK ? 0x8000 : 0))
        }
    }

    @Test("An unreadable question is left out; an unanswered message has no frame")
    func malformed() throws {
        let folder = try TemporaryFolder()
        let writer = try DnstapWriter([.file(path: folder.file("tap"))], identity: "", version: "")
        let log = try LookupLog(sinks: [], observers: [writer])
        let ring = log.makeRing()
        let client = try #require(SocketAddress(ip: "::1", port: 5353))
        ring.appendDropped(time: 0, client: client, transport: .tcp)
        var decision = Decision()
        decision.fail(.formatError)
        let header: [UInt8] = [9, 9, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        header.withUnsafeBytes {
            ring.append(
                time: 0, client: client, transport: .udp, query: Query(), decision: decision, response: $0, answers: 0,
                durationMicroseconds: 1)
        }
        log.start()
        log.stop()
        let frames = try FrameStreamFile(path: folder.file("tap")).frames()
        try #require(frames.count == 2)
        #expect(frames[0].identity == nil && frames[0].version == nil)
        #expect(frames[0].queryMessage == [9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(frames[1].responseMessage == header)
    }

    @Test("Whatever bytes a record holds, its messages match their counts")
    func hostile() throws {
        let folder = try TemporaryFolder()
        let writer = try DnstapWriter([.file(path: folder.file("tap"))], identity: "", version: "")
        let log = try LookupLog(sinks: [], observers: [writer], ringCapacity: 8 << 20)
        let ring = log.makeRing()
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
        var packet = Packet("acme.org.", flags: 0x8180)
        packet.answers = (0..<6).map { Packet.record([0xC0, 12], .a, [10, 0, 0, $0]) }
        packet.authority = [Packet.record([0xC0, 12], .ns, [2, 0x6E, 0x73, 0xC0, 12])]
        let whole = packet.wire
        for _ in 0..<4000 {
            var bytes = whole
            for _ in 0..<below(4) { bytes[below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
            bytes.removeLast(below(3) == 0 ? below(bytes.count) : 0)
            var query = Query()
            var name = LookupName()
            let asked = SampleLookup().message
            _ = asked.withUnsafeBytes { query.parse($0, name: &name) }
            query.hasEDNS = below(2) == 0
            bytes.withUnsafeBytes {
                ring.append(
                    time: 0, client: SampleLookup().client, transport: .udp, query: query, decision: Decision(),
                    response: $0, answers: below(9), truncated: below(5) == 0, durationMicroseconds: 1)
            }
        }
        log.start()
        log.stop()
        let frames = try FrameStreamFile(path: folder.file("tap")).frames()
        try #require(frames.count == 8000)
        for message in frames.compactMap({ $0.queryMessage ?? $0.responseMessage }) {
            let counts = (0..<4).map { Int(message[4 + 2 * $0]) << 8 | Int(message[5 + 2 * $0]) }
            let end = message.withUnsafeBytes { message -> Int? in
                // The sample's question is 14 bytes long.
                var end: Int? = 12 + 14 * counts[0]
                for _ in 0..<counts[1...].reduce(0, +) {
                    end = end.flatMap { MessageReader.record(message, at: $0)?.end }
                }
                return end
            }
            #expect(end == message.count, "seed \(seed): \(message)")
        }
    }

    @Test("Messages to and from upstream are unchanged, with both ends and both times")
    func exchanges() throws {
        let server = try #require(SocketAddress(ip: "2001:db8::53", port: 53))
        let local = try #require(SocketAddress(ip: "2001:db8::1", port: 40_000))
        let query = SampleLookup().message
        let response: [UInt8] = (0..<65_535).map { UInt8(truncatingIfNeeded: $0) }
        let file = try query.withUnsafeBytes { query in
            try response.withUnsafeBytes { response in
                try Self.tapped(
                    [],
                    upstream: [
                        UpstreamMessage(
                            server: server, local: local, transport: .udp, sent: 1000, received: nil, bytes: query),
                        UpstreamMessage(
                            server: server, local: nil, transport: .tcp, sent: 1000, received: 12_200, bytes: response),
                    ])
            }
        }
        let frames = try file.frames()
        #expect(frames.map(\.kind) == [7, 8] && frames.map(\.transport) == [1, 2] && frames[0].family == 2)
        #expect(frames[0].queryMessage == query && frames[1].responseMessage == response)
        #expect(frames[0].queryPort == 40_000 && frames[1].queryPort == nil)
        #expect(frames.map(\.responsePort) == [53, 53] && frames[1].responseAddress?.count == 16)
        #expect(frames.map(\.queryTime) == [1_795_453_200_001_000, 1_795_453_200_001_000])
        #expect(frames.map(\.responseTime) == [nil, 1_795_453_200_012_200])
    }

    @Test("Messages to upstream don't affect the numbers and counts of lookups")
    func numbers() throws {
        let folder = try TemporaryFolder()
        let writer = try DnstapWriter([.file(path: folder.file("tap"))], identity: "", version: "")
        let log = try LookupLog(
            sinks: [LookupSink(.json, to: .file(path: folder.file("log")))], observers: [writer])
        let ring = log.makeRing()
        let exchanges = try #require(log.makeExchangeRing())
        let server = try #require(SocketAddress(ip: "192.0.2.53", port: 53))
        for index in 0..<3 {
            var lookup = SampleLookup()
            lookup.time += UInt64(index) * 10
            SampleLookup().message.withUnsafeBytes {
                exchanges.append(
                    UpstreamMessage(
                        server: server, local: nil, transport: .udp, sent: lookup.time + 5, received: nil, bytes: $0),
                    clock: 0)
            }
            lookup.append(to: ring)
        }
        log.start()
        log.stop()
        let lines = try lines(ofFile: folder.file("log")).map(parsed)
        #expect(lines.compactMap { $0["id"] as? Int } == [1, 2, 3] && log.count == 3 && log.lost == 0)
        let kinds = try FrameStreamFile(path: folder.file("tap")).frames().map(\.kind)
        #expect(kinds == [5, 6, 7, 5, 6, 7, 5, 6, 7])
    }
}
