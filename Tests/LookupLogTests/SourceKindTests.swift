import DNSWire
import Foundation
import Lookup
import LookupLog
import Platform
import Testing

@Suite("The list of sources")
struct SourceKindTests {
    @Test("Raw values never change, because histories store them; a new source takes the next")
    func numbers() {
        let known: [UInt8: String] = [
            0: "none", 1: "hosts", 2: "zone", 3: "special", 4: "cache", 5: "stale", 6: "upstream",
        ]
        for (number, word) in known { #expect(SourceKind(rawValue: number)?.description == word) }
        #expect(Set(SourceKind.allCases.map { Int($0.rawValue) }) == Set(0..<SourceKind.allCases.count))
    }

    @Test("Every source has its own word, which is a CSS class and fits its column")
    func words() {
        let words = SourceKind.allCases.map(\.description)
        #expect(Set(words).count == words.count)
        #expect(words.allSatisfy { $0.wholeMatch(of: /[a-z]+/) != nil && $0.utf8.count <= SourceKind.longestWord })
        #expect(SourceKind.allCases.allSatisfy { SourceKind(word: $0.description.uppercased()) == $0 })
        #expect(SourceKind(word: "nobody") == nil && SourceKind(word: "") == nil)
    }

    @Test("`BySource` has room for every source, up to the largest raw value")
    func bySource() {
        var counts = BySource(repeating: 0)
        for (index, source) in SourceKind.allCases.enumerated() { counts[source] += index + 1 }
        #expect(SourceKind.allCases.map { counts[$0] } == Array(1...SourceKind.allCases.count))
        #expect(counts.sum == (1...SourceKind.allCases.count).reduce(0, +))
    }

    @Test("The totals count every source, code, transport and duration")
    func totals() {
        let totals = LookupTotals()
        var lookups: UInt64 = 0
        for source in SourceKind.allCases {
            for transport in Transport.allCases {
                for kind in AnswerKind.allCases {
                    for duration in LookupTotals.Durations.bounds.flatMap({ [$0, $0 + 1] }) + [.max] {
                        var fields = LookupFields(client: SocketAddress(high: 0, low: 1, port: 1, isIPv6: false))
                        (fields.source, fields.transport, fields.answerKind) = (source, transport, kind)
                        fields.durationMicroseconds = duration
                        lookups += 1
                        StoredLookup(id: 1, number: 1, fields).withRecord { totals.note($0, id: lookups) }
                    }
                }
            }
        }
        let snapshot = totals.snapshot
        #expect(snapshot.lookups == lookups && snapshot.counts.map(\.lookups).reduce(0, +) == lookups)
        #expect(snapshot.durations.values.map(\.count).reduce(0, +) == lookups)
        let second = totals.seconds(1, now: 0)
        #expect(second.isEmpty)
    }

    @Test("An unknown raw value (from a newer version) is no source, and traps nothing")
    func unknownNumber() {
        #expect(SourceKind(rawValue: .max) == nil)
        #expect(AnswerKind(rawValue: .max) == nil)
    }

    @Test("Filters accept and complete the word of every source", arguments: SourceKind.allCases)
    func filter(_ source: SourceKind) throws {
        #expect(try LookupFilter(words: "source:\(source)").sources == [source])
        #expect(LookupFilter.Kind.source.usualValues.contains("\(source)"))
    }

    @Test("A terminal line has the source's colour and stays in its columns", arguments: SourceKind.allCases)
    func terminal(_ source: SourceKind) {
        func line(colors: Bool) -> String {
            var fields = LookupFields(client: SocketAddress(high: 0, low: 1, port: 1, isIPv6: false))
            fields.source = source
            var formatter = LookupFormatter(.text, colors: colors)
            formatter.append(StoredLookup(id: 1, number: 1, fields))
            return String(decoding: formatter.take(), as: UTF8.self)
        }
        let colored = line(colors: true)
        #expect(colored.contains("\u{1B}[\(source.terminalColor)m\(source)\u{1B}[0m"))
        #expect(colored.replacing(/\u{1B}\[[0-9;]*m/, with: "") == line(colors: false))
    }

    @Test("The documents name every source and every kind of answer")
    func documents() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        for name in ["Formats", "Inspection"] {
            let text = try String(
                contentsOf: root.appending(path: "Sources/stub53/Documentation.docc/\(name).md"), encoding: .utf8)
            for source in SourceKind.allCases { #expect(text.contains("`\(source)`"), "\(source) in \(name).md") }
            for kind in AnswerKind.allCases {
                if let word = kind.word { #expect(text.contains("\(word)"), "\(word) in \(name).md") }
            }
        }
    }
}
