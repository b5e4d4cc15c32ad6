public import DNSWire

/// What upstream has said so far for one waiting lookup, and how it failed.
public struct UpstreamState: Sendable {
    public var answers = FreshAnswers.none
    /// Stale answers may be used (RFC 8767 5).
    public var allowStale = false
    public var failure: Failure?
    /// How often each rule that counts has been met, by its key: drawn once for a lookup, however often it is resumed.
    public var draws: [Draw] = []

    public struct Draw: Sendable, BitwiseCopyable {
        public var key: UInt64
        public var count: UInt32

        public init(key: UInt64, count: UInt32) {
            self.key = key
            self.count = count
        }
    }

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
