import LocalData
import Platform

/// A rule added while the daemon runs; it expires by itself.
package struct RuleLease: Sendable, Hashable, Codable {
    /// Counts from 1 and is never reused. Its place is `rule:NUMBER`.
    package var number: Int
    package var rule: String
    /// As in a rules file.
    package var text: String
    /// When it was added, and when it expires (nil: with the daemon), in the lookup log's format.
    package var added: String
    package var until: String?
    /// The seconds that remain.
    package var left: UInt32?
}

/// All leased rules.
struct RuleLeases: Sendable {
    private struct Live: Sendable {
        var lease: RuleLease
        var rule: Rule
        var term: LeaseTerm
    }

    static let most = 10_000
    /// What a lease's rule has in place of a file: `rule:3`.
    static let path = "rule"

    /// The newest first: it stands before those added earlier.
    private var live: [Live] = []
    private var lastNumber = 0
    private let settings = HostsSettings()

    var rules: [Rule] { live.map(\.rule) }

    /// The newest first; `now` is monotonic, in microseconds.
    func all(at now: UInt64) -> [RuleLease] {
        live.map { one in
            var lease = one.lease
            lease.left = one.term.left(at: now)
            return lease
        }
    }

    var nextEnd: UInt64? { live.map(\.term).nextEnd }

    /// Leases the rule that `text` says for `seconds`, or until the daemon ends.
    mutating func add(_ text: String, seconds: UInt32?, now: Moment) throws(OverrideProblem) -> RuleLease {
        try LeaseTerm.check(seconds)
        guard live.count < Self.most else {
            throw OverrideProblem("\(Self.most) rules are leased already; remove some")
        }
        let place = Place(path: Self.path, line: lastNumber + 1)
        let rule: Rule
        do throws(RuleReader.WrongRule) { rule = try RuleReader.rule(text, place, settings) } catch {
            throw OverrideProblem(error.description)
        }
        lastNumber += 1
        let term = LeaseTerm(seconds: seconds, from: now)
        let lease = RuleLease(
            number: lastNumber, rule: "\(place)", text: rule.text, added: CalendarTime.timestamp(now.wall),
            until: term.until, left: seconds)
        let one = Live(lease: lease, rule: rule, term: term)
        guard live.count(where: { $0.rule.name == rule.name }) < RuleTable.mostOfName else {
            throw OverrideProblem("\(rule.name) has \(RuleTable.mostOfName) rules already; remove some")
        }
        live.insert(one, at: 0)
        return lease
    }

    /// Ends the lease with this number; nil: all of them.
    mutating func remove(_ number: Int?) throws(OverrideProblem) -> [RuleLease] {
        let gone = live.filter { number == nil || $0.lease.number == number }
        if let number, gone.isEmpty {
            throw OverrideProblem("no rule is leased with number \(number); 'stub53 rule list' shows them")
        }
        live.removeAll { one in gone.contains { $0.lease.number == one.lease.number } }
        return gone.map(\.lease)
    }

    /// Ends the leases that expire by `now`, monotonic in microseconds; returns them.
    mutating func end(at now: UInt64) -> [RuleLease] {
        let due = live.filter { $0.term.end <= now }
        guard !due.isEmpty else { return [] }
        live.removeAll { $0.term.end <= now }
        return due.map(\.lease)
    }
}
