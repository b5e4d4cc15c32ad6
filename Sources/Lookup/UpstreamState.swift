package import DNSWire

/// What upstream has said so far for one lookup that waits, and how it failed.
package struct UpstreamState: Sendable {
    package var answers = FreshAnswers.none
    /// What is past its time may be given (RFC 8767 5).
    package var allowStale = false
    package var failure: Failure?

    package struct Failure: Sendable {
        package var error: ExtendedError
        /// Printable ASCII, for people.
        package var text: StaticString

        package init(_ error: ExtendedError, _ text: StaticString) {
            self.error = error
            self.text = text
        }
    }

    /// Nobody was asked: what every lookup starts with.
    package init() {}
}
