import DNSWire
import LookupLog
import Platform

/// The lookups that one visit of a name makes: a browser asks for HTTPS, AAAA and A, a library for A and AAAA.
struct Navigation {
    /// In the order of time, which the log of several threads' lookups has not quite; never empty.
    let lookups: [LoggedLookup]

    /// Nil where there are none; in any order, since what waited for upstream was logged after what came later.
    init?(lookups: [LoggedLookup]) {
        if lookups.isEmpty { return nil }
        self.lookups = lookups.sorted { $0.time < $1.time }
    }

    /// Microseconds between two lookups of the same client for the same name that still belong together.
    static let gap: UInt64 = 2_000_000

    var name: String { lookups[0].name }
    /// By which its row is found again.
    var key: Int64 { lookups[0].key }
    var asker: String { (lookups.first { $0.process != nil } ?? lookups[0]).asker }
    var process: ClientProcess? { lookups.lazy.compactMap(\.process).first }
    /// The one that tells most: an address, if there is one.
    var main: LoggedLookup {
        lookups.first { $0.type == .a && !$0.answers.isEmpty } ?? lookups.first { !$0.answers.isEmpty } ?? lookups[0]
    }
    /// Microseconds that the slowest of its lookups took; what the client did in between is not ours.
    var duration: UInt64 { lookups.map { UInt64($0.durationMicroseconds) }.max() ?? 0 }

    /// Groups lookups that come newest first, or nearly; the groups come newest first.
    static func group(_ newestFirst: [LoggedLookup]) -> [Navigation] {
        struct Who: Hashable {
            var address: SocketAddress
            var name: String
        }
        var groups: [[LoggedLookup]] = []
        var open: [Who: [Int]] = [:]
        for lookup in newestFirst {
            let who = Who(address: lookup.client.withPort(0), name: lookup.name)
            // Which program asked is known of some lookups only: no two known ones may differ.
            let fitting = open[who, default: []].last { index in
                groups[index].count < 32
                    && groups[index].contains { distance($0, lookup) <= gap }
                    && groups[index].allSatisfy {
                        $0.process == nil || lookup.process == nil || $0.process?.command == lookup.process?.command
                    }
            }
            if let fitting {
                groups[fitting].append(lookup)
            } else {
                open[who, default: []].append(groups.count)
                groups.append([lookup])
            }
        }
        return groups.compactMap { Navigation(lookups: $0) }
            .sorted { $0.lookups[0].time > $1.lookups[0].time }
    }

    /// Microseconds between the two.
    private static func distance(_ one: LoggedLookup, _ other: LoggedLookup) -> UInt64 {
        max(one.time, other.time) - min(one.time, other.time)
    }
}
