package import DNSWire

/// What upstream has said for one lookup while it waited: asked before the cache, good for this lookup only.
///
/// An answer may have TTL 0 or be an error, and so never reach the cache; the lookup that waited for it still gets it.
package struct FreshAnswers: Sendable {
    private struct Fresh {
        var answer: UpstreamAnswer
        var origin: UpstreamAnswer.Origin
    }

    // One is what most lookups need: it costs no array.
    private var first: Fresh?
    private var more: [Fresh] = []

    /// None: what the fast lane passes.
    package static let none = FreshAnswers()

    package init() {}

    package var count: Int { first == nil ? 0 : 1 + more.count }

    package mutating func append(_ answer: UpstreamAnswer, from origin: UpstreamAnswer.Origin = .init()) {
        let fresh = Fresh(answer: answer, origin: origin)
        if first == nil { first = fresh } else { more.append(fresh) }
    }

    package func answer(
        _ name: borrowing LookupName, nameOffset: Int, question: Question, builder: inout ResponseBuilder,
        decision: inout Decision, target: inout LookupName, trustAuthenticData: Bool,
        isLocal: (borrowing LookupName) -> Bool
    ) -> Outcome {
        guard let fresh = fresh(name, question) else { return .pass }
        return fresh.answer.write(
            from: fresh.origin, nameOffset: nameOffset, builder: &builder, decision: &decision, target: &target,
            trustAuthenticData: trustAuthenticData, isLocal: isLocal)
    }
    private func fresh(_ name: borrowing LookupName, _ question: Question) -> Fresh? {
        guard let first else { return nil }
        return first.answer.matches(name, question)
            ? first : more.first { $0.answer.matches(name, question) }
    }
}
