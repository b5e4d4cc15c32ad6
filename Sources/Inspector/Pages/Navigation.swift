/// The lookups that one visit of a name makes: a browser asks for HTTPS, AAAA and A, a library for A and AAAA.
struct Navigation {
    /// In the order of time.
    private(set) var lookups: [LoggedLookup]

    /// Microseconds between two lookups of the same client for the same name that still belong together.
    static let gap: UInt64 = 2_000_000

    var name: String { lookups[0].name }
    /// By which its row is found again.
    var key: Int64 { lookups[0].key ?? 0 }
    var asker: String { lookups[0].asker }
    /// The one that tells most: an address, if there is one.
    var main: LoggedLookup {
        lookups.first { $0.type == "A" && !$0.answers.isEmpty } ?? lookups.first { !$0.answers.isEmpty } ?? lookups[0]
    }
    /// Microseconds from the first question to the last answer.
    var duration: UInt64 {
        let start = lookups[0].microseconds
        return lookups.map { $0.microseconds - start + UInt64($0.durationUs) }.max() ?? 0
    }

    /// Groups lookups that come newest first; so do the groups.
    static func group(_ newestFirst: [LoggedLookup]) -> [Navigation] {
        struct Who: Hashable {
            var asker: String
            var pid: Int32?
            var name: String
        }
        var groups: [[LoggedLookup]] = []
        var open: [Who: Int] = [:]
        for lookup in newestFirst {
            let who = Who(asker: lookup.clientAddress, pid: lookup.process?.pid, name: lookup.name)
            if let index = open[who], let earliest = groups[index].last, groups[index].count < 32,
                earliest.microseconds &- lookup.microseconds <= gap
            {
                groups[index].append(lookup)
            } else {
                open[who] = groups.count
                groups.append([lookup])
            }
        }
        return groups.map { Navigation(lookups: $0.reversed()) }
    }
}
