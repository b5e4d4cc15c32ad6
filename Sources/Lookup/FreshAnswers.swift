public import DNSWire

/// Upstream's answers to one waiting lookup: consulted before the cache, valid for this lookup only.
///
/// An answer with TTL 0, or an error, never reaches the cache; the lookup that waited for it still gets it.
public struct FreshAnswers: Sendable {
    public struct Fresh: Sendable {
        public var answer: UpstreamAnswer
        public var origin: UpstreamAnswer.Origin
    }

    // Most lookups need only one, which costs no array.
    private var first: Fresh?
    private var more: [Fresh] = []

    /// What the fast lane passes.
    public static let none = FreshAnswers()

    public init() {}

    public var count: Int { first == nil ? 0 : 1 + more.count }

    public mutating func append(_ answer: UpstreamAnswer, from origin: UpstreamAnswer.Origin = .init()) {
        let fresh = Fresh(answer: answer, origin: origin)
        if first == nil { first = fresh } else { more.append(fresh) }
    }

    /// The answer about `name`, if upstream gave one.
    public func answer(to question: Question, about name: borrowing LookupName) -> Fresh? {
        guard let first else { return nil }
        return first.answer.matches(name, question)
            ? first : more.first { $0.answer.matches(name, question) }
    }
}
