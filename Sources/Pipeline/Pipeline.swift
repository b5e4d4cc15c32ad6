public import DNSWire
public import LocalData
public import Lookup
public import Platform
public import Upstream

/// Every lookup's sequence of stages: checks, then the sources in order, repeated for the target of each alias.
///
/// For the QNAME, and again for each alias's target, the first source that owns the name answers. A fresh query, a
/// resumed miss, an explanation and the tests all go through here; a source of answers is one line of `sources`.
///
/// Immutable: a reload builds a new one.
/// - RFC: 1034 4.3.2.
public struct Pipeline: Sendable {
    public typealias Admission = Then<Then<Then<AccessStage, IdentityStage>, QueryTypeStage>, TransferStage>
    package typealias Local = Then<Then<Then<RuleStage, OverrideStage>, ZoneStage>, SpecialStage>
    package typealias Sources = Then<Then<Then<Local, PrivateAddressPolicy>, CacheStage<Local>>, ForwardStage>

    /// Run once per query: who may ask, and queries that are no lookup.
    public let admission: Admission
    /// Run for each name: the sources in order. Those of `Local` answer from this machine's own data.
    package let sources: Sources

    public let access: AccessStage
    /// The stage of rules refers to it.
    package let rules: RuleSet
    public let overrides: OverrideStage
    public let zones: ZoneSet
    public let special: SpecialNames
    public let cache: AnswerCache
    public let routes: ForwardRoutes
    public let privateAddresses: PrivateAddressPolicy

    package init(
        rules: RuleSet = .none, hosts: HostsTable, leases: HostsTable? = nil, zones: ZoneSet,
        special: SpecialNames, cache: AnswerCache,
        routes: ForwardRoutes = .everything, privateAddresses: PrivateAddressPolicy = .allowing,
        access: AccessList = .loopback, identity: ServerIdentity = .none
    ) {
        self.rules = rules
        overrides = OverrideStage(hosts: hosts, leases: leases)
        self.zones = zones
        self.special = special
        self.cache = cache
        self.routes = routes
        self.privateAddresses = privateAddresses
        self.access = AccessStage(access)
        admission = Self.admission(self.access, identity, zones)
        let local = Self.local(RuleStage(rules), overrides, zones, special)
        sources = Self.sources(local, cache, routes, privateAddresses)
    }

    @StageList
    private static func admission(_ access: AccessStage, _ identity: ServerIdentity, _ zones: ZoneSet) -> Admission {
        access
        IdentityStage(identity)
        QueryTypeStage()
        TransferStage(zones)
    }

    @StageList
    private static func local(
        _ rules: RuleStage, _ overrides: OverrideStage, _ zones: ZoneSet, _ special: SpecialNames
    ) -> Local {
        rules
        overrides
        ZoneStage(zones)
        SpecialStage(special)
    }

    @StageList
    private static func sources(
        _ local: Local, _ cache: AnswerCache, _ routes: ForwardRoutes, _ privateAddresses: PrivateAddressPolicy
    ) -> Sources {
        local
        privateAddresses
        CacheStage(cache, behind: local, routes)
        ForwardStage()
    }

    /// Places that stages name and that are no files. Known from the start, so that serving threads find their texts.
    public static let documents = [SpecialStage.document, IdentityStage.document]

    // MARK: Prefetch

    /// How many steps `prefetch` has.
    public static let prefetchSteps = 4

    /// Prefetches the memory that a lookup of `name` will read, one dependent access per `step`, from 0 on.
    ///
    /// Within one lookup each access waits for the one before it. Done step by step for all queries of a batch, the
    /// waits overlap.
    public func prefetch(_ name: borrowing LookupName, step: Int) { sources.prefetch(name, step: step) }

    /// Whether a local source, not cache or upstream, answers for `name`.
    public func isLocal(_ name: borrowing LookupName) -> Bool { sources.owns(name) }

    // MARK: Answering

    /// Answers the lookup's query if admission allows it: `.answered`, `.needs` or `.transfer`.
    public func answer(_ lookup: inout Lookup) -> Outcome {
        let outcome = admission.answer(&lookup)
        return outcome == .pass ? resolve(&lookup) : outcome
    }

    /// Asks the sources for the lookup's name and for each alias's target: `.answered` or `.needs`.
    public func resolve(_ lookup: inout Lookup) -> Outcome {
        let outcome = followChain(&lookup)
        if !lookup.faults.isEmpty, outcome == .answered { lookup.applyFaults() }
        return outcome
    }

    @inline(__always)
    private func followChain(_ lookup: inout Lookup) -> Outcome {
        var authoritative = false
        var seen = InlineArray<17, UInt64>(repeating: 0)
        let mayForward = lookup.question.mayForward

        while true {
            let hops = lookup.decision.hopCount
            if mayForward {
                let coverage = routes.coverage(of: lookup.name)
                lookup.question.mayForward = coverage != .none
                lookup.isCutOff = coverage == .withoutServer
            }
            seen[hops] = lookup.name.hash
            let outcome = sources.review(sources.answer(&lookup), &lookup)
            // AA is about the owner name that matches the question (RFC 1035 4.1.1).
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
                if lookup.isCutOff {
                    // In a chain, a target that can't be asked for must not look as if it had no data.
                    lookup.decision.fail(
                        hops > 0 ? .serverFailure : .refused, .noReachableAuthority,
                        "no upstream server is known at the moment")
                } else if hops > 0 {
                    // The chain so far stands. No source here knows its target, so the last link is the last hop.
                    proveWildcards(&lookup)
                } else {
                    lookup.decision.fail(.refused, .notAuthoritative, "no local data, and not forwarded")
                }
                return .answered
            }
        }
    }

    /// Goes on to the alias's target, at `offset` of the response; false if the chain must end.
    private func follow(_ offset: Int, _ seen: borrowing InlineArray<17, UInt64>, _ lookup: inout Lookup) -> Bool {
        guard appendHop(&lookup), lookup.decision.hopCount < Decision.maximumHops else {
            lookup.decision.fail(.serverFailure, .other, "the chain of CNAMEs is longer than 16")
            return false
        }
        // The target was just written here; if it can't be read, that is a bug.
        guard lookup.name.assign(message: lookup.builder.message, at: offset) > 0 else {
            lookup.decision.fail(.serverFailure, .other, "the target of a CNAME could not be read")
            return false
        }
        for index in 0..<lookup.decision.hopCount where seen[index] == lookup.name.hash {
            lookup.decision.fail(.serverFailure, .other, "the CNAMEs form a loop")
            return false
        }
        lookup.nameOffset = lookup.builder.resolvePointer(at: offset)
        lookup.mark = lookup.builder.mark
        lookup.reach = .everything
        lookup.isBelowCut = false
        return true
    }

    /// Adds the name that was answered last as the last hop.
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

    /// Adds the proofs for links of the chain that came from a wildcard of a signed zone, after all answers.
    private func proveWildcards(_ lookup: inout Lookup) {
        guard lookup.question.dnssecOK else { return }
        for index in 0..<lookup.decision.hopCount where lookup.decision.hop(index).source == .zone {
            let offset = Int(lookup.decision.hop(index).nameOffset)
            guard lookup.scratch.assign(message: lookup.builder.message, at: offset) > 0 else { continue }
            zones.proveWildcard(lookup.scratch, builder: &lookup.builder)
        }
    }
}
