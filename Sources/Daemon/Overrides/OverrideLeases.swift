import DNSWire
import LocalData
import Platform

/// All leased overrides, and the table compiled from them.
struct OverrideLeases: Sendable {
    private struct Live: Sendable {
        var lease: OverrideLease
        /// Monotonic, in microseconds; `.max`: never.
        var end: UInt64
        /// As lines of a hosts file.
        var lines: [String]
        /// What is no address: the name is another one's alias, has no data, or does not exist.
        var rule: Rule?
    }

    private let most: Int
    /// 30 days, in seconds.
    static let longest: UInt32 = 2_592_000
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
            if lease.seconds != nil {
                lease.left = UInt32(clamping: (one.end - min(one.end, now) + 999_999) / 1_000_000)
            }
            return lease
        }.sorted { $0.number < $1.number }
    }

    /// The next expiry, monotonic in microseconds; nil if no lease expires.
    var nextEnd: UInt64? { live.values.lazy.map(\.end).filter { $0 < .max }.min() }

    /// Gives `name` these addresses, replacing an earlier lease of it. `seconds`: nil until the daemon ends.
    mutating func add(
        _ name: String, _ addresses: [String], seconds: UInt32?, now: Moment
    ) throws(OverrideProblem) -> OverrideLease {
        if let seconds, !(1...Self.longest).contains(seconds) {
            throw OverrideProblem("a lease of \(seconds) s is not possible; give 1 s to 30 days")
        }
        guard !addresses.isEmpty else { throw OverrideProblem("an override needs an address; give at least one") }
        guard addresses.count <= HostsReader.maximumAddresses else {
            throw OverrideProblem(
                "\(addresses.count) addresses are too many; give \(HostsReader.maximumAddresses) at most")
        }
        for word in [name] + addresses { try Self.check(word) }
        if addresses.count == 1, Self.isNoAddress(addresses[0]) {
            return try add(name, saying: addresses[0], seconds: seconds, now: now)
        }
        let lines = addresses.map { "\($0) \(name)" }
        let read = HostsReader.table(lines.map { (Array($0.utf8), 1) }, path: Self.path, settings: settings)
        if let problem = read.diagnostics.list.first { throw OverrideProblem(problem.message) }
        guard let key = read.names.first else {
            throw OverrideProblem("\(quoted(name.utf8)) is not a host name; give one, or '*.' in front of one")
        }
        guard live[key] != nil || live.count < most else {
            throw OverrideProblem("\(most) overrides are leased already; remove some")
        }
        lastNumber += 1
        let lease = OverrideLease(
            number: lastNumber, rule: "\(Self.path):\(lastNumber)", name: "\(key)",
            addresses: read.table.lines(for: key).map(\.address), added: CalendarTime.timestamp(now.wall),
            until: seconds.map { CalendarTime.timestamp(now.wall + UInt64($0) * 1_000_000) }, seconds: seconds,
            left: seconds)
        live[key] = Live(
            lease: lease, end: seconds.map { now.monotonic + UInt64($0) * 1_000_000 } ?? .max, lines: lines)
        compile()
        return lease
    }

    /// A word for what is no address, or a name of several labels.
    private static func isNoAddress(_ word: String) -> Bool {
        word == "nxdomain" || word == "nodata"
            || word.contains(".") && !word.contains(":") && !word.utf8.allSatisfy { $0 == 0x2E || ASCII.isDigit($0) }
    }

    /// Leases what is no address: `nxdomain`, `nodata`, or another name.
    private mutating func add(
        _ name: String, saying word: String, seconds: UInt32?, now: Moment
    ) throws(OverrideProblem) -> OverrideLease {
        guard let key = HostsReader.name(name) else {
            throw OverrideProblem("\(quoted(name.utf8)) is not a host name; give one, or '*.' in front of one")
        }
        let isWord = word == "nxdomain" || word == "nodata"
        guard isWord || HostsReader.name(word) != nil, !word.hasPrefix("*.") else {
            throw OverrideProblem(
                "\(quoted(word.utf8)) is no address and no name; give addresses, another name, nxdomain or nodata")
        }
        guard live[key] != nil || live.count < most else {
            throw OverrideProblem("\(most) overrides are leased already; remove some")
        }
        let place = Place(path: Self.path, line: lastNumber + 1)
        let rule: Rule
        do throws(RuleReader.WrongRule) {
            rule = try RuleReader.rule("\(name) * \(isWord ? word : "alias=\(word)")", place, settings)
        } catch { throw OverrideProblem(error.description) }
        lastNumber += 1
        let lease = OverrideLease(
            number: lastNumber, rule: "\(place)", name: "\(key)", addresses: [word],
            added: CalendarTime.timestamp(now.wall),
            until: seconds.map { CalendarTime.timestamp(now.wall + UInt64($0) * 1_000_000) }, seconds: seconds,
            left: seconds)
        live[key] = Live(
            lease: lease, end: seconds.map { now.monotonic + UInt64($0) * 1_000_000 } ?? .max, lines: [], rule: rule)
        compile()
        return lease
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
        let due = live.filter { $0.value.end <= now }
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
