import DNSWire
import LDNS
import Upstream

@testable import Lookup

/// Any answer of an upstream server: strict walk, scrubber, cache, and what clients get.
enum AnswerTarget {
    static let target = FuzzTarget(
        name: "answer", longest: 2048,
        seeds: { AnswerSeeds.all.flatMap { [[0] + $0, [0x83] + $0] } },
        words: {
            [1, 2, 5, 6, 12, 15, 28, 33, 39, 46, 47, 50, 65].map { [0, $0, 0, 1] } + [[0xC0, 12], [0xC0, 14]]
        },
        prepare: {
            let trial = AnswerTrial()
            return { trial.run($0) }
        })
}

/// Answers of all kinds, as a server might send them.
private enum AnswerSeeds {
    static let all: [[UInt8]] = [
        message(.a, answers: [record(12, 1, [192, 0, 2, 1]), record(12, 1, [192, 0, 2, 2])]),
        message(.a, answers: [record(12, 5, [1, 98] + [0xC0, 12]), record(41, 1, [192, 0, 2, 1])]),
        message(.a, code: 3, authority: [soa]), message(.https, authority: [soa, signature(6), nsec]),
        message(.mx, answers: [record(12, 15, [0, 10, 1, 109, 0xC0, 12]), signature(15)]),
        message(.srv, answers: [record(12, 33, [0, 1, 0, 2, 0, 80, 1, 115, 0xC0, 12])]),
        message(
            .a,
            answers: [
                record(14, 39, [3] + "net".utf8 + [0]), record(12, 5, [1, 97, 3] + "net".utf8 + [0]),
            ]),
        message(.https, answers: [record(12, 65, [0, 1, 0, 0, 1, 0, 3, 2, 104, 50, 0, 4, 0, 4, 192, 0, 2, 1])]),
        message(.any, answers: [record(12, 13, [7] + "RFC8482".utf8 + [0])]),
        message(.txt, answers: [record(12, 16, [3] + "abc".utf8)], flags: 0x8380),
        message(.a, code: 2), message(.a, code: 5), message(.dnskey, answers: [record(12, 48, [1, 1, 3, 13, 1, 2])]),
        message(.a, code: 0, authority: [record(14, 2, [2, 110, 115, 0xC0, 14])]),
    ]

    private static let soa = record(14, 6, [0xC0, 14, 1, 104, 0xC0, 14] + [UInt8](repeating: 0, count: 19) + [60])
    private static let nsec = record(12, 47, [1, 122, 0, 0, 1, 0x40])

    private static func signature(_ type: UInt8) -> [UInt8] {
        record(12, 46, [0, type, 13, 2, 0, 0, 1, 44, 0x7F, 0, 0, 0, 0x60, 0, 0, 0, 0, 1, 0, 7, 7, 7, 7])
    }

    private static func record(_ owner: UInt8, _ type: UInt8, _ rdata: [UInt8]) -> [UInt8] {
        [0xC0, owner, 0, type, 0, 1, 0, 0, 0, 60, 0, UInt8(rdata.count)] + rdata
    }

    private static func message(
        _ type: RecordType, code: UInt8 = 0, answers: [[UInt8]] = [], authority: [[UInt8]] = [], flags: UInt16 = 0x8180
    ) -> [UInt8] {
        [0, 1, UInt8(flags >> 8), UInt8(flags & 0xFF) | code, 0, 1, 0, UInt8(answers.count), 0, UInt8(authority.count)]
            + [0, 1, 1, 97, 7] + "example".utf8 + [0, UInt8(type.rawValue >> 8), UInt8(type.rawValue & 0xFF), 0, 1]
            + answers.joined() + authority.joined() + [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 3]
    }
}

private final class AnswerTrial {
    private var scrubber = AnswerScrubber()
    private var again = AnswerScrubber()
    private let asker = Asker()
    private let cache: AnswerCache
    private var name = LookupName()

    init() {
        var settings = AnswerCache.Settings()
        settings.capacity = 1 << 20
        cache = AnswerCache(settings)
    }

    func run(_ input: UnsafeRawBufferPointer) {
        var reader = InputReader(input)
        let choice = reader.byte()
        let message = reader.rest
        guard let summary = MessageReader.walk(message) else { return }
        expect(summary.questionEnd <= message.count, "the walk ends within the message")
        // libldns can handle whatever the walk finds sound.
        if summary.isSound, let read = try? Message(wire: Array(message)) {
            for section in Message.Section.allCases {
                for record in read.records(section) { _ = Presentation.text(rdata: record.rdata, type: record.type) }
            }
        }
        guard summary.questionEnd > Header.length, name.assign(message: message, at: Header.length) > 0 else { return }
        let base = message.baseAddress.unsafelyUnwrapped
        let question = Question(
            type: RecordType(rawValue: base.readUInt16(summary.questionEnd - 4)), dnssecOK: choice & 1 != 0,
            checkingDisabled: choice & 2 != 0)
        // Transfers are never asked for.
        if question.type == .ixfr || question.type == .axfr { return }
        let key = FetchKey(name, question)
        guard let answer = try? scrubber.check(message, summary, for: key, ttls: .init()) else { return }
        check(answer)
        checkAgain(answer)
        serve(answer, isLocal: choice & 0x80 != 0)
    }

    /// Checks the kept answer: a message of its own, only about the chain from the question on.
    private func check(_ answer: UpstreamAnswer) {
        let key = answer.key
        let ttls = UpstreamAnswer.TTLs()
        answer.message.withUnsafeBytes { message in
            let sections = ResponseRules.sections(message, "a scrubbed answer")
            func holds(_ holds: Bool, _ rule: String, line: UInt = #line) {
                expect(holds, "\(rule): \(hex(message))", line: line)
            }
            holds(PacketCheck.accepts(message), "libldns reads it")
            holds(
                sections.summary.questionEnd == answer.questionEnd && sections.answers.count == Int(answer.answers)
                    && sections.authority.count == Int(answer.authority) && sections.additional.isEmpty,
                "its counts are right")
            holds(message[Header.length..<(answer.questionEnd - 4)].elementsEqual(key.name), "it has its question")
            var chain: Set<Name> = [Name(uncheckedWire: key.name)]
            for record in sections.answers {
                holds(record.recordClass == .in && record.ttl <= ttls.most, "class IN, and a bounded TTL")
                let isAbove = record.type == .dname || record.type == .rrsig && record.rdata.starts(with: [0, 39])
                holds(
                    chain.contains(record.ownerName)
                        || isAbove && chain.contains { $0.isBelow(record.ownerName) },
                    "\(record.ownerName) is not of the chain")
                if record.type == .cname {
                    chain.insert(Name(uncheckedWire: record.rdata.map(ASCII.lowercased)))
                }
            }
            for record in sections.authority {
                holds(record.recordClass == .in && record.ttl <= ttls.most, "class IN, and a bounded TTL")
                holds([.soa, .nsec, .nsec3, .rrsig].contains(record.type), "\(record.type) is no proof")
                if record.type == .soa {
                    holds(chain.contains { $0.isAtOrBelow(record.ownerName) }, "the SOA is not above the name")
                } else {
                    holds(key.dnssecOK, "\(record.type) for who did not want it")
                }
            }
            let found = (sections.answers + sections.authority).map(\.ttl)
            let told = answer.ttlOffsets.map { message.baseAddress.unsafelyUnwrapped.readUInt32(Int($0)) }
            holds(found == told, "the offsets of the TTLs")
            holds(answer.ttl <= max(found.min() ?? ttls.failure, ttls.failure), "kept for longer than it holds")
        }
    }

    /// Scrubbing a clean answer changes nothing.
    private func checkAgain(_ answer: UpstreamAnswer) {
        guard answer.responseCode.rawValue < 16 else { return }
        var message = answer.message
        message[3] |= UInt8(truncatingIfNeeded: answer.responseCode.rawValue)
        message.withUnsafeBytes { bytes in
            guard let summary = MessageReader.walk(bytes) else { broken("no message: \(hex(bytes))") }
            do {
                let second = try again.check(bytes, summary, for: answer.key, ttls: .init())
                expect(second.message == answer.message, "\(hex(answer.message)) became \(hex(second.message))")
            } catch {
                broken("\(error), the second time: \(hex(bytes))")
            }
        }
    }

    /// Serves it to the waiting lookup and to a later one, directly and after a local alias.
    private func serve(_ answer: UpstreamAnswer, isLocal: Bool) {
        cache.insert(answer, now: 0)
        for limit in [512, 65_535] {
            for hasAlias in [false, true] {
                let first = ask(answer.key, limit, hasAlias) { lookup in
                    answer.write(&lookup, from: .init(), trustAuthenticData: false) { isLocal && $1.hash & 1 == 0 }
                }
                let second = ask(answer.key, limit, hasAlias) { lookup in
                    cache.answer(&lookup, allowStale: false) { isLocal && $1.hash & 1 == 0 }
                }
                guard let second else {
                    expect(answer.ttl == 0 || answer.message.count > 10_000, "an answer that may be kept is not")
                    continue
                }
                expect(first == second, "\(hex(second)) comes from the cache, and not \(hex(first ?? []))")
            }
        }
        cache.flush()
    }

    /// The response; nil if the source had none.
    private func ask(
        _ key: FetchKey, _ limit: Int, _ hasAlias: Bool, _ source: (inout Lookup) -> Outcome
    ) -> [UInt8]? {
        let alias: [UInt8] = [5] + "alias".utf8 + [4] + "ours".utf8 + [0]
        return asker.ask(hasAlias ? alias : key.name, key.question, limit: limit) { lookup in
            if hasAlias {
                key.name.withUnsafeBytes {
                    _ = lookup.name.assign(uncompressed: $0)
                    let offset = lookup.builder.appendCNAME(owner: .at(Header.length), ttl: 1, target: $0)
                    lookup.nameOffset = offset ?? Header.length
                }
            }
            let outcome = source(&lookup)
            if outcome == .pass { return nil }
            let sections = lookup.finished("what a client gets")
            let message = lookup.builder.message
            expect(message.count <= limit, "longer than its room")
            expect(PacketCheck.accepts(message), "libldns refuses \(hex(message))")
            if case .chase(let target) = outcome {
                expect(sections.answers.last?.type == .cname, "what is chased is the last alias")
                expect(MessageReader.endOfName(message, at: target) != nil, "and its target is a name")
            }
            return Array(message)
        }
    }
}
