/// A set of identifiers of names, clients or facets to search for: one bit each.
struct IdentifierSet {
    private var base: UInt32
    private var words: [UInt64]
    /// Used instead of bits if the identifiers are too far apart.
    private var scattered: Set<UInt32>?
    let isEmpty: Bool

    /// The most bits (16 MiB).
    private static let widest: UInt32 = 1 << 27

    init(_ members: [UInt32]) {
        isEmpty = members.isEmpty
        base = members.min() ?? 0
        let span = (members.max() ?? 0) - base
        guard span < Self.widest else {
            words = []
            scattered = Set(members)
            return
        }
        words = [UInt64](repeating: 0, count: Int(span >> 6) + 1)
        for member in members where !isEmpty { words[Int((member - base) >> 6)] |= 1 << UInt64((member - base) & 63) }
    }

    @inline(__always)
    func contains(_ member: UInt32) -> Bool {
        if let scattered { return scattered.contains(member) }
        guard !isEmpty, member >= base else { return false }
        let bit = member - base
        let word = Int(bit >> 6)
        return word < words.count && words[word] & (1 << UInt64(bit & 63)) != 0
    }
}
