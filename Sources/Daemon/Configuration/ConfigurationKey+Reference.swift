import Platform

extension ConfigurationKey {
    package static func find(_ path: String) -> ConfigurationKey? { all.first { $0.path == path } }

    /// Whether there are keys that start with `path` and a dot.
    static func isGroup(_ path: String) -> Bool { all.contains { $0.path.hasPrefix(path + ".") } }

    /// The known key nearest to an unknown name, for "did you mean".
    ///
    /// A key without its group, or in the wrong group, counts as near.
    static func nearest(to path: String) -> String? {
        let known =
            all.map(\.path) + Set(all.compactMap { $0.path.split(separator: ".").first.map(String.init) }).sorted()
        let last = path.split(separator: ".").last.map(String.init) ?? path
        var best: (path: String, distance: Int)?
        for candidate in known {
            let leaf = candidate.split(separator: ".").last.map(String.init) ?? candidate
            let distance = min(
                editDistance(path, candidate), editDistance(last, leaf) + (leaf == candidate ? 0 : 1))
            if distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        guard let best, best.distance <= max(1, last.count / 3) else { return nil }
        return best.path
    }

    // MARK: Reference

    /// All keys with form, meaning and default: aligned, one per line.
    package static var reference: String {
        let width = all.map(\.path.count).max() ?? 0
        let formWidth = all.map(\.form.count).max() ?? 0
        return all.map { key in
            let path = key.path + String(repeating: " ", count: width - key.path.count)
            let form = key.form + String(repeating: " ", count: formWidth - key.form.count)
            let restart = key.effect == .restart ? "; a change needs a restart" : ""
            return "\(path)  \(form)  \(key.meaning) (default: \(key.initial)\(restart))"
        }.joined(separator: "\n")
    }

    /// The same as a table in Markdown, with the flags.
    package static var table: [String] {
        ["| key | value | meaning | default | flag | applied by |", "| --- | --- | --- | --- | --- | --- |"]
            + all.map { key in
                let flags = key.flags.map { "`--\($0.name)`" }
                return [
                    "`\(key.path)`", key.form, key.meaning, key.initial, flags.joined(separator: ", "),
                    key.effect.rawValue,
                ].map { $0.replacing("|", with: "\\|") }.reduce("|") { $0 + ($1.isEmpty ? " |" : " \($1) |") }
            }
    }
}
