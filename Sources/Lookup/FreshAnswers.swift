package import DNSWire

/// What upstream has said for one lookup while it waited: asked before the cache, good for this lookup only.
///
/// An answer may have TTL 0 or be an error, and so never reach the cache; the lookup that waited for it still gets it.
package struct FreshAnswers: Sendable {
    package struct Fresh: Sendable {
        package var answer: UpstreamAnswer
        package var origin: UpstreamAnswer.Origin
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

    /// What was said about `name`.
    package func answer(to question: Question, about name: borrowing LookupName) -> Fresh? {
        guard let first else { return nil }
        return first.answer.matches(name, question)
            ? first : more.first { $0.answer.matches(name, question) }
    }
}
