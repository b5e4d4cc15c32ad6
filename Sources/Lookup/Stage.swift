public import DNSWire

/// What a stage did about a lookup.
public enum Outcome: Hashable, Sendable, BitwiseCopyable {
    /// It is not the stage's: the next one is asked. Nothing was written.
    case pass
    /// The response holds the answer (or NODATA, NXDOMAIN, a referral, an error); the decision says which.
    case answered
    /// A CNAME was written; its target stands at this offset of the message and is to be looked up next.
    case chase(Int)
    /// Upstream has to be asked for `Lookup.wanted`; then the lookup begins again with what upstream has said.
    case needs
    /// A zone is to follow over the stream: the one whose apex is the name (RFC 5936).
    case transfer
}

/// One step of a lookup's way: a source of answers, or what comes before and after the sources.
///
/// Immutable; one value serves all threads. On the fast lane, so it neither allocates nor waits.
public protocol Stage: Sendable {
    /// The source it is; nil where it is none.
    static var kind: SourceKind? { get }

    /// Answers the lookup's current name, or passes.
    func answer(_ lookup: inout Lookup) -> Outcome

    /// Sees what came of the current name, from whichever stage, and may rewrite it.
    func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome

    /// Whether it answers for `name` from local data.
    func owns(_ name: borrowing LookupName) -> Bool

    /// Brings near the memory that a lookup of `name` will look at: one more of its steps with each `step`, from 0 on.
    func prefetch(_ name: borrowing LookupName, step: Int)

    /// Shows `visitor` each stage of the list that this one is; a stage alone is a list of one.
    func visit(_ visitor: inout some StageVisitor)
}

extension Stage {
    public func visit(_ visitor: inout some StageVisitor) { visitor.visit(self) }
    @inlinable public static var kind: SourceKind? { nil }
    @inlinable public func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome { outcome }
    @inlinable public func owns(_ name: borrowing LookupName) -> Bool { false }
    @inlinable public func prefetch(_ name: borrowing LookupName, step: Int) {}
}

/// Looks at each stage of a list in its order.
public protocol StageVisitor {
    mutating func visit(_ stage: some Stage)
}

/// Two stages, or lists of them, one after the other: the whole list is one type, known to the compiler.
public struct Then<First: Stage, Second: Stage>: Stage {
    public let first: First
    public let second: Second

    @inlinable
    public init(_ first: First, _ second: Second) {
        self.first = first
        self.second = second
    }

    @inlinable @inline(__always)
    public func answer(_ lookup: inout Lookup) -> Outcome {
        let outcome = first.answer(&lookup)
        guard outcome == .pass else { return outcome }
        return second.answer(&lookup)
    }

    @inlinable @inline(__always)
    public func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome {
        first.review(second.review(outcome, &lookup), &lookup)
    }

    @inlinable @inline(__always)
    public func owns(_ name: borrowing LookupName) -> Bool { first.owns(name) || second.owns(name) }

    @inlinable @inline(__always)
    public func prefetch(_ name: borrowing LookupName, step: Int) {
        first.prefetch(name, step: step)
        second.prefetch(name, step: step)
    }

    public func visit(_ visitor: inout some StageVisitor) {
        first.visit(&visitor)
        second.visit(&visitor)
    }
}

/// Writes a list of stages as lines, first to last.
@resultBuilder
public enum StageList {
    @inlinable public static func buildPartialBlock<S: Stage>(first: S) -> S { first }

    @inlinable
    public static func buildPartialBlock<A: Stage, B: Stage>(accumulated: A, next: B) -> Then<A, B> {
        Then(accumulated, next)
    }
}
