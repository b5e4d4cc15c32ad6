import DNSWire
import LookupLog
import Platform

/// The lookups of one navigation: a browser asks for HTTPS, AAAA and A, a library for A and AAAA.
struct Navigation {
    /// Sorted by time, which the log, written by several threads, is not quite; never empty.
    let lookups: [LoggedLookup]

    /// Nil if there are none. In any order: a lookup that waited for upstream is logged after later ones.
    init?(lookups: [LoggedLookup]) {
        if lookups.isEmpty { return nil }
        self.lookups = lookups.sorted { $0.time < $1.time }
    }

    /// The longest time between two lookups of one navigation, in microseconds.
    static let gap: UInt64 = 2_000_000

    var name: String { lookups[0].name }
    /// Identifies its row.
    var key: Int64 { lookups[0].key }
    var asker: String { (lookups.first { $0.process != nil } ?? lookups[0]).asker }
    var process: ClientProcess? { lookups.lazy.compactMap(\.process).first }
    /// The most informative lookup: an address, if there is one.
    var main: LoggedLookup {
        lookups.first { $0.type == .a && !$0.answers.isEmpty } ?? lookups.first { !$0.answers.isEmpty } ?? lookups[0]
    }
    /// The duration of its slowest lookup, in microseconds; the client's own pauses don't count.
    var duration: UInt64 { lookups.map { UInt64($0.durationMicroseconds) }.max() ?? 0 }

    /// Groups lookups that come newest first, or nearly so; so do the groups.
    static func group(_ newestFirst: [LoggedLookup]) -> [Navigation] {
        struct ClientAndName: Hashable {
            var address: SocketAddress
            var name: String
        }
        var groups: [[LoggedLookup]] = []
        var open: [ClientAndName: [Int]] = [:]
        for lookup in newestFirst {
            let key = ClientAndName(address: lookup.client.withPort(0), name: lookup.name)
            // The process is known for some lookups only: known ones must not differ.
            let fitting = open[key, default: []].last { index in
                groups[index].count < 32
                    && groups[index].contains { distance($0, lookup) <= gap }
                    && groups[index].allSatisfy {
                        $0.process == nil || lookup.process == nil || $0.process?.command == lookup.process?.command
                    }
            }
            if let fitting {
                groups[fitting].append(lookup)
            } else {
                open[key, default: []].append(groups.count)
                groups.append([lookup])
            }
        }
        return groups.compactMap { Navigation(lookups: $0) }
            .sorted { $0.lookups[0].time > $1.lookups[0].time }
    }

    /// The time between two lookups, in microseconds.
    private static func distance(_ one: LoggedLookup, _ other: LoggedLookup) -> UInt64 {
        max(one.time, other.time) - min(one.time, other.time)
    }
}
