/// A parsed Strict-Transport-Security field.
///
/// - RFC: 6797 6.1.
struct StrictTransport: Hashable, Sendable {
    /// Seconds; 0 revokes it.
    var maxAge: Int
    var includesSubdomains = false

    /// Nil if the field is malformed and must be ignored.
    init?(_ field: String) {
        var maxAge: Int?
        var seen: Set<String> = []
        for directive in field.split(separator: ";") {
            let parts = directive.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first.map({ Self.trimmed($0).lowercased() }), !name.isEmpty else { continue }
            guard seen.insert(name).inserted else { return nil }
            switch name {
            case "max-age":
                guard parts.count == 2 else { return nil }
                var digits = Self.trimmed(parts[1])
                if digits.count > 2, digits.hasPrefix("\""), digits.hasSuffix("\"") {
                    digits = digits.dropFirst().dropLast()
                }
                guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
                maxAge = Int(digits) ?? .max
            case "includesubdomains": includesSubdomains = true
            default: break
            }
        }
        guard let maxAge else { return nil }
        self.maxAge = maxAge
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
