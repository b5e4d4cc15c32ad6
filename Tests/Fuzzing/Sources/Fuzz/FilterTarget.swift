import DNSWire
import Lookup
import Platform

@testable import LookupLog

/// Any filter of lookups.
enum FilterTarget {
    static let target = FuzzTarget(
        name: "filter", longest: 600,
        seeds: {
            [
                "type:HTTPS source:upstream since:10m", "name:*.acme.org", "acme", "*a*b*", "rcode:NODATA,NXDOMAIN,3",
                "client:127.0.0.1,::1,42,curl* transport:doh,udp", "since:2026-11-23T17:00:01.5Z until:1h30m",
                "name:B\u{FC}cher.de,a\\.b", "since:2026-02-31", "sorce:hosts",
            ].map { Array($0.utf8) }
        },
        words: {
            (LookupFilter.Kind.allCases.map { "\($0):" } + SourceKind.allCases.map(\.description)
                + [
                    "NODATA", "DROPPED", "NXDOMAIN", "HTTPS", "*", ",", "2026-11-23T17:00", "10m", "1970-01-01Z",
                    "\u{3002}",
                ]).map { Array($0.utf8) }
        },
        prepare: {
            let lookups = Lookups()
            return { input in trial(text(input), lookups) }
        })

    private static let now: UInt64 = 1_795_453_200_000_000

    private static func trial(_ words: String, _ lookups: Lookups) {
        let filter: LookupFilter
        do { filter = try LookupFilter(words: words, now: now) } catch { return checkSentence(error.description) }
        // The order of words does not matter, except for times, of which the last counts.
        let parts = words.split(whereSeparator: \.isWhitespace)
        guard let back = try? LookupFilter(words: parts.reversed().joined(separator: " "), now: now) else {
            broken("backwards, \(words) is no filter")
        }
        expect(filter.isEmpty == parts.isEmpty, "\(words) is \(filter)")
        let hasTimes = filter.since != nil || filter.until != nil
        for (record, name) in lookups.records {
            let matches = filter.matches(record)
            if !hasTimes { expect(matches == back.matches(record), "backwards, \(words) means something else") }
            // Each word alone matches whatever all together match.
            guard matches, !filter.names.isEmpty else { continue }
            expect(
                filter.names.contains { pattern in
                    Array(name.utf8).withUnsafeBytes { pattern.matches(text: $0) }
                }, "\(words) matches \(name) by no name")
        }
        for pattern in filter.names {
            // A pattern that just contains a text, or ends with a second dot, has no text form to parse.
            if case .glob = pattern { continue }
            expect((try? NamePattern(pattern.description)) == pattern, "\(pattern) is read as another")
        }
    }

    /// Some lookups to apply the filter to.
    private final class Lookups {
        private let bell = try! Bell()
        private let ring: LookupRing
        private(set) var records: [(LookupRecord, name: String)] = []

        init() {
            ring = LookupRing(capacity: 1 << 16, bell: bell)
            let names = ["acme.org.", "www.acme.org.", "a\\.b.\\000.example.", ".", "xn--bcher-kva.de."]
            for (number, name) in names.enumerated() {
                let message = QueryTarget.query(name, number & 1 == 0 ? .a : .https)
                var query = Query()
                var lookup = LookupName()
                var decision = Decision()
                decision.source = SourceKind.allCases[number % SourceKind.allCases.count]
                message.withUnsafeBytes {
                    _ = query.parse($0, name: &lookup)
                    ring.append(
                        time: now - UInt64(number) * 60_000_000, client: ServedWorld.client, transport: .udp,
                        query: query, decision: decision, response: $0, answers: 0, durationMicroseconds: 1)
                }
                // As patterns see it: without the trailing dot.
                let text = lookup.labelCount == 0 ? "." : String(lookup.name.description.dropLast())
                records.append((LookupRecord(base: UnsafeRawPointer(bitPattern: 8).unsafelyUnwrapped), text))
            }
            var position = 0
            for index in records.indices {
                records[index].0 = ring.record(at: position)
                position += ring.record(at: position).size
            }
        }
    }
}
