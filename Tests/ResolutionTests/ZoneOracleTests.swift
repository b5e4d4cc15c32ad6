import DNSWire
import LDNS
import LocalData
import Lookup
import Platform
import Testing

/// The lookup against an oracle that searches an array of records, slowly and simply.
@Suite("Zone lookup against an oracle")
struct ZoneOracleTests {
    struct Record: CustomStringConvertible {
        var owner: Name
        var type: RecordType
        var rdata: [UInt8]
        var ttl: UInt32
        var text: String { text(owner) }
        var description: String { text }
        func text(_ owner: Name, ttl: UInt32? = nil) -> String {
            "\(owner) \(ttl ?? self.ttl) \(type) \(Presentation.text(rdata: rdata, type: type))".lowercased()
        }
    }

    struct Oracle {
        var apex: Name
        var records: [Record]

        struct Said: Equatable {
            var kind = "answered"
            var code = ResponseCode.noError
            var authoritative = true
            var answer: [String] = []
            var authority: [String] = []
        }

        func at(_ name: Name, _ type: RecordType? = nil) -> [Record] {
            records.filter { $0.owner == name && (type == nil || $0.type == type) }
        }

        func exists(_ name: Name) -> Bool { records.contains { $0.owner.isAtOrBelow(name) } }

        var soa: [String] { at(apex, .soa).map { $0.text(apex, ttl: 60) } }

        /// RFC 1034 4.3.2, with RFC 4592 and RFC 6672.
        func ask(_ name: Name, _ type: RecordType) -> Said {
            var path = [name]
            while path[0] != apex, let parent = path[0].parent { path.insert(parent, at: 0) }
            for step in path {
                let cut = at(step, .ns)
                if step != apex, !step.isWildcard, !cut.isEmpty, !(step == name && type == .ds) {
                    return Said(authoritative: false, authority: cut.map(\.text).sorted())
                }
                if step != name, let dname = at(step, .dname).first {
                    let prefix = name.wire[..<(name.wire.count - step.wire.count)]
                    guard let target = Name(wire: prefix + dname.rdata) else {
                        return Said(code: .yxDomain, answer: [dname.text])
                    }
                    return Said(
                        kind: type == .cname ? "answered" : "chase",
                        answer: [dname.text, "\(name) \(dname.ttl) CNAME \(target)".lowercased()].sorted())
                }
            }
            if exists(name) { return data(at: name, for: name, type) }
            var encloser = name
            while !exists(encloser), let parent = encloser.parent { encloser = parent }
            if let wildcard = encloser.prepending(label: [UInt8(ascii: "*")]), exists(wildcard) {
                return data(at: wildcard, for: name, type)
            }
            return Said(code: .nxDomain, authority: soa)
        }

        func data(at owner: Name, for name: Name, _ type: RecordType) -> Said {
            let found = type == .any ? at(owner) : at(owner, type)
            if !found.isEmpty { return Said(answer: found.map { $0.text(name) }.sorted()) }
            if let cname = at(owner, .cname).first { return Said(kind: "chase", answer: [cname.text(name)]) }
            return Said(authority: soa)
        }
    }

    static let labels = ["a", "b", "*", "B"]
    static let types: [RecordType] = [.a, .txt, .ns, .cname, .dname, .mx, .ds, .aaaa]

    static func name(below apex: Name, _ random: inout some RandomNumberGenerator) -> Name {
        var name = apex
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            name = name.prepending(label: labels.randomElement(using: &random)!.utf8) ?? name
        }
        return name
    }

    static func rdata(_ type: RecordType, _ apex: Name, _ random: inout some RandomNumberGenerator) -> [UInt8] {
        let number = UInt8.random(in: 1...3, using: &random)
        switch type {
        case .a: return [192, 0, 2, number]
        case .aaaa: return [UInt8](repeating: 0, count: 15) + [number]
        case .txt: return [1, 48 + number]
        case .mx: return [0, number] + name(below: apex, &random).wire
        case .ds: return [0, number, 8, 1] + [UInt8](repeating: number, count: 20)
        default:
            // Sometimes so long that a DNAME can't be applied.
            let label = [UInt8](repeating: UInt8(ascii: "x"), count: 61)
            let long = (0..<3).reduce(apex) { name, _ in name.prepending(label: label) ?? name }
            return (Int.random(in: 0..<8, using: &random) == 0 ? long : name(below: apex, &random)).wire
        }
    }

    static func zone(_ apex: Name, _ random: inout some RandomNumberGenerator) -> Oracle {
        var records: [Record] = [
            Record(
                owner: apex, type: .soa, rdata: [0, 0] + [UInt8](repeating: 0, count: 16) + [0, 0, 0, 60], ttl: 300)
        ]
        for _ in 0..<Int.random(in: 0...14, using: &random) {
            let owner = name(below: apex, &random)
            let type = types.randomElement(using: &random)!
            let record = Record(owner: owner, type: type, rdata: rdata(type, apex, &random), ttl: 300)
            let same = records.filter { $0.owner == owner && $0.type == type }
            // CNAME and DNAME are single; others have no duplicates.
            if !same.isEmpty, type == .cname || type == .dname || same.contains(where: { $0.rdata == record.rdata }) {
                continue
            }
            records.append(record)
        }
        return Oracle(apex: apex, records: records)
    }

    static func compile(_ oracle: Oracle) -> Zone {
        var records = ZoneRecords()
        for (line, record) in oracle.records.enumerated() {
            records.append(
                owner: record.owner.wire, type: record.type, ttl: record.ttl, rdata: record.rdata,
                place: Place(file: 0, line: UInt32(line + 1)))
        }
        return Zone(apex: oracle.apex, records: records, path: "")
    }

    @Test("random zones and names are answered like by the oracle", arguments: [UInt64.random(in: 0...UInt64.max)])
    func agrees(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let parentApex = try #require(Name("z."))
        let childApex = try #require(Name("a.z."))
        for round in 0..<300 {
            let parent = Self.zone(parentApex, &random)
            let child = Self.zone(childApex, &random)
            let hasChild = Bool.random(using: &random)
            let zones = ZoneAnswers(hasChild ? [Self.compile(child), Self.compile(parent)] : [Self.compile(parent)])
            for _ in 0..<40 {
                let name = Self.name(below: parentApex, &random)
                let type = (Self.types + [.any, .soa]).randomElement(using: &random)!
                let isChilds = hasChild && name.isAtOrBelow(childApex) && !(type == .ds && name == childApex)
                let expected = (isChilds ? child : parent).ask(name, type)
                let got = try zones.step(name, type)
                if got != expected {
                    Issue.record(
                        "seed \(seed), round \(round): \(name) \(type): \(got), not \(expected), of \(parent.records) and \(hasChild ? child.records : [])"
                    )
                    return
                }
            }
        }
    }
}

extension ZoneAnswers {
    /// One name, without following aliases.
    fileprivate func step(_ name: Name, _ type: RecordType) throws -> ZoneOracleTests.Oracle.Said {
        let answer = try ask(name, type, follow: false)
        var said = ZoneOracleTests.Oracle.Said(
            code: answer.code, authoritative: answer.decision.authoritative, answer: answer.answer,
            authority: answer.authority)
        switch answer.outcome {
        case .pass: said.kind = answer.isBelowCut ? "forward" : "pass"
        case .answered: said.kind = "answered"
        case .chase: said.kind = "chase"
        case .needs, .transfer: said.kind = "unexpected"
        }
        return said
    }
}

/// A small seeded generator (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
