/// An override that was added while the daemon runs, and ends by itself.
public struct OverrideLease: Sendable, Hashable, Codable {
    /// From 1; each gets another. Its rule is `override:NUMBER`.
    public var number: Int
    public var rule: String
    /// As a hosts line would have it, `*` included, with a dot at its end.
    public var name: String
    public var addresses: [String]
    /// When it was added, and when it ends (nil: with the daemon), as the lookup log writes times.
    public var added: String
    public var until: String?
    /// Seconds that it was given; nil: until the daemon ends.
    public var seconds: UInt32?
    /// Seconds that are left of them.
    public var left: UInt32?
}

/// Why an override can't be added or removed: a sentence with the mend.
public struct OverrideProblem: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
