package import DNSWire
import Glibc
package import Lookup
package import Platform

/// The stage of rules: first those added at run time, then those of rules files.
///
/// It stands before all sources: an answer or an error of a rule is given instead of theirs. What else rules do to an
/// answer it notes in the lookup, for whoever completes and sends the response.
///
/// A single pointer: stages are copied on the fast lane, so that each word of them costs, and a counted reference more.
/// `@unchecked`: what it points to does not change, and the pipeline keeps it.
package struct RuleStage: Stage, @unchecked Sendable {
    /// Of a `RuleSet.Given`; nil where there is no rule.
    @usableFromInline let given: UnsafeRawPointer?

    package init(_ set: RuleSet) { given = UnsafeRawPointer(set.given) }

    @inlinable package static var kind: SourceKind? { .rule }

    /// Rules for every name that is asked for own none: an answer may go on to speak about its aliases.
    @inlinable @inline(__always)
    package func owns(_ name: borrowing LookupName) -> Bool { given != nil && ownsGiven(name) }

    @inlinable @inline(__always)
    package func answer(_ lookup: inout Lookup) -> Outcome { given == nil ? .pass : answerGiven(&lookup) }

    private var rules: UnsafePointer<RuleSet.Given> {
        given.unsafelyUnwrapped.assumingMemoryBound(to: RuleSet.Given.self)
    }

    @usableFromInline
    func ownsGiven(_ name: borrowing LookupName) -> Bool {
        if name.serviceLabelCount > 0 { return rules.pointee.set.ownsService(name) }
        return RuleTable.Filter.passes(UnsafePointer(OpaquePointer(rules)), name)
            && rules.pointee.set.has(name, isAsked: false)
    }

    @usableFromInline
    func answerGiven(_ lookup: inout Lookup) -> Outcome {
        let filter = UnsafePointer<RuleTable.Filter>(OpaquePointer(rules))
        return RuleTable.Filter.mayHave(filter, lookup.name) || RuleSet.isService(lookup)
            ? rules.pointee.set.answer(&lookup) : .pass
    }
}

/// All rules of a view, and what they need.
///
/// `@unchecked`: `given` is written once, before anyone else sees it.
package final class RuleSet: @unchecked Sendable {
    /// What the stage reads for each name.
    struct Given {
        /// Of both lists. The first member: a pointer to this is one to that.
        let filter: RuleTable.Filter
        unowned(unsafe) let set: RuleSet
    }

    /// Nil where there is no rule.
    private(set) var given: UnsafePointer<Given>?
    /// Rules added at run time stand before all others.
    package let rules, leases: RuleTable
    package let counts: RuleCounts
    private let settings: HostsSettings
    private let view: String?

    package static let none = RuleSet(rules: .empty)

    package init(
        rules: RuleTable, leases: RuleTable = .empty, counts: RuleCounts = RuleCounts(),
        settings: HostsSettings = HostsSettings(), view: String? = nil
    ) {
        self.rules = rules
        self.leases = leases
        self.counts = counts
        self.settings = settings
        self.view = view
        guard !isEmpty else { return }
        let given = UnsafeMutablePointer<Given>.allocate(capacity: 1)
        given.initialize(
            to: Given(filter: RuleTable.Filter(rules, leases), set: self))
        self.given = UnsafePointer(given)
    }

    deinit {
        if !rules.isEmpty, !leases.isEmpty { given?.pointee.filter.deallocate() }
        UnsafeMutablePointer(mutating: given)?.deallocate()
    }

    package var isEmpty: Bool { rules.isEmpty && leases.isEmpty }

    /// The same for an explanation, which counts nothing.
    package var peeking: RuleSet {
        RuleSet(rules: rules, leases: leases, counts: counts.peeking, settings: settings, view: view)
    }

    func has(_ name: borrowing LookupName, isAsked: Bool) -> Bool {
        rules.has(name, isAsked: isAsked) || leases.has(name, isAsked: isAsked)
    }

    /// Whether there is a rule for the name of a service, or for that after its underscores.
    func ownsService(_ name: borrowing LookupName) -> Bool {
        has(name, isAsked: false) || has(Self.base(of: name), isAsked: false)
    }

    /// Whether HTTPS or SVCB records of a service are asked for: rules for the name after the underscores are for them,
    /// too.
    static func isService(_ lookup: borrowing Lookup) -> Bool {
        (lookup.question.type == .https || lookup.question.type == .svcb) && lookup.name.serviceLabelCount > 0
    }

    /// The name after the underscores of a service.
    private static func base(of name: borrowing LookupName) -> LookupName {
        var base = LookupName()
        _ = base.assign(uncompressed: name.suffix(at: name.serviceLabelCount))
        return base
    }

    /// The rules of a table for the lookup's name; of a service's HTTPS and SVCB records, also those for the name after
    /// its underscores.
    private func numbers(_ table: RuleTable, _ lookup: borrowing Lookup, _ isAsked: Bool) -> [UInt32] {
        let found = table.rules(for: lookup.name, isAsked: isAsked)
        guard Self.isService(lookup) else { return found }
        return Set(found + table.rules(for: Self.base(of: lookup.name), isAsked: false)).sorted()
    }

    /// The rules for the lookup's name that its type, client, transport, view and time fit, in their order, whether they
    /// take effect this time or not.
    package func matches(_ lookup: borrowing Lookup) -> [Rule] {
        let isAsked = lookup.decision.hopCount == 0
        return [leases, rules].flatMap { table in
            numbers(table, lookup, isAsked).map { table.rules[Int($0)] }
        }.filter { fits($0.condition, lookup) }
    }

    @inline(never)
    func answer(_ lookup: inout Lookup) -> Outcome {
        let isAsked = lookup.decision.hopCount == 0
        var deciding: Rule?
        var failing: Rule?
        for table in [leases, rules] {
            for number in numbers(table, lookup, isAsked) {
                let rule = table.rules[Int(number)]
                // One that can change nothing any more does not count. Its faults come once, whatever the chain's names.
                let isFault = !rule.faults.actions.isEmpty && !lookup.faults.has(rule.place)
                let mayFail = rule.error != nil && failing == nil
                let mayDecide = rule.answer != nil && deciding == nil
                guard isFault || mayFail || mayDecide, fits(rule.condition, lookup) else { continue }
                guard let seed = draw(rule, &lookup) else { continue }
                if isFault { add(rule, seed, &lookup) }
                if mayFail { failing = rule }
                if mayDecide { deciding = rule }
            }
        }
        if let failing, let code = failing.error {
            lookup.decision.fail(code, .other, "a rule says so")
            lookup.decision.source = .rule
            lookup.decision.place = failing.place
            return .answered
        }
        // Nobody will see the answer: upstream need not be asked for it.
        let faults = lookup.faults
        if faults.hidesAnswer(over: lookup.request.transport) {
            lookup.decision.source = .rule
            let entry = (0..<faults.count).map { faults.entry($0) }.first {
                !$0.actions.isDisjoint(with: [.drop, .close])
            }
            lookup.decision.place = entry?.place ?? .nowhere
            return .answered
        }
        guard let deciding, let answer = deciding.answer else { return .pass }
        return write(answer, deciding, &lookup)
    }

    private func add(_ rule: Rule, _ seed: UInt64, _ lookup: inout Lookup) {
        var addition = rule.faults
        if rule.jitter > 0 {
            var random = SeededRandom(seed)
            let least = addition.delay - min(addition.delay, rule.jitter)
            addition.delay = UInt32.random(in: least...(addition.delay + rule.jitter), using: &random)
        }
        lookup.faults.add(addition, seed: seed, rule.place)
    }

    // MARK: Conditions

    private func fits(_ condition: Rule.Condition, _ lookup: borrowing Lookup) -> Bool {
        let type = lookup.question.type
        let request = lookup.request
        guard condition.types.isEmpty || condition.types.contains(type) || type == .any else { return false }
        guard condition.transports.isEmpty || condition.transports.contains(request.transport) else { return false }
        guard condition.view == nil || condition.view == view else { return false }
        if let between = condition.between, !between.contains(Self.minute(request.arrival.wall)) { return false }
        guard !condition.networks.isEmpty || !condition.processes.isEmpty else { return true }
        let client = request.client.unmapped
        if condition.networks.contains(where: { $0.contains(client) }) { return true }
        guard !condition.processes.isEmpty, client.isLoopback else { return false }
        guard let found = SocketHolder.shared.find(request.client, isStream: request.transport != .udp) else {
            return false
        }
        return condition.processes.contains(found.command)
    }

    /// The minute of the day in local time; `wall` in microseconds since 1970.
    private static func minute(_ wall: UInt64) -> Int {
        var seconds = time_t(wall / 1_000_000)
        var fields = tm()
        localtime_r(&seconds, &fields)
        return Int(fields.tm_hour) * 60 + Int(fields.tm_min)
    }

    /// What its faults are drawn from; nil: it does not take effect this time.
    private func draw(_ rule: Rule, _ lookup: inout Lookup) -> UInt64? {
        let condition = rule.condition
        let needsChance = condition.share != nil || rule.jitter > 0 || !rule.faults.actions.isEmpty
        guard condition.counts || needsChance else { return 0 }
        let count = count(rule, &lookup)
        if let first = condition.first, count > first { return nil }
        if let after = condition.after, count <= after { return nil }
        if let every = condition.every, count % every != 0 { return nil }
        var random = SeededRandom(Self.start(rule, lookup, count))
        if let share = condition.share, random.next() >> 32 >= share { return nil }
        return random.next()
    }

    /// From the rule's seed: the same for the same name, type and number of the lookup, in each run.
    private static func start(_ rule: Rule, _ lookup: borrowing Lookup, _ count: UInt32) -> UInt64 {
        let seed = rule.seed ?? lookup.request.arrival.monotonic ^ rule.identity
        return StableHash.of(lookup.name.suffix(at: 0), after: StableHash.start ^ seed)
            ^ UInt64(lookup.question.type.rawValue) << 32 ^ UInt64(count)
    }

    /// The number of this lookup among those of its client, name and type that the rule was for, from 1.
    private func count(_ rule: Rule, _ lookup: inout Lookup) -> UInt32 {
        guard rule.condition.counts || rule.seed != nil else { return 1 }
        let client = lookup.request.client.unmapped
        let hash = lookup.name.key
        let key = hash.hash(
            hash.hash(rule.identity, lookup.name.hash),
            hash.hash(client.high, client.low) ^ UInt64(lookup.question.type.rawValue))
        // Resumed after upstream has answered, it is still the same lookup.
        if let known = lookup.upstream.draws.first(where: { $0.key == key }) { return known.count }
        let count = counts.next(key)
        lookup.upstream.draws.append(UpstreamState.Draw(key: key, count: count))
        return count
    }

    // MARK: Answers

    /// 0.0.0.0 and ::.
    private static let nullAddresses = Rule.Answer.addresses(
        ipv4: [[UInt8](repeating: 0, count: 4)], ipv6: [[UInt8](repeating: 0, count: 16)])

    private func write(_ answer: Rule.Answer, _ rule: Rule, _ lookup: inout Lookup) -> Outcome {
        lookup.decision.source = .rule
        lookup.decision.place = rule.place
        lookup.decision.authoritative = true
        let type = lookup.question.type
        switch answer {
        case .noData: return writeNegative(rule, .noError, &lookup)
        case .nxDomain: return writeNegative(rule, .nxDomain, &lookup)
        case .alias(let target):
            let owner = ResponseBuilder.Owner.at(lookup.nameOffset)
            let offset = target.withUnsafeBytes { lookup.builder.appendCNAME(owner: owner, ttl: rule.ttl, target: $0) }
            guard let offset, type != .cname, type != .any else { return .answered }
            return .chase(offset)
        case .block:
            lookup.decision.explain(.blocked, "a rule blocks it")
            switch settings.nullAddress {
            case .nodata: return writeNegative(rule, .noError, &lookup)
            case .nxdomain: return writeNegative(rule, .nxDomain, &lookup)
            case .literal:
                return write(Self.nullAddresses, rule, &lookup)
            }
        case .addresses(let ipv4, let ipv6):
            for rdata in type == .a || type == .any ? ipv4 : [] { append(.a, rdata, rule, &lookup) }
            for rdata in type == .aaaa || type == .any ? ipv6 : [] { append(.aaaa, rdata, rule, &lookup) }
            if lookup.builder.answers == lookup.answerStart.answers, !lookup.builder.truncated {
                return writeNegative(rule, .noError, &lookup)
            }
            return .answered
        }
    }

    private func append(_ type: RecordType, _ rdata: [UInt8], _ rule: Rule, _ lookup: inout Lookup) {
        rdata.withUnsafeBytes {
            _ = lookup.builder.append(owner: .at(lookup.nameOffset), type: type, ttl: rule.ttl, rdata: $0)
        }
    }

    private func writeNegative(_ rule: Rule, _ code: ResponseCode, _ lookup: inout Lookup) -> Outcome {
        lookup.decision.responseCode = code
        lookup.appendNegativeSOA(ttl: rule.ttl)
        return .answered
    }
}
