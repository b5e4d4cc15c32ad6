public import DNSWire

/// What a stage did with a lookup.
public enum Outcome: Hashable, Sendable, BitwiseCopyable {
    /// Not this stage's: the next one is asked. Nothing was written.
    case pass
    /// The response holds the answer (or NODATA, NXDOMAIN, a referral, an error); the decision says which.
    case answered
    /// A CNAME was written. Its target, at this offset of the message, is looked up next.
    case chase(Int)
    /// Upstream has to be asked for `Lookup.wanted`; then the lookup starts again with upstream's answer.
    case needs
    /// The zone whose apex is the name follows over the stream (RFC 5936).
    case transfer
}

/// One step of a lookup: a source of answers, or a check before or after the sources.
///
/// Immutable; one value serves all threads. Runs on the fast lane, so it neither allocates nor waits.
public protocol Stage: Sendable {
    /// The source that this stage is, if any.
    static var kind: SourceKind? { get }

    /// Answers the lookup's current name, or passes.
    func answer(_ lookup: inout Lookup) -> Outcome

    /// Sees the outcome for the current name, from whichever stage, and may rewrite it.
    func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome

    /// Whether this stage answers for `name` from local data.
    func owns(_ name: borrowing LookupName) -> Bool

    /// Prefetches the memory that a lookup of `name` will read, one dependent access per `step`, from 0 on.
    func prefetch(_ name: borrowing LookupName, step: Int)

    /// Shows `visitor` each stage of this list; a single stage is a list of one.
    func visit(_ visitor: inout some StageVisitor)
}

extension Stage {
    public func visit(_ visitor: inout some StageVisitor) { visitor.visit(self) }
    @inlinable public static var kind: SourceKind? { nil }
    @inlinable public func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome { outcome }
    @inlinable public func owns(_ name: borrowing LookupName) -> Bool { false }
    @inlinable public func prefetch(_ name: borrowing LookupName, step: Int) {}
}

/// Visits each stage of a list in order.
public protocol StageVisitor {
    mutating func visit(_ stage: some Stage)
}

/// Two stages, or lists of them, in sequence: the whole list is one type, which the compiler can inline.
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

/// Builds a list of stages from lines, first to last.
@resultBuilder
public enum StageList {
    @inlinable public static func buildPartialBlock<S: Stage>(first: S) -> S { first }

    @inlinable
    public static func buildPartialBlock<A: Stage, B: Stage>(accumulated: A, next: B) -> Then<A, B> {
        Then(accumulated, next)
    }
}
