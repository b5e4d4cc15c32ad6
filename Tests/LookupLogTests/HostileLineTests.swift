import DNSWire
import Foundation
import Lookup
import LookupLog
import Platform
import TestSupport
import Testing

@Suite("Nothing from the network can break or forge a line")
struct HostileLineTests {
    static let labels: [[UInt8]] = [
        Array("a\nb".utf8), Array("\u{1B}[31mred".utf8), Array("\"},{\"id\":7".utf8), Array("\\".utf8), [0],
        [0x80, 0xFF, 0xC3, 0x28], Array("\u{202E}gro.emca".utf8), Array("\u{85}\u{2028}".utf8), Array(" ".utf8),
        [UInt8](0x00...0x3E), [UInt8](0x3F...0x7D), [UInt8](0x7E...0xBC), [UInt8](0xBD...0xFB),
    ]

    @Test("Any label, in a name, a target and a text", arguments: labels, [LookupSink.Form.json, .text])
    func label(_ label: [UInt8], _ form: LookupSink.Form) throws {
        let name = try #require(Name("example.")?.prepending(label: label))
        var lookup = SampleLookup()
        lookup.name = name
        lookup.answers = [
            .init(owner: name, type: .cname, rdata: name.wire),
            .init(owner: name, type: .txt, rdata: [UInt8(label.count)] + label),
        ]
        lookup.decision.place = Place(path: String(decoding: label, as: UTF8.self), line: 1)
        let folder = try TemporaryFolder()
        let log = try LookupLog(sinks: [LookupSink(form, to: .file(path: folder.file("log")))])
        lookup.append(to: log.makeRing())
        log.start()
        log.stop()
        let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.file("log")))
        let text = try #require(String(data: bytes, encoding: .utf8))
        #expect(text.filter { $0 == "\n" }.count == 1)
        for scalar in text.unicodeScalars.dropLast() {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: Issue.record("U+\(scalar.value) in \(text)")
            default: break
            }
        }
        if form == .json {
            let object = try parsed(text)
            #expect(object["name"] as? String == name.description)
            #expect(object["answers"] as? [String] ?? [] != [])
            #expect((object["answers"] as? [String])?.first == "\(name) 0 IN CNAME \(name)")
        } else {
            #expect(text.contains(name.description))
        }
    }

    @Test("Whatever bytes a record holds, its lines are whole, and valid JSON")
    func anyBytes() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix(state: seed)
        let folder = try TemporaryFolder()
        let paths = (folder.file("json"), folder.file("text"))
        let log = try LookupLog(
            sinks: [LookupSink(.json, to: .file(path: paths.0)), LookupSink(.text, to: .file(path: paths.1))],
            ringCapacity: 1 << 24)
        let ring = log.makeRing()
        let count = 3000
        let types: [UInt16] = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 37, 39, 46, 47, 50, 52, 64, 65, 257, 0, 41, 65_535]
        for _ in 0..<count {
            // A readable question, then garbage, or records with random data.
            var message = SampleLookup().message
            var query = Query()
            var name = LookupName()
            _ = message.withUnsafeBytes { query.parse($0, name: &name) }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let type = types.randomElement(using: &random)!
                let length = Int.random(in: 0...40, using: &random)
                message += [0xC0, 12, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1, 0, 0, 0, 0, 0, UInt8(length)]
                message += (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            if Bool.random(using: &random) {
                message += (0..<20).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            var decision = SampleLookup.decision(SourceKind.allCases.randomElement(using: &random)!)
            decision.responseCode = ResponseCode(rawValue: UInt16.random(in: 0...4095, using: &random))
            for _ in 0..<Int.random(in: 0...16, using: &random) {
                _ = decision.appendHop(
                    .init(nameOffset: UInt16.random(in: 0...100, using: &random), source: .zone, place: .nowhere))
            }
            query.type = RecordType(rawValue: UInt16.random(in: 0...300, using: &random))
            query.flags = Header.Flags(rawValue: UInt16.random(in: 0...UInt16.max, using: &random))
            decision.upstream = Int16.random(in: -1...3, using: &random)
            message.withUnsafeBytes {
                ring.append(
                    time: UInt64.random(in: 0...UInt64.max, using: &random),
                    client: SampleLookup().client, transport: .doh, query: query, decision: decision, response: $0,
                    answers: Int.random(in: 0...70_000, using: &random),
                    durationMicroseconds: UInt32.random(in: 0...UInt32.max, using: &random))
            }
        }
        log.start()
        log.stop()
        let json = try lines(ofFile: paths.0)
        #expect(json.count == count, "seed \(seed)")
        for (index, line) in json.enumerated() {
            #expect(try parsed(line)["id"] as? Int == index + 1, "seed \(seed): \(line)")
        }
        let text = try lines(ofFile: paths.1)
        #expect(text.count == count, "seed \(seed)")
        #expect(text.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } }, "seed \(seed)")
        #expect(log.lost == 0)
    }
}

/// A seeded generator; failing tests print the seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
