/// An override that was added while the daemon runs, and ends by itself.
package struct OverrideLease: Sendable, Hashable, Codable {
    /// From 1; each gets another. Its rule is `override:NUMBER`.
    package var number: Int
    package var rule: String
    /// As a hosts line would have it, `*` included, with a dot at its end.
    package var name: String
    package var addresses: [String]
    /// When it was added, and when it ends (nil: with the daemon), as the lookup log writes times.
    package var added: String
    package var until: String?
    /// Seconds that it was given; nil: until the daemon ends.
    package var seconds: UInt32?
    /// Seconds that are left of them.
    package var left: UInt32?
}

/// Why an override can't be added or removed: a sentence with the mend.
package struct OverrideProblem: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
