public import DNSWire

/// What upstream has said so far for one waiting lookup, and how it failed.
public struct UpstreamState: Sendable {
    public var answers = FreshAnswers.none
    /// Stale answers may be used (RFC 8767 5).
    public var allowStale = false
    public var failure: Failure?

    public struct Failure: Sendable {
        public var error: ExtendedError
        /// Printable ASCII, for people.
        public var text: StaticString

        public init(_ error: ExtendedError, _ text: StaticString) {
            self.error = error
            self.text = text
        }
    }

    /// Nothing was asked: the state of a new lookup.
    public init() {}
}
