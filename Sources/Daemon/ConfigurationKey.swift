import DNSWire
import Platform

/// One thing that can be set: its name, what it takes, and what it means.
///
/// Parsing, the search for a near name and the reference (`reference`) all come from `all`.
package struct ConfigurationKey: Sendable {
    /// With dots between the levels: `hosts.null-address`.
    package let path: String
    /// What a value looks like.
    package let form: String
    /// The default, for people.
    package let initial: String
    package let meaning: String
    let setter: Setter

    enum Setter: Sendable {
        case one(@Sendable (inout Configuration, String) throws(Wrong) -> Void)
        /// A list replaces what was there: `begin` empties, `add` takes one value.
        case list(
            begin: @Sendable (inout Configuration) -> Void,
            add: @Sendable (inout Configuration, String) throws(Wrong) -> Void)
    }

    /// Why a value can't be used: what is wrong and how to mend it, one sentence.
    struct Wrong: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    /// The values given for a key, each with its place.
    struct Values: Sendable {
        var items: [(text: String, place: Place)]
        init(_ items: [(String, Place)]) { self.items = items.map { (text: $0.0, place: $0.1) } }
    }

    static func find(_ path: String) -> ConfigurationKey? { all.first { $0.path == path } }

    /// Whether keys start with `path` and a dot.
    static func isGroup(_ path: String) -> Bool { all.contains { $0.path.hasPrefix(path + ".") } }

    /// Sets the key to `values`; `label` is put in front of a problem, where its place does not name the key.
    func set(
        _ configuration: inout Configuration, _ values: Values, at place: Place, _ label: String?,
        _ diagnostics: inout Diagnostics
    ) {
        let front = label.map { "\($0): " } ?? ""
        switch setter {
        case .one(let set):
            guard let last = values.items.last, values.items.count == 1 else {
                diagnostics.error(place, front + "takes one value (\(form)), not a list")
                return
            }
            do { try set(&configuration, last.text) } catch { diagnostics.error(last.place, front + error.description) }
        case .list(let begin, let add):
            begin(&configuration)
            for item in values.items {
                do { try add(&configuration, item.text) } catch {
                    diagnostics.error(item.place, front + error.description)
                }
            }
        }
    }

    /// The keys nearest to a name that is none, for "did you mean".
    ///
    /// A name without its group, or with another one, is near too.
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

    /// All keys with form, default and meaning: one line each, aligned.
    package static var reference: String {
        let width = all.map(\.path.count).max() ?? 0
        let formWidth = all.map(\.form.count).max() ?? 0
        return all.map { key in
            let path = key.path + String(repeating: " ", count: width - key.path.count)
            let form = key.form + String(repeating: " ", count: formWidth - key.form.count)
            return "\(path)  \(form)  \(key.meaning) (\(key.initial))"
        }.joined(separator: "\n")
    }
}
