public import DNSWire
public import LocalData
public import Lookup
public import Platform
public import Upstream

/// The way of every lookup: the stages before the sources, the sources in their order, what follows an alias.
///
/// For the query name, and again for each alias's target, the first source that owns the name answers. A query, one that
/// waited for upstream, an explanation and the tests take the same way; a source of answers is one line of `sources`.
///
/// Immutable: a reload builds another beside it.
/// - RFC: 1034 4.3.2.
public struct Pipeline: Sendable {
    public typealias Admission = Then<Then<Then<AccessStage, IdentityStage>, QueryTypeStage>, TransferStage>
    public typealias Local = Then<Then<OverrideStage, ZoneStage>, SpecialStage>
    public typealias Sources = Then<Then<Local, RememberedStage<Local>>, ForwardStage>

    /// Once a query: who may ask, and what is no lookup.
    public let admission: Admission
    /// For each name: the order of the sources. Those of `Local` answer from this machine's own data.
    public let sources: Sources

    public let access: AccessStage
    public let overrides: OverrideStage
    public let zones: ZoneSet
    public let special: SpecialNames
    public let cache: AnswerCache
    public let routes: ForwardRoutes

    public init(
        hosts: HostsTable, leases: HostsTable? = nil, zones: ZoneSet, special: SpecialNames, cache: AnswerCache,
        routes: ForwardRoutes = .everything, access: AccessList = .loopback, identity: ServerIdentity = .none
    ) {
        overrides = OverrideStage(hosts: hosts, leases: leases)
        self.zones = zones
        self.special = special
        self.cache = cache
        self.routes = routes
        self.access = AccessStage(access)
        admission = Self.admission(self.access, identity, zones)
        let local = Self.local(overrides, zones, special)
        sources = Self.sources(local, cache)
    }

    @StageList
    private static func admission(_ access: AccessStage, _ identity: ServerIdentity, _ zones: ZoneSet) -> Admission {
        access
        IdentityStage(identity)
        QueryTypeStage()
        TransferStage(zones)
    }

    @StageList
    private static func local(_ overrides: OverrideStage, _ zones: ZoneSet, _ special: SpecialNames) -> Local {
        overrides
        ZoneStage(zones)
        SpecialStage(special)
    }

    @StageList
    private static func sources(_ local: Local, _ cache: AnswerCache) -> Sources {
        local
        RememberedStage(cache, behind: local)
        ForwardStage()
    }

    /// The places that stages name and no file has: known from the start, so that serving threads find their texts.
    public static let documents = [SpecialStage.document, IdentityStage.document]

    // MARK: Prefetch

    /// How many steps `prefetch` has.
    public static let prefetchSteps = 4

    /// Brings near the memory that a lookup of `name` will look at: one more of its steps with each `step`, from 0 on.
    ///
    /// One after the other, each step of a lookup waits for memory; step by step for all queries of a batch, the waits
    /// run beside each other.
    public func prefetch(_ name: borrowing LookupName, step: Int) { sources.prefetch(name, step: step) }

    /// Whether a source other than cache and upstream answers for `name`.
    public func isLocal(_ name: borrowing LookupName) -> Bool { sources.owns(name) }

    // MARK: The way

    /// Answers the query of `lookup`, if it may be asked: `.answered`, `.needs` or `.transfer`.
    public func answer(_ lookup: inout Lookup) -> Outcome {
        let outcome = admission.answer(&lookup)
        return outcome == .pass ? resolve(&lookup) : outcome
    }

    /// Asks the sources for the lookup's name, and for each alias's target: `.answered` or `.needs`.
    public func resolve(_ lookup: inout Lookup) -> Outcome {
        var authoritative = false
        var seen = InlineArray<17, UInt64>(repeating: 0)
        let mayForward = lookup.question.mayForward

        while true {
            let hops = lookup.decision.hopCount
            lookup.question.mayForward = mayForward && routes.covers(lookup.name)
            seen[hops] = lookup.name.hash
            let outcome = sources.review(sources.answer(&lookup), &lookup)
            // AA speaks of the owner name that matches the question (RFC 1035 4.1.1).
            if hops == 0 {
                authoritative = lookup.decision.authoritative
            } else {
                lookup.decision.authoritative = authoritative
            }

            switch outcome {
            case .answered:
                finish(&lookup)
                return .answered
            case .needs, .transfer: return outcome
            case .chase(let target):
                guard follow(target, seen, &lookup) else { return .answered }
            case .pass:
                if hops > 0 {
                    // What was found stands; where it leads is not for us to say, so the last link is the last hop.
                    proveWildcards(&lookup)
                } else {
                    lookup.decision.fail(.refused, .notAuthoritative, "no local data, and not forwarded")
                }
                return .answered
            }
        }
    }

    /// Goes on to the alias's target at `offset` of the response; false where the chain may not go on.
    private func follow(_ offset: Int, _ seen: borrowing InlineArray<17, UInt64>, _ lookup: inout Lookup) -> Bool {
        guard appendHop(&lookup), lookup.decision.hopCount < Decision.maximumHops else {
            lookup.decision.fail(.serverFailure, .other, "the chain of CNAMEs is longer than 16")
            return false
        }
        // The response itself holds the target; an unreadable one would be a fault of ours.
        guard lookup.name.assign(message: lookup.builder.message, at: offset) > 0 else {
            lookup.decision.fail(.serverFailure, .other, "the target of a CNAME could not be read")
            return false
        }
        for index in 0..<lookup.decision.hopCount where seen[index] == lookup.name.hash {
            lookup.decision.fail(.serverFailure, .other, "the CNAMEs form a loop")
            return false
        }
        lookup.nameOffset = lookup.builder.resolvePointer(at: offset)
        lookup.reach = .everything
        lookup.isBelowCut = false
        return true
    }

    /// Ends a chain with the name that was answered last.
    private func finish(_ lookup: inout Lookup) {
        guard lookup.decision.hopCount > 0, lookup.decision.source != .none else { return }
        proveWildcards(&lookup)
        _ = appendHop(&lookup)
    }

    private func appendHop(_ lookup: inout Lookup) -> Bool {
        lookup.decision.appendHop(
            Decision.Hop(
                nameOffset: UInt16(truncatingIfNeeded: lookup.nameOffset), source: lookup.decision.source,
                place: lookup.decision.place))
    }

    /// The proofs of the chain's links that came from a wildcard of a signed zone, behind all its answers.
    private func proveWildcards(_ lookup: inout Lookup) {
        guard lookup.question.dnssecOK else { return }
        for index in 0..<lookup.decision.hopCount where lookup.decision.hop(index).source == .zone {
            let offset = Int(lookup.decision.hop(index).nameOffset)
            guard lookup.scratch.assign(message: lookup.builder.message, at: offset) > 0 else { continue }
            zones.proveWildcard(lookup.scratch, builder: &lookup.builder)
        }
    }
}
