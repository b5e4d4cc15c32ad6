package import DNSWire
package import LocalData
package import Lookup
package import Platform
package import Upstream

/// The order in which sources are asked: overrides, zones, special-use names, then the cache.
///
/// For the query name, and again for each CNAME target, the first source that owns the name answers. What none of them
/// can answer is upstream's: `resolve` then says so and leaves the name to be asked in `name`. When upstream has
/// answered, the same chain runs again from the start with that answer in `fresh`, so there is one way to an answer.
///
/// The local part is an immutable snapshot; the chain is plain references to it, taken once per batch.
package struct SourceChain: Sendable {
    package enum Resolution: Sendable, Hashable, BitwiseCopyable {
        /// The response and the decision are complete.
        case answered
        /// Upstream has to be asked for the name that `name` now holds.
        case needsUpstream
    }

    package let hosts: HostsTable
    /// Overrides that were added at run time: asked before all others.
    package let leases: HostsTable
    private let hasLeases: Bool
    package let zones: ZoneSet
    package let special: SpecialNames
    package let cache: AnswerCache
    package let routes: ForwardRoutes

    package init(
        hosts: HostsTable, leases: HostsTable? = nil, zones: ZoneSet, special: SpecialNames, cache: AnswerCache,
        routes: ForwardRoutes = .everything
    ) {
        self.hosts = hosts
        self.leases = leases ?? .empty()
        hasLeases = self.leases.nameCount > 0
        self.zones = zones
        self.special = special
        self.cache = cache
        self.routes = routes
    }

    /// How many steps `prefetch` has.
    package static let prefetchSteps = 4

    /// Brings near the memory that a lookup of `name` will look at: one more of its steps with each `step`, from 0 on.
    ///
    /// One after the other, each step of a lookup waits for memory; step by step for all queries of a batch, the waits
    /// run beside each other.
    package func prefetch(_ name: borrowing LookupName, step: Int) {
        if hasLeases { leases.prefetch(name, step: step) }
        hosts.prefetch(name, step: step)
        zones.prefetch(name, step: step)
    }

    /// Whether a source other than cache and upstream answers for `name`.
    package func isLocal(_ name: borrowing LookupName) -> Bool {
        isOverridden(name) || zones.owns(name) || special.owns(name)
    }

    private func isOverridden(_ name: borrowing LookupName) -> Bool {
        hasLeases && leases.owns(name) || hosts.owns(name)
    }

    /// Writes the answer for `name` into `builder`, and the reason into `decision`.
    ///
    /// `fresh` holds what upstream has just said for this very lookup; `now` is monotonic time in microseconds.
    package func resolve(
        _ name: inout LookupName, _ question: Question, now: UInt64, fresh: borrowing FreshAnswers,
        allowStale: Bool = false, builder: inout ResponseBuilder, decision: inout Decision,
        scratch: inout LookupName
    ) -> Resolution {
        var nameOffset = Header.length
        var authoritative = false
        var seen = InlineArray<17, UInt64>(repeating: 0)
        let mayForward = question.mayForward
        var question = question

        while true {
            let hops = decision.hopCount
            question.mayForward = mayForward && routes.covers(name)
            seen[hops] = name.hash
            let outcome = ask(
                name, nameOffset: nameOffset, question, now: now, fresh: fresh, allowStale: allowStale,
                builder: &builder, decision: &decision, scratch: &scratch)
            // AA speaks of the owner name that matches the question (RFC 1035 4.1.1).
            if hops == 0 { authoritative = decision.authoritative } else { decision.authoritative = authoritative }

            switch outcome {
            case .answered:
                return finish(nameOffset, question, &builder, &decision, &scratch)
            case .chase(let targetOffset):
                let hop = Decision.Hop(
                    nameOffset: UInt16(truncatingIfNeeded: nameOffset), source: decision.source, place: decision.place)
                guard decision.appendHop(hop), decision.hopCount < Decision.maximumHops else {
                    decision.fail(.serverFailure, .other, "the chain of CNAMEs is longer than 16")
                    return .answered
                }
                // The response itself holds the target; an unreadable one would be a fault of ours.
                guard name.assign(message: builder.message, at: targetOffset) > 0 else {
                    decision.fail(.serverFailure, .other, "the target of a CNAME could not be read")
                    return .answered
                }
                for index in 0..<decision.hopCount where seen[index] == name.hash {
                    decision.fail(.serverFailure, .other, "the CNAMEs form a loop")
                    return .answered
                }
                nameOffset = builder.resolvePointer(at: targetOffset)
            case .pass, .forward:
                if question.mayForward { return .needsUpstream }
                if decision.hopCount > 0 {
                    // What was found stands; where it leads is not for us to say, so the last link is the last hop.
                    if question.dnssecOK { proveWildcards(&builder, decision, &scratch) }
                    return .answered
                }
                decision.fail(.refused, .notAuthoritative, "no local data, and not forwarded")
                return .answered
            }
        }
    }

    private func finish(
        _ nameOffset: Int, _ question: Question, _ builder: inout ResponseBuilder, _ decision: inout Decision,
        _ scratch: inout LookupName
    ) -> Resolution {
        if decision.hopCount > 0 {
            if question.dnssecOK { proveWildcards(&builder, decision, &scratch) }
            _ = decision.appendHop(
                Decision.Hop(
                    nameOffset: UInt16(truncatingIfNeeded: nameOffset), source: decision.source, place: decision.place))
        }
        return .answered
    }

    /// The proofs of the chain's links that came from a wildcard of a signed zone, behind all its answers.
    private func proveWildcards(
        _ builder: inout ResponseBuilder, _ decision: borrowing Decision, _ scratch: inout LookupName
    ) {
        for index in 0..<decision.hopCount where decision.hop(index).source == .zone {
            guard scratch.assign(message: builder.message, at: Int(decision.hop(index).nameOffset)) > 0 else {
                continue
            }
            zones.proveWildcard(scratch, builder: &builder)
        }
    }

    /// Leaves out a zone's additional addresses when one of them belongs to an overridden name: they would lead
    /// around the override.
    private func dropOverriddenAddresses(_ builder: inout ResponseBuilder, _ scratch: inout LookupName) {
        var cursor = builder.questionEnd
        var start = cursor
        let others = Int(builder.answers) + Int(builder.authority)
        for index in 0..<(others + Int(builder.additional)) {
            guard let record = MessageReader.record(builder.message, at: cursor) else { return }
            if index == others { start = cursor }
            cursor = record.end
            guard index >= others, scratch.assign(message: builder.message, at: record.start) > 0 else { continue }
            if isOverridden(scratch) { return builder.dropAdditional(from: start) }
        }
    }

    /// One name, through all sources in their order.
    private func ask(
        _ name: borrowing LookupName, nameOffset: Int, _ question: Question, now: UInt64,
        fresh: borrowing FreshAnswers, allowStale: Bool, builder: inout ResponseBuilder, decision: inout Decision,
        scratch: inout LookupName
    ) -> Outcome {
        if hasLeases {
            switch leases.answer(
                name, nameOffset: nameOffset, question: question, before: hosts, builder: &builder,
                decision: &decision)
            {
            case .answered: return .answered
            case .exists(let zonesOnly):
                return askBeyondOverride(
                    leases, name, nameOffset: nameOffset, question, now: now, fresh: fresh, allowStale: allowStale,
                    zonesOnly: zonesOnly, builder: &builder, decision: &decision, scratch: &scratch)
            case .pass: break
            }
        }
        switch hosts.answer(
            name, nameOffset: nameOffset, question: question, builder: &builder, decision: &decision)
        {
        case .answered: return .answered
        case .exists(let zonesOnly):
            return askBeyondOverride(
                hosts, name, nameOffset: nameOffset, question, now: now, fresh: fresh, allowStale: allowStale,
                zonesOnly: zonesOnly, builder: &builder, decision: &decision, scratch: &scratch)
        case .pass: break
        }

        let zone = zones.answer(
            name, nameOffset: nameOffset, question: question, builder: &builder, decision: &decision)
        switch zone {
        case .answered:
            if builder.additional > 0, decision.authoritative { dropOverriddenAddresses(&builder, &scratch) }
            return zone
        case .chase: return zone
        case .forward: break
        case .pass:
            let answer = special.answer(
                name, nameOffset: nameOffset, question: question, builder: &builder, decision: &decision)
            if answer != .pass { return answer }
        }
        guard question.mayForward else { return .pass }
        // Nobody needs all types of a forwarded name, but whoever amplifies does (RFC 8482 4.2).
        if question.type == .any { return answerANY(nameOffset, &builder, &decision) }
        return askRemembered(
            name, nameOffset: nameOffset, question, now: now, fresh: fresh, allowStale: allowStale,
            builder: &builder, decision: &decision, scratch: &scratch)
    }

    /// What upstream has said: just now for this lookup, or earlier.
    private func askRemembered(
        _ name: borrowing LookupName, nameOffset: Int, _ question: Question, now: UInt64,
        fresh: borrowing FreshAnswers, allowStale: Bool, builder: inout ResponseBuilder, decision: inout Decision,
        scratch: inout LookupName
    ) -> Outcome {
        let mark = builder.mark
        let outcome = fresh.answer(
            name, nameOffset: nameOffset, question: question, builder: &builder, decision: &decision,
            target: &scratch, trustAuthenticData: cache.settings.trustAuthenticData, isLocal: { isLocal($0) })
        if outcome == .answered, decision.responseCode == .serverFailure, cache.settings.serveStale {
            // A failure is no better than silence: what is held, however old, comes before it (RFC 8767 4).
            let failure = decision
            builder.rollback(to: mark)
            let held = cache.answer(
                name, nameOffset: nameOffset, question: question, now: now, allowStale: true, builder: &builder,
                decision: &decision, target: &scratch, isLocal: { isLocal($0) })
            if held != .pass, decision.source == .stale { return held }
            builder.rollback(to: mark)
            decision = failure
            return .answered
        }
        if outcome != .pass { return outcome }
        return cache.answer(
            name, nameOffset: nameOffset, question: question, now: now, allowStale: allowStale, builder: &builder,
            decision: &decision, target: &scratch, isLocal: { isLocal($0) })
    }

    /// A type that the override says nothing about. The name exists, so that neither its absence elsewhere nor an alias
    /// that leads around the override may come through: both become NODATA.
    private func askBeyondOverride(
        _ overrides: HostsTable, _ name: borrowing LookupName, nameOffset: Int, _ question: Question, now: UInt64,
        fresh: borrowing FreshAnswers, allowStale: Bool, zonesOnly: Bool, builder: inout ResponseBuilder,
        decision: inout Decision, scratch: inout LookupName
    ) -> Outcome {
        let mark = builder.mark
        var outcome = zones.answer(
            name, nameOffset: nameOffset, question: question, builder: &builder, decision: &decision)
        if outcome == .pass || outcome == .forward, !zonesOnly, question.mayForward {
            outcome = askRemembered(
                name, nameOffset: nameOffset, question, now: now, fresh: fresh, allowStale: allowStale,
                builder: &builder, decision: &decision, scratch: &scratch)
            if outcome == .pass { return .pass }
        }
        if outcome == .answered, decision.responseCode == .noError, builder.answers > mark.answers { return .answered }
        if outcome == .answered, decision.responseCode == .serverFailure { return .answered }
        // Who passes a type on wants what is there, the aliases of a CDN among it.
        if !zonesOnly, case .chase = outcome { return outcome }
        builder.rollback(to: mark)
        overrides.answerNoData(
            name, nameOffset: nameOffset, question: question, builder: &builder, decision: &decision)
        return .answered
    }

    private func answerANY(
        _ nameOffset: Int, _ builder: inout ResponseBuilder, _ decision: inout Decision
    ) -> Outcome {
        decision.source = .special
        decision.place = Self.minimalANY
        let rdata: InlineArray<9, UInt8> = [7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0]  // "RFC8482" ""
        rdata.span.withUnsafeBytes {
            _ = builder.append(owner: .at(nameOffset), type: .hinfo, ttl: 3600, rdata: $0)
        }
        return .answered
    }

    private static let minimalANY = Place(path: "RFC 8482 4.2")
    /// The places that are the chain's own.
    package static let documents = [minimalANY]
}
