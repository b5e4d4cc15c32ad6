import DNSWire
import Foundation
import LookupLog
import Synchronization
import TestSupport
import Testing

@testable import Lookup
@testable import Transports

/// The kind of a lookup's result: decided by the answering source, and shown alike everywhere.
@Suite("Answer, NODATA, referral or transfer")
struct AnswerKindTests {
    /// Keeps the lookups it gets.
    private final class Kept: LookupObserver {
        private let all = Mutex<[StoredLookup]>([])

        func note(_ record: LookupRecord, id: UInt64) {
            let lookup = StoredLookup(id: Int64(id), number: id, LookupFields(record))
            all.withLock { $0.append(lookup) }
        }

        var lookups: [StoredLookup] { all.withLock { $0 } }
    }

    /// The lookups that `body` makes, with a ring of its own.
    private static func logged(_ body: (LookupRing) throws -> Void) throws -> [StoredLookup] {
        let kept = Kept()
        let log = try LookupLog(sinks: [], observers: [kept])
        let ring = log.makeRing()
        log.start()
        try body(ring)
        log.stop()
        return kept.lookups
    }

    /// A query, and the expected part of its line: the code and the first answers.
    struct Case: Sendable, CustomTestStringConvertible {
        var packet: Packet
        var kind: AnswerKind
        var words: String
        var testDescription: String { words }

        init(_ name: String, _ type: RecordType, _ kind: AnswerKind, _ words: String) {
            packet = Packet(name, type)
            self.kind = kind
            self.words = words
        }
    }

    static let cases: [Case] = [
        Case("over.acme.org.", .a, .answer, "NOERROR 127.0.0.14"),
        Case("over.acme.org.", .mx, .noData, "NODATA"),
        Case("over.acme.org.", .https, .noData, "NODATA masked"),
        Case("acme.org.", .aaaa, .noData, "NODATA"),
        Case("acme.org.", .any, .answer, "NOERROR"),
        Case("www.acme.org.", .a, .answer, "NOERROR acme.org., 152.153.81.14"),
        Case("www.acme.org.", .cname, .answer, "NOERROR acme.org."),
        // The alias exists, the requested type does not.
        Case("www.acme.org.", .aaaa, .noData, "NODATA acme.org."),
        Case("none.acme.org.", .a, .answer, "NXDOMAIN"),
        Case("x.sub.acme.org.", .a, .referral, "NOERROR referral"),
        Case("sub.acme.org.", .mx, .referral, "NOERROR referral"),
        // Data that does not fit into a datagram counts as data.
        Case("big.acme.org.", .txt, .answer, "NOERROR (truncated)"),
        Case("far.example.", .a, .answer, "REFUSED"),
        Case("acme.org.", .axfr, .answer, "FORMERR"),
        Case("acme.org.", .ixfr, .answer, "FORMERR"),
        Case("localhost.", .mx, .noData, "NODATA"),
    ]

    @Test("Log, filter and decision agree on the kind", arguments: cases)
    func agree(_ test: Case) throws {
        var decided = AnswerKind.dropped
        let lookups = try Self.logged { ring in
            var world = try WireWorld(ring: ring)
            _ = world.send(test.packet.wire)
            decided = world.decision.answerKind
        }
        let lookup = try #require(lookups.first)
        #expect(lookups.count == 1 && decided == test.kind)
        try Self.check(lookup, test.kind, test.words)
    }

    @Test("Upstream's answers have the same kinds, fresh or cached")
    func forwarded() throws {
        let lookups = try Self.logged { ring in
            var world = try WireWorld(forwards: true, ring: ring)
            try world.fill("cached.example.")
            _ = world.send(Packet("cached.example.", .a, flags: 0x0100).wire)
        }
        try Self.check(try #require(lookups.first), .answer, "NOERROR 192.0.2.1")
    }

    @Test("A whole zone is a transfer; if the client's zone is current, the SOA is an answer")
    func transfer() throws {
        let lookups = try Self.logged { ring in
            var trial = StreamTrial(try StreamWorld(ring: ring))
            trial.bring(StreamWorld.framed("acme.org.", .axfr, id: 1))
        }
        try Self.check(try #require(lookups.first), .transfer, "NOERROR transfer, ns.acme.org. hostmaster.acme.org. 7")
    }

    @Test("An unanswered message is dropped")
    func dropped() throws {
        let lookups = try Self.logged { ring in
            var world = try WireWorld(ring: ring)
            _ = world.send([1, 2, 3])
        }
        try Self.check(try #require(lookups.first), .dropped, "dropped")
    }

    private static func check(_ lookup: StoredLookup, _ kind: AnswerKind, _ words: String) throws {
        #expect(lookup.fields.answerKind == kind)
        var text = LookupFormatter(.text)
        text.append(lookup)
        let line = String(decoding: text.take(), as: UTF8.self).split(separator: " ").joined(separator: " ")
        #expect(line.contains(" \(words)"), "\(line)")
        var json = LookupFormatter(.json)
        json.append(lookup)
        let object = try JSONSerialization.jsonObject(with: Data(json.take())) as? [String: Any]
        #expect(object?["answer_kind"] as? String == (kind == .dropped ? nil : kind.word.map { "\($0)" }))
        for other in AnswerKind.allCases {
            guard let word = other.word else { continue }
            let filter = try LookupFilter(words: "rcode:\(word)")
            #expect(lookup.withRecord(filter.matches) == (kind == other), "rcode:\(word)")
        }
    }
}
