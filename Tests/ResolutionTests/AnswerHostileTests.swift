import DNSWire
import Testing

@testable import Lookup
@testable import Upstream

@Suite("Hostile answers from upstream")
struct AnswerHostileTests {
    let client = AnswerClient()

    /// A chain of 0 to 5 aliases, then 0 to 8 records: what a client should see, and the message, shuffled and with
    /// unrelated records.
    private func chain(_ random: inout Lehmer) -> (message: AnswerMessage, expected: Set<String>) {
        let length = Int.random(in: 0...5, using: &random)
        let names = (0...length).map { "h\($0)x\(UInt8.random(in: 0...255, using: &random)).Example.test." }
        var records: [AnswerMessage.Record] = []
        for index in 0..<length { records.append(.cname(names[index], 60, names[index + 1])) }
        let count = Int.random(in: 0...8, using: &random)
        for number in 0..<count { records.append(.a(names[length], 60, UInt8(number))) }
        let expected = Set(
            records.map { record in
                let data =
                    record.type == .a ? "192.0.2.\(record.rdata[3])" : Name(uncheckedWire: record.rdata).description
                return "\(record.owner.lowercased()) \(record.type) \(data.lowercased())"
            })
        for number in 0..<Int.random(in: 0...4, using: &random) {
            records.append(.a("stranger\(number).example.test.", 60, 99))
        }
        records.shuffle(using: &random)
        let authority: [AnswerMessage.Record] = count == 0 ? [.soa("example.test.", 60, minimum: 60)] : []
        return (AnswerMessage(names[0], .a, records, authority: authority), expected)
    }

    @Test("The client sees exactly what an honest chain says, from upstream and from the cache (seeds 1 to 300)")
    func honest() throws {
        for seed in UInt64(1)...300 {
            var random = Lehmer(state: seed)
            let (message, expected) = chain(&random)
            let answer = try client.check(message)
            let cache = AnswerCache()
            cache.insert(answer, now: 0)
            for read in [client.read(answer, message.name, .a), client.read(cache, message.name, .a, at: 1)] {
                #expect(Set(read.data.map { $0.replacingUppercase }) == expected, "seed \(seed)")
                #expect(read.outcome == .answered)
            }
            var behind = AnswerClient()
            behind.alias = "ours.test."
            let read = behind.read(cache, message.name, .a, at: 1)
            #expect(Set(read.data.dropFirst().map { $0.replacingUppercase }) == expected, "seed \(seed)")
        }
    }

    @Test("Damaged responses are rejected or read, and what is read is well formed (seeds 1 to 20)")
    func damaged() {
        var accepted = 0
        for seed in UInt64(1)...20 {
            var random = Lehmer(state: seed)
            let (message, _) = chain(&random)
            let wire = message.wire
            for _ in 0..<400 {
                var broken = wire
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    switch Int.random(in: 0..<5, using: &random) {
                    case 0:
                        broken[Int.random(in: 0..<broken.count, using: &random)] = .random(in: 0...255, using: &random)
                    case 1:
                        broken[Int.random(in: 0..<broken.count, using: &random)] ^=
                            1 << UInt8.random(in: 0..<8, using: &random)
                    case 2 where broken.count > 40: broken.removeLast(.random(in: 1...20, using: &random))
                    case 3:
                        broken.insert(
                            .random(in: 0...255, using: &random), at: .random(in: 12..<broken.count, using: &random))
                    default:
                        let at = Int.random(in: 12..<(broken.count - 1), using: &random)
                        broken[at] = 0xC0
                        broken[at + 1] = UInt8(truncatingIfNeeded: at - 2)
                    }
                }
                guard let answer = try? client.check(broken, name: message.name, type: .a) else { continue }
                accepted += 1
                let cache = AnswerCache()
                cache.insert(answer, now: 0)
                for alias in [nil, "ours.test."] {
                    var client = client
                    client.alias = alias
                    #expect(client.read(answer, message.name, .a).isWhole, "seed \(seed)")
                    let cached = client.read(cache, message.name, .a, at: 1)
                    #expect(cached.outcome == .pass || cached.isWhole, "seed \(seed)")
                }
            }
        }
        #expect(accepted > 100)
    }

    @Test("No prefix of a response is accepted")
    func prefixes() {
        let wire = AnswerMessage("n.test.", .a, [.cname("n.test.", 60, "m.test."), .a("m.test.", 60, 1)]).wire
        for length in 0..<wire.count {
            #expect(throws: (any Error).self) { try client.check(Array(wire[..<length]), name: "n.test.", type: .a) }
        }
    }

    @Test("A name with many chained pointers is malformed")
    func pointerWalk() {
        var wire = AnswerMessage("n.test.", .a).wire
        // One record of unknown type holds a ladder of pointers; the owner names of the other records point to its top.
        wire += wireName("n.test.") + bytes(0xFF00) + bytes(1) + [0, 0, 0, 60] + bytes(4000)
        let ladder = wire.count
        wire += bytes(0xC00C)
        for step in 1..<2000 { wire += bytes(UInt16(0xC000 | (ladder + 2 * (step - 1)))) }
        wire +=
            bytes(UInt16(0xC000 | (ladder + 2 * 1999))) + bytes(1) + bytes(1) + [0, 0, 0, 60] + bytes(4) + [
                192, 0, 2, 1,
            ]
        wire[7] = 2
        #expect(throws: UpstreamAnswer.Rejection.malformed) { try client.check(wire, name: "n.test.", type: .a) }
    }

    @Test("The largest message is read, cached and sent over TCP")
    func largest() throws {
        // Each record has 16 bytes, with a pointer as owner name.
        var wire = AnswerMessage("n.test.", .a).wire
        let count = (65_535 - wire.count) / 16
        for number in 0..<count {
            wire += bytes(0xC00C) + bytes(1) + bytes(1) + [0, 0, 0, 60] + bytes(4) + [10, 1] + bytes(UInt16(number))
        }
        wire[6] = UInt8(count >> 8)
        wire[7] = UInt8(count & 0xFF)
        let answer = try client.check(wire, name: "n.test.", type: .a)
        let cache = AnswerCache()
        cache.insert(answer, now: 0)
        #expect(client.read(cache, "n.test.", .a, at: 1).answers.count == count)
        var udp = AnswerClient()
        udp.limit = 1232
        #expect(udp.read(cache, "n.test.", .a, at: 1).truncated)
    }
}

extension String {
    fileprivate var replacingUppercase: String {
        let words = split(separator: " ")
        return "\(words[0].lowercased()) \(words[1]) \(words[2].lowercased())"
    }
}
