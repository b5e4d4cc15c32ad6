/// An override added while the daemon runs; it expires by itself.
package struct OverrideLease: Sendable, Hashable, Codable {
    /// Counts from 1 and is never reused. Its rule is `override:NUMBER`.
    package var number: Int
    package var rule: String
    /// As in a hosts file, including `*`, with a trailing dot.
    package var name: String
    package var addresses: [String]
    /// When it was added, and when it expires (nil: with the daemon), in the lookup log's format.
    package var added: String
    package var until: String?
    /// Its duration in seconds; nil: until the daemon ends.
    package var seconds: UInt32?
    /// The seconds that remain.
    package var left: UInt32?
}

/// Why an override can't be added or removed, and how to fix it: one sentence.
package struct OverrideProblem: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
