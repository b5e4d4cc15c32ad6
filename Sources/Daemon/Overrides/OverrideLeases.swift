import DNSWire
import LocalData
import Platform

/// All leased overrides, and the table compiled from them.
struct OverrideLeases: Sendable {
    private struct Live: Sendable {
        var lease: OverrideLease
        var term: LeaseTerm
        /// As lines of a hosts file.
        var lines: [String]
        /// What is no address: the name is another one's alias, has no data, or does not exist.
        var rule: Rule?
    }

    private let most: Int
    /// What a lease's rule has in place of a file: `override:3`.
    static let path = "override"

    /// By name.
    private var live: [Name: Live] = [:]
    private var lastNumber = 0
    private var settings: HostsSettings
    private(set) var table: HostsTable
    /// Those that are no addresses, as rules.
    private(set) var rules: [Rule] = []

    init(_ settings: HostsSettings, most: Int = 10_000) {
        self.most = most
        self.settings = Self.uncached(settings)
        table = .empty(settings: self.settings)
    }

    /// TTL 0, so that no client caches an answer beyond the end of its lease.
    private static func uncached(_ settings: HostsSettings) -> HostsSettings {
        var settings = settings
        settings.ttl = 0
        return settings
    }

    /// In the order they were added; `now` is monotonic, in microseconds.
    func all(at now: UInt64) -> [OverrideLease] {
        live.values.map { one in
            var lease = one.lease
            lease.left = one.term.left(at: now)
            return lease
        }.sorted { $0.number < $1.number }
    }

    /// The next expiry, monotonic in microseconds; nil if no lease expires.
    var nextEnd: UInt64? { live.values.map(\.term).nextEnd }

    /// Gives `name` these addresses, replacing an earlier lease of it. `seconds`: nil until the daemon ends.
    mutating func add(
        _ name: String, _ addresses: [String], seconds: UInt32?, now: Moment
    ) throws(OverrideProblem) -> OverrideLease {
        try LeaseTerm.check(seconds)
        guard !addresses.isEmpty else { throw OverrideProblem("an override needs an address; give at least one") }
        guard addresses.count <= HostsReader.maximumAddresses else {
            throw OverrideProblem(
                "\(addresses.count) addresses are too many; give \(HostsReader.maximumAddresses) at most")
        }
        for word in [name] + addresses { try Self.check(word) }
        let given =
            addresses.count == 1 && Self.isNoAddress(addresses[0])
            ? try saying(addresses[0], of: name) : try giving(addresses, to: name)
        guard live[given.name] != nil || live.count < most else {
            throw OverrideProblem("\(most) overrides are leased already; remove some")
        }
        lastNumber += 1
        let term = LeaseTerm(seconds: seconds, from: now)
        let lease = OverrideLease(
            number: lastNumber, rule: "\(Self.path):\(lastNumber)", name: "\(given.name)", addresses: given.addresses,
            added: CalendarTime.timestamp(now.wall), until: term.until, seconds: seconds, left: seconds)
        live[given.name] = Live(lease: lease, term: term, lines: given.lines, rule: given.rule)
        compile()
        return lease
    }

    /// What a lease gives a name: as lines of a hosts file, or as a rule.
    private struct Given {
        var name: Name
        var addresses: [String]
        var lines: [String] = []
        var rule: Rule?
    }

    private func giving(_ addresses: [String], to name: String) throws(OverrideProblem) -> Given {
        let lines = addresses.map { "\($0) \(name)" }
        let read = HostsReader.table(lines.map { (Array($0.utf8), 1) }, path: Self.path, settings: settings)
        if let problem = read.diagnostics.list.first { throw OverrideProblem(problem.message) }
        guard let key = read.names.first else { throw Self.noHostName(name) }
        return Given(name: key, addresses: read.table.lines(for: key).map(\.address), lines: lines)
    }

    private static func noHostName(_ name: String) -> OverrideProblem {
        OverrideProblem("\(quoted(name.utf8)) is not a host name; give one, or '*.' in front of one")
    }

    /// A word for what is no address, or a name of several labels.
    private static func isNoAddress(_ word: String) -> Bool {
        word == "nxdomain" || word == "nodata"
            || word.contains(".") && !word.contains(":") && !word.utf8.allSatisfy { $0 == 0x2E || ASCII.isDigit($0) }
    }

    /// What is no address: `nxdomain`, `nodata`, or another name.
    private func saying(_ word: String, of name: String) throws(OverrideProblem) -> Given {
        guard let key = HostsReader.name(name) else { throw Self.noHostName(name) }
        let isWord = word == "nxdomain" || word == "nodata"
        guard isWord || HostsReader.name(word) != nil, !word.hasPrefix("*.") else {
            throw OverrideProblem(
                "\(quoted(word.utf8)) is no address and no name; give addresses, another name, nxdomain or nodata")
        }
        do throws(RuleReader.WrongRule) {
            let rule = try RuleReader.rule(
                "\(name) * \(isWord ? word : "alias=\(word)")", Place(path: Self.path, line: lastNumber + 1), settings)
            return Given(name: key, addresses: [word], rule: rule)
        } catch { throw OverrideProblem(error.description) }
    }

    /// Accepts a single word without `#`: it becomes part of a hosts line.
    private static func check(_ word: String) throws(OverrideProblem) {
        guard !word.isEmpty, word.utf8.count <= 1024,
            !word.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "#") })
        else {
            throw OverrideProblem("\(quoted(word.utf8)) is not one word; give a name and addresses without blanks")
        }
    }

    mutating func remove(_ name: String) throws(OverrideProblem) -> OverrideLease {
        let asked = HostsReader.name(name)
        guard let asked, let found = live.removeValue(forKey: asked) else {
            throw OverrideProblem("no override is leased for \(quoted(name.utf8)); 'stub53 override list' shows them")
        }
        compile()
        return found.lease
    }

    /// Ends the leases that expire by `now`, monotonic in microseconds; returns them.
    mutating func end(at now: UInt64) -> [OverrideLease] {
        let due = live.filter { $0.value.term.end <= now }
        guard !due.isEmpty else { return [] }
        for name in due.keys { live[name] = nil }
        compile()
        return due.values.map(\.lease).sorted { $0.number < $1.number }
    }

    /// Answers with other settings from now on.
    mutating func answer(by settings: HostsSettings) {
        let settings = Self.uncached(settings)
        guard settings != self.settings else { return }
        self.settings = settings
        compile()
    }

    private mutating func compile() {
        let lines = live.values.sorted { $0.lease.number < $1.lease.number }.flatMap { one in
            one.lines.map { (Array($0.utf8), one.lease.number) }
        }
        table = HostsReader.table(lines, path: Self.path, settings: settings).table
        rules = live.values.sorted { $0.lease.number > $1.lease.number }.compactMap(\.rule)
    }
}
