import DNSWire
import Foundation
import Lookup
import LookupLog
import Platform
import Synchronization
import TestSupport
import Testing

@Suite("Lookups as a packet capture")
struct PacketCaptureTests {
    /// Captures all lookups, on the log thread.
    private final class Capturer: LookupObserver {
        private struct State: Sendable {
            var capture: PacketCapture
            var bytes: [UInt8]
        }
        private let state: Mutex<State>
        private let upstreams: [String]

        init(_ upstreams: [String], _ capture: PacketCapture) {
            self.upstreams = upstreams
            state = Mutex(State(capture: capture, bytes: capture.header()))
        }

        func note(_ record: LookupRecord, id: UInt64) {
            state.withLock { $0.capture.append(record, id: id, upstreams: upstreams, to: &$0.bytes) }
        }

        var bytes: [UInt8] { state.withLock { $0.bytes } }
    }

    private func captured(
        _ lookups: [SampleLookup], upstreams: [String] = [], _ capture: PacketCapture = PacketCapture()
    ) throws -> [UInt8] {
        let capturer = Capturer(upstreams, capture)
        let log = try LookupLog(sinks: [], observers: [capturer])
        let ring = log.makeRing()
        for lookup in lookups { lookup.append(to: ring) }
        log.start()
        log.stop()
        return capturer.bytes
    }

    /// What tshark reads: a row per packet, a cell for each of `fields`.
    private func tshark(_ bytes: [UInt8], _ fields: [String]) async throws -> [[String]] {
        let folder = try TemporaryFolder()
        try Data(bytes).write(to: URL(filePath: folder.file("lookups.pcapng")))
        let result = try await Command.run(
            [
                "-r", folder.file("lookups.pcapng"), "-n", "-o", "ip.check_checksum:TRUE", "-o",
                "udp.check_checksum:TRUE", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|",
            ] + fields.flatMap { ["-e", $0] }, executable: URL(filePath: "/usr/bin/tshark"))
        #expect(result.code == 0, "\(result.errors)")
        return result.output.split(separator: "\n").map {
            $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        }
    }

    private static let upstreams = ["192.0.2.9:53", "10.0.0.53:53"]

    private static let lookups: [SampleLookup] = {
        func sample(_ name: String, _ change: (inout SampleLookup) -> Void = { _ in }) -> SampleLookup {
            var lookup = SampleLookup()
            lookup.name = Name(name)!
            lookup.answers = [.init(owner: lookup.name)]
            change(&lookup)
            return lookup
        }
        return [
            sample("acme.org."),
            sample("www.acme.org.") {
                $0.client = SocketAddress(ip: "2001:db8::7", port: 40_000)!
                $0.hasEDNS = true
                $0.decision = SampleLookup.decision(.zone, Place(path: "zones/acme.org.zone", line: 9))
            },
            sample("example.net.") {
                $0.transport = .tcp
                $0.duration = 11_300
                $0.answers = [.init(owner: $0.name, ttl: 60, rdata: [192, 0, 2, 1])]
                $0.decision = SampleLookup.decision(.upstream) {
                    $0.upstream = 1
                    $0.upstreamMicroseconds = 11_200
                }
            },
            sample("masked.acme.org.") {
                $0.transport = .dot
                $0.type = .https
                $0.answers = []
                $0.decision.masked = true
            },
            sample("denied.example.") {
                $0.transport = .doh
                $0.hasEDNS = true
                $0.answers = []
                $0.decision = SampleLookup.decision(.none) { $0.fail(.refused, .prohibited, "not served") }
            },
            sample("acme.org.") {
                $0.answers = [
                    .init(type: .cname, rdata: Name("edge.example.")!.wire), .init(owner: Name("edge.example.")!),
                ]
                $0.decision = SampleLookup.decision(.hosts, Place(path: "/etc/hosts", line: 3)) {
                    _ = $0.appendHop(.init(nameOffset: 12, source: .zone, place: Place(path: "acme.zone", line: 9)))
                    _ = $0.appendHop(
                        .init(nameOffset: 38, source: .hosts, place: Place(path: "/etc/hosts", line: 3)))
                }
            },
            sample("large.example.") { lookup in
                lookup.truncated = true
                lookup.decision = SampleLookup.decision(.cache)
            },
        ]
    }()

    @Test("tshark finds names, answers, times and reasons, and nothing malformed")
    func dissected() async throws {
        let bytes = try captured(Self.lookups, upstreams: Self.upstreams)
        let rows = try await tshark(
            bytes,
            [
                "dns.qry.name", "dns.flags.response", "dns.a", "frame.comment", "dns.flags.rcode",
                "dns.flags.truncated",
                "_ws.malformed", "_ws.expert.message",
            ])
        #expect(rows.count == 14)
        for (index, lookup) in Self.lookups.enumerated() {
            let (query, response) = (rows[2 * index], rows[2 * index + 1])
            let name = "\(lookup.name)".dropLast()
            #expect(query[0] == name && query[1] == "0" && query[2] == "")
            #expect(response[0] == name && response[1] == "1")
        }
        // Nothing malformed and no wrong checksum; only remarks about RCODEs are allowed.
        #expect(rows.allSatisfy { $0[6] == "" })
        #expect(rows.allSatisfy { !$0[7].contains("hecksum") && !$0[7].contains("alformed") }, "\(rows.map { $0[7] })")
        #expect(
            rows.map { $0[2] } == [
                "", "127.0.0.1", "", "127.0.0.1", "", "192.0.2.1", "", "", "", "", "", "127.0.0.1", "", "",
            ])
        #expect(
            rows.map { $0[3] } == [
                "", "hosts /etc/hosts:12; lookup 1", "", "zone zones/acme.org.zone:9; lookup 2", "over tcp",
                "upstream 10.0.0.53:53/udp 11.2 ms; over tcp; lookup 3", "over dot",
                "hosts /etc/hosts:12; masked; over dot; lookup 4", "over doh",
                "none; EDE 18 Prohibited: not served; over doh; lookup 5", "",
                "hosts /etc/hosts:3; chain acme.org. zone acme.zone:9, edge.example. hosts /etc/hosts:3; lookup 6", "",
                "cache; truncated; lookup 7",
            ])
        #expect(rows[9][4] == "5" && rows[13][5] == "1" && rows[1][5] == "0")
    }

    @Test("Packets go between the client and port 53, at the times of query and response")
    func packets() async throws {
        let server = try #require(SocketAddress(ip: "127.0.0.1", port: 5300))
        let rows = try await tshark(
            try captured(Array(Self.lookups.prefix(3)), upstreams: Self.upstreams, PacketCapture(server: server)),
            [
                "frame.time_epoch", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport",
                "ip.checksum.status", "udp.checksum.status",
            ])
        let good = "1"
        #expect(
            rows == [
                ["1795453200.123456000", "127.0.0.1", "127.0.0.1", "", "", "54321", "53", good, good],
                ["1795453200.123467000", "127.0.0.1", "127.0.0.1", "", "", "53", "54321", good, good],
                ["1795453200.123456000", "", "", "2001:db8::7", "::1", "40000", "53", "", good],
                ["1795453200.123467000", "", "", "::1", "2001:db8::7", "53", "40000", "", good],
                ["1795453200.123456000", "127.0.0.1", "127.0.0.1", "", "", "54321", "53", good, good],
                ["1795453200.134756000", "127.0.0.1", "127.0.0.1", "", "", "53", "54321", good, good],
            ])
    }

    @Test("Hostile names don't break out of comments or packets")
    func hostile() async throws {
        let lookups = try HostileLineTests.labels.map { label in
            let name = try #require(Name("example.")?.prepending(label: label))
            var lookup = SampleLookup()
            lookup.name = name
            lookup.answers = [.init(owner: name, type: .cname, rdata: name.wire)]
            lookup.decision = SampleLookup.decision(
                .hosts, Place(path: String(decoding: label, as: UTF8.self), line: 1)
            ) {
                for _ in 0..<Decision.maximumHops {
                    _ = $0.appendHop(.init(nameOffset: 12, source: .zone, place: Place(path: "acme.zone", line: 9)))
                }
            }
            return lookup
        }
        let rows = try await tshark(
            try captured(lookups + [SampleLookup()]), ["frame.comment", "_ws.malformed", "dns.id"])
        #expect(rows.count == 2 * lookups.count + 2)
        #expect(rows.allSatisfy { $0.count == 3 && $0[1] == "" && $0[2] == "0x1234" })
        for index in lookups.indices { #expect(rows[2 * index + 1][0].hasSuffix("; lookup \(index + 1)")) }
        #expect(rows.last?[0] == "hosts /etc/hosts:12; lookup \(lookups.count + 1)")
    }

    @Test("Unanswered messages have no packets; many lookups make one readable file")
    func many() async throws {
        var lookups = [SampleLookup](repeating: SampleLookup(), count: 400)
        for index in lookups.indices {
            lookups[index].answers = (0..<(index % 300)).map {
                .init(rdata: [10, 0, UInt8($0 >> 8), UInt8($0 & 0xFF)])
            }
            lookups[index].transport = index % 2 == 0 ? .udp : .tcp
        }
        let capturer = Capturer([], PacketCapture())
        let log = try LookupLog(sinks: [], observers: [capturer], ringCapacity: 8 << 20)
        let ring = log.makeRing()
        for lookup in lookups { lookup.append(to: ring) }
        ring.appendDropped(time: 0, client: lookups[0].client, transport: .udp)
        log.start()
        log.stop()
        let rows = try await tshark(capturer.bytes, ["dns.count.answers", "_ws.malformed"])
        #expect(rows.count == 800 && rows.allSatisfy { $0[1] == "" })
        #expect(rows.last?[0] == "\(399 % 300)")
    }
}
