public import DNSWire

/// What upstream has said for one lookup while it waited: asked before the cache, good for this lookup only.
///
/// An answer may have TTL 0 or be an error, and so never reach the cache; the lookup that waited for it still gets it.
public struct FreshAnswers: Sendable {
    public struct Fresh: Sendable {
        public var answer: UpstreamAnswer
        public var origin: UpstreamAnswer.Origin
    }

    // One is what most lookups need: it costs no array.
    private var first: Fresh?
    private var more: [Fresh] = []

    /// None: what the fast lane passes.
    public static let none = FreshAnswers()

    public init() {}

    public var count: Int { first == nil ? 0 : 1 + more.count }

    public mutating func append(_ answer: UpstreamAnswer, from origin: UpstreamAnswer.Origin = .init()) {
        let fresh = Fresh(answer: answer, origin: origin)
        if first == nil { first = fresh } else { more.append(fresh) }
    }

    /// What was said about `name`.
    public func answer(to question: Question, about name: borrowing LookupName) -> Fresh? {
        guard let first else { return nil }
        return first.answer.matches(name, question)
            ? first : more.first { $0.answer.matches(name, question) }
    }
}
