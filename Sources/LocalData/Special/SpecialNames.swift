public import DNSWire
public import Lookup
import Platform

/// The special-use domain names, answered as their registry entries prescribe, unless an override or zone answers
/// first.
///
/// - RFC: 6761 6; 6303; 7686 (onion); 9476 (alt); 6762 (local); 8375 (home.arpa); 9462 6.4 (resolver.arpa).
public struct SpecialNames: Sendable {
    /// The groups that the configuration can switch off.
    public enum Group: String, Sendable, CaseIterable, BitwiseCopyable {
        case localhost, invalid, test, onion, alt, local, canary
        case homeArpa = "home-arpa"
        case privateReverse = "private-reverse"
        case resolverArpa = "resolver-arpa"
    }

    /// How a name and the names below it are answered.
    private enum Treatment: UInt8, BitwiseCopyable {
        /// The loopback addresses, at the name and below it.
        case loopback
        /// NXDOMAIN, at the name and below it.
        case absent
        /// An empty zone: SOA and NS at the name, nothing below it.
        case emptyZone
        /// As `emptyZone`, except for one reverse name, 127.0.0.1's or ::1's, which is localhost.
        case loopbackReverse
        /// NODATA, at the name and below it.
        case empty
    }

    private struct Rule: Sendable {
        let domain: Domain
        let group: Group
        let treatment: Treatment
        let place: Place
    }

    private let rules: [Rule]
    /// Names forwarded all the same, because a route is configured for them.
    private let routed: [Domain]
    private let negativeSOA: [UInt8]
    /// Seconds.
    private let ttl: UInt32 = 10_800

    public static let none = SpecialNames(without: Set(Group.allCases), routed: [])

    /// Encrypted transports to announce (RFC 9462 4).
    private var designated: [DesignatedResolver] = []
    private static let designation = Domain(Name("_dns.resolver.arpa.") ?? .root)

    private static func isDesignation(_ name: borrowing LookupName) -> Bool { designation.start(in: name) == 0 }

    /// All groups except those in `without`. Names at or below one of `routed` are left to upstream.
    public init(without: Set<Group>, routed: [Name]) {
        rules = Self.registry.filter { !without.contains($0.group) }
        self.routed = routed.filter { !$0.isRoot }.map(Domain.init)
        negativeSOA = NegativeSOA.rdata(minimum: 10_800)
    }

    /// The same, with `designated` announced at `_dns.resolver.arpa`.
    public func announcing(_ designated: [DesignatedResolver]) -> SpecialNames {
        var names = self
        names.designated = designated
        return names
    }

    public func owns(_ name: borrowing LookupName) -> Bool { rule(for: name) != nil }

    /// Answers for the lookup's current name.
    public func answer(_ lookup: inout Lookup) -> Outcome {
        guard let match = rule(for: lookup.name) else { return .pass }
        let rule = rules[match.index]
        lookup.decision.source = .special
        lookup.decision.place = rule.place
        lookup.decision.authoritative = true
        // DS belongs to the parent, which proves nothing about these names: NODATA, never an error.
        switch rule.treatment {
        case .loopback:
            switch lookup.question.type {
            case .a: append(.a, Self.loopback4, &lookup)
            case .aaaa: append(.aaaa, Self.loopback6, &lookup)
            case .any:
                append(.a, Self.loopback4, &lookup)
                append(.aaaa, Self.loopback6, &lookup)
            default: writeNegative(match.label, &lookup)
            }
        case .absent:
            lookup.decision.responseCode = .nxDomain
            writeNegative(match.label, &lookup)
        case .empty:
            if lookup.question.type == .svcb || lookup.question.type == .any, !designated.isEmpty, match.label == 1,
                Self.isDesignation(lookup.name)
            {
                for resolver in designated { append(.svcb, resolver.rdata, &lookup) }
            } else {
                writeNegative(match.label, &lookup)
            }
        case .emptyZone, .loopbackReverse:
            if match.label == 0 {
                switch lookup.question.type {
                case .soa: append(.soa, negativeSOA, &lookup)
                case .ns: append(.ns, Self.localhost, &lookup)
                case .ptr where isLoopbackReverse(lookup.name), .any where isLoopbackReverse(lookup.name):
                    append(.ptr, Self.localhost, &lookup)
                default: writeNegative(match.label, &lookup)
                }
            } else if rule.treatment == .loopbackReverse, isLoopbackReverse(lookup.name) {
                if lookup.question.type == .ptr || lookup.question.type == .any {
                    append(.ptr, Self.localhost, &lookup)
                } else {
                    writeNegative(match.label, &lookup)
                }
            } else {
                lookup.decision.responseCode = .nxDomain
                writeNegative(match.label, &lookup)
            }
        }
        return .answered
    }

    private static let loopback4: [UInt8] = [127, 0, 0, 1]
    private static let loopback6: [UInt8] = [UInt8](repeating: 0, count: 15) + [1]
    private static let localhost: [UInt8] = Name("localhost.")?.wire ?? [0]

    private func append(_ type: RecordType, _ rdata: [UInt8], _ lookup: inout Lookup) {
        _ = rdata.withUnsafeBytes {
            lookup.builder.append(owner: .at(lookup.nameOffset), type: type, ttl: ttl, rdata: $0)
        }
    }

    private func writeNegative(_ label: Int, _ lookup: inout Lookup) {
        lookup.builder.begin(.authority)
        let owner = lookup.name.suffix(at: label)
        negativeSOA.withUnsafeBytes {
            _ = lookup.builder.append(
                owner: label == 0
                    ? .at(lookup.nameOffset) : .name(owner.baseAddress.unsafelyUnwrapped, length: owner.count),
                type: .soa, ttl: ttl, rdata: $0)
        }
    }

    private func isLoopbackReverse(_ name: borrowing LookupName) -> Bool {
        ReverseName.address(name)?.isLocalhost == true
    }

    /// The rule for the longest suffix of `name`, and the label at which that suffix starts.
    private func rule(for name: borrowing LookupName) -> (index: Int, label: Int)? {
        // Cheap test first: few names end in one of these top-level labels, and a switch on that label's length rejects
        // the rest.
        guard name.labelCount > 0, Self.mayBeSpecial(name) else { return nil }
        var best: (index: Int, label: Int)?
        for index in rules.indices {
            guard let label = rules[index].domain.start(in: name) else { continue }
            if best == nil || label < best?.label ?? 0 { best = (index, label) }
        }
        guard let found = best else { return nil }
        for index in routed.indices where routed[index].start(in: name) != nil {
            // The longer suffix wins: a route for 10.in-addr.arpa. beats the registry's rule for it.
            if routed[index].labelCount >= rules[found.index].domain.labelCount { return nil }
        }
        return best
    }

    private static func mayBeSpecial(_ name: borrowing LookupName) -> Bool {
        let last = name.label(at: name.labelCount - 1)
        switch last.count {
        case 3:
            return last[0] == UInt8(ascii: "a")
                || last[0] == UInt8(ascii: "n")  // alt, net (the canary)
                    && name.labelCount >= 2 && name.labelLength(at: name.labelCount - 2) == 19
        case 4: return last[0] == UInt8(ascii: "t") || last[0] == UInt8(ascii: "a")  // test, arpa
        case 5: return last[0] == UInt8(ascii: "o") || last[0] == UInt8(ascii: "l")  // onion, local
        case 7: return last[0] == UInt8(ascii: "i")  // invalid
        case 9: return last[0] == UInt8(ascii: "l")  // localhost
        default: return false
        }
    }

    private static let registry: [Rule] = {
        var rules: [Rule] = []
        func add(_ names: [String], _ group: Group, _ treatment: Treatment, _ document: String) {
            for text in names {
                guard let name = Name(text) else { continue }
                rules.append(
                    Rule(domain: Domain(name), group: group, treatment: treatment, place: Place(path: document)))
            }
        }
        add(["localhost."], .localhost, .loopback, "RFC 6761 6.3")
        add(["invalid."], .invalid, .absent, "RFC 6761 6.4")
        add(["test."], .test, .absent, "RFC 6761 6.2")
        add(["onion."], .onion, .absent, "RFC 7686 2")
        add(["alt."], .alt, .absent, "RFC 9476 3")
        add(["local."], .local, .absent, "RFC 6762 22.1")
        add(["use-application-dns.net."], .canary, .absent, "Mozilla canary domain")
        add(["home.arpa."], .homeArpa, .emptyZone, "RFC 8375 4")
        add(["resolver.arpa."], .resolverArpa, .empty, "RFC 9462 6.4")
        add(["127.in-addr.arpa."], .localhost, .loopbackReverse, "RFC 6303 4.2")
        let zeros = String(repeating: "0.", count: 31)
        add(["1.\(zeros)ip6.arpa."], .localhost, .loopbackReverse, "RFC 6303 4.3")
        add(["0.\(zeros)ip6.arpa."], .privateReverse, .emptyZone, "RFC 6303 4.3")
        add(
            ["10.in-addr.arpa.", "168.192.in-addr.arpa."] + (16...31).map { "\($0).172.in-addr.arpa." },
            .privateReverse, .emptyZone, "RFC 6303 4.1")
        add(
            [
                "0.in-addr.arpa.", "254.169.in-addr.arpa.", "2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.",
                "113.0.203.in-addr.arpa.", "255.255.255.255.in-addr.arpa.",
            ], .privateReverse, .emptyZone, "RFC 6303 4.2")
        add((64...127).map { "\($0).100.in-addr.arpa." }, .privateReverse, .emptyZone, "RFC 7793 2")
        add(["d.f.ip6.arpa."], .privateReverse, .emptyZone, "RFC 6303 4.4")
        add(
            ["8.e.f.ip6.arpa.", "9.e.f.ip6.arpa.", "a.e.f.ip6.arpa.", "b.e.f.ip6.arpa."], .privateReverse, .emptyZone,
            "RFC 6303 4.5")
        add(["8.b.d.0.1.0.0.2.ip6.arpa."], .privateReverse, .emptyZone, "RFC 6303 4.6")
        return rules
    }()
}
