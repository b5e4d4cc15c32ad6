import DNSWire
public import Lookup

/// The stage of upstream's answers: those just given to this lookup, then the cache.
///
/// `local` are the sources before it: they answer for an alias's target if it is theirs. Otherwise the servers of the
/// target's route do.
public struct CacheStage<Local: Stage>: Stage {
    public let cache: AnswerCache
    private let local: Local
    private let routes: ForwardRoutes

    public init(_ cache: AnswerCache, behind local: Local, _ routes: ForwardRoutes) {
        self.cache = cache
        self.local = local
        self.routes = routes
    }

    public static var kind: SourceKind? { .cache }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        guard lookup.question.mayForward, lookup.reach != .zonesOnly else { return .pass }
        if lookup.upstream.answers.count > 0 {
            let outcome = answerFresh(&lookup)
            if outcome != .pass { return outcome }
        }
        return answerHeld(&lookup, allowStale: lookup.upstream.allowStale || lookup.isCutOff)
    }

    private func answerFresh(_ lookup: inout Lookup) -> Outcome {
        guard let fresh = lookup.upstream.answers.answer(to: lookup.question, about: lookup.name) else { return .pass }
        let mark = lookup.builder.mark
        let outcome = fresh.answer.write(
            &lookup, from: fresh.origin, trustAuthenticData: cache.settings.trustAuthenticData
        ) { local.owns($1) || routes.separate($1, from: $0) }
        guard outcome == .answered, lookup.decision.responseCode == .serverFailure, cache.settings.serveStale else {
            return outcome
        }
        // A failure is no better than silence: a cached answer, however old, is preferred (RFC 8767 4).
        let failure = lookup.decision
        lookup.builder.rollback(to: mark)
        let held = answerHeld(&lookup, allowStale: true)
        if held != .pass, lookup.decision.source == .stale { return held }
        lookup.builder.rollback(to: mark)
        lookup.decision = failure
        return .answered
    }

    @inline(__always)
    private func answerHeld(_ lookup: inout Lookup, allowStale: Bool) -> Outcome {
        cache.answer(&lookup, allowStale: allowStale) { local.owns($1) || routes.separate($1, from: $0) }
    }
}
