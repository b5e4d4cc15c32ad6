/// The number of insertions, deletions, substitutions and swaps between the texts (of which at most 64 bytes are
/// compared).
public func editDistance(_ left: String, _ right: String) -> Int {
    let a = Array(left.utf8.prefix(64))
    let b = Array(right.utf8.prefix(64))
    var before: [Int] = []
    var previous = Array(0...b.count)
    for i in a.indices {
        var current = [i + 1]
        for j in b.indices {
            var cost = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
            current.append(cost)
        }
        before = previous
        previous = current
    }
    return previous[b.count]
}

/// The word of `words` closest to `text`, for "did you mean"; nil if none is close.
public func nearest(to text: String, among words: some Sequence<String>) -> String? {
    let folded = text.lowercased()
    let best = words.lazy.map { (word: $0, distance: editDistance(folded, $0.lowercased())) }
        .min { $0.distance < $1.distance }
    guard let best, best.distance <= max(1, folded.count / 3) else { return nil }
    return best.word
}
