import DNSWire
import Platform
import Yams

/// Reads a YAML configuration file into settings, each with its line.
///
/// Keys nest, or are written with dots: `hosts: {ttl: 5}` and `hosts.ttl: 5` are the same.
enum ConfigurationFile {
    /// Handles one setting: its key, values, and place. It may report problems.
    typealias Apply = (ConfigurationKey, ConfigurationKey.Values, Place, inout Diagnostics) -> Void

    /// Bytes.
    static let maximumSize = 1 << 20
    /// A file with more words that look like an alias (`*name`) is not even parsed: nested aliases expand
    /// exponentially.
    private static let maximumAliases = 16

    /// Applies the settings in file order; problems go to `diagnostics`.
    ///
    /// - Parameter views: gets the views.
    static func read(
        _ path: String, _ diagnostics: inout Diagnostics, views: inout [ViewSettings], apply: Apply
    ) {
        let file = Place(path: path)
        let text: String
        do {
            let source = try FileText(path: path, limit: maximumSize)
            guard let valid = String(validating: source.bytes, as: UTF8.self) else {
                diagnostics.error(file, "is not UTF-8; save it as UTF-8")
                return
            }
            text = valid
        } catch {
            diagnostics.error(file, "\(error); check the path and its permissions")
            return
        }
        parse(text, file, &diagnostics, &views, apply)
    }

    private static func parse(
        _ text: String, _ file: Place, _ diagnostics: inout Diagnostics, _ views: inout [ViewSettings], _ apply: Apply
    ) {
        guard aliasLikeWords(text) <= maximumAliases else {
            diagnostics.error(file, "has many words that start with '*': aliases are not read; write the values out")
            return
        }
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            guard let root = try parser.singleRoot() else { return }
            // Nodes keep their anchors only while the parser lives.
            if let anchored = withExtendedLifetime(parser, { firstAnchor(in: root) }) {
                diagnostics.error(
                    file.line(anchored.mark?.line ?? 0), "anchors and aliases are not read; write the value out")
                return
            }
            var reading = Reading(file: file, diagnostics: diagnostics)
            reading.group(root, path: "", apply)
            diagnostics = reading.diagnostics
            views = reading.views
        } catch let error as YamlError {
            report(error, text, file, &diagnostics)
        } catch {
            diagnostics.error(file, "can't be read as YAML: \(quoted("\(error)".utf8))")
        }
    }

    private struct Reading {
        let file: Place
        var diagnostics: Diagnostics
        var lines: [String: Int] = [:]
        var views: [ViewSettings] = []

        init(file: Place, diagnostics: Diagnostics) {
            self.file = file
            self.diagnostics = diagnostics
        }

        func place(_ node: Node) -> Place { file.line(node.mark?.line ?? 0) }

        /// Reads the keys of one level, all below `path`.
        mutating func group(_ node: Node, path: String, _ apply: Apply) {
            if case .scalar(let scalar) = node, ConfigurationFile.isNull(scalar) { return }
            guard case .mapping(let mapping) = node else {
                diagnostics.error(
                    place(node), (path.isEmpty ? "the file" : path) + " holds settings, one 'key: value' a line")
                return
            }
            for (keyNode, value) in mapping {
                guard case .scalar(let scalar) = keyNode, !scalar.string.isEmpty else {
                    diagnostics.error(place(keyNode), "this is no key; one is a word, as hosts.ttl")
                    continue
                }
                let name = path.isEmpty ? scalar.string : path + "." + scalar.string
                let line = keyNode.mark?.line ?? 0
                if name == "views" {
                    readViews(value)
                } else if let key = ConfigurationKey.find(name) {
                    if let first = lines[name] {
                        diagnostics.error(file.line(line), "\(name) is set twice, first in line \(first); keep one")
                        continue
                    }
                    lines[name] = line
                    if let values = values(value, key, at: file.line(line)) {
                        apply(key, values, file.line(line), &diagnostics)
                    }
                } else if ConfigurationKey.isGroup(name) {
                    group(value, path: name, apply)
                } else {
                    // A file with a hundred problems has more than typing errors.
                    let near = diagnostics.list.count < 100 ? ConfigurationKey.nearest(to: name) : nil
                    let mend = near.map { "did you mean '\($0)'?" } ?? "'stub53 serve --help-keys' lists all"
                    diagnostics.error(file.line(line), "unknown key \(quoted(name.utf8)); \(mend)")
                }
            }
        }

        /// Reads the views: a name each, with its settings.
        private mutating func readViews(_ node: Node) {
            if case .scalar(let scalar) = node, ConfigurationFile.isNull(scalar) { return }
            guard case .mapping(let mapping) = node else {
                return diagnostics.error(place(node), "views holds views, each a name with its settings")
            }
            for (keyNode, value) in mapping {
                guard case .scalar(let scalar) = keyNode, ViewSettings.isName(scalar.string) else {
                    diagnostics.error(
                        place(keyNode), "this is no name of a view: 1 to 32 letters, digits, '-' and '_'")
                    continue
                }
                guard views.count < ViewSettings.most else {
                    return diagnostics.error(
                        place(keyNode), "there are more than \(ViewSettings.most) views; remove some")
                }
                var view = ViewSettings(scalar.string)
                view.place = place(keyNode)
                readView(value, path: "", &view)
                view.check(&diagnostics)
                views.append(view)
            }
        }

        private mutating func readView(_ node: Node, path: String, _ view: inout ViewSettings) {
            guard case .mapping(let mapping) = node else {
                return diagnostics.error(
                    place(node),
                    "views.\(view.name)\(path.isEmpty ? "" : "." + path) holds settings, as listen: 127.0.1.1")
            }
            for (keyNode, value) in mapping {
                guard case .scalar(let scalar) = keyNode, !scalar.string.isEmpty else {
                    diagnostics.error(place(keyNode), "this is no key; one is a word, as hosts.files")
                    continue
                }
                let name = path.isEmpty ? scalar.string : path + "." + scalar.string
                let place = place(keyNode)
                switch value {
                case .mapping where ConfigurationKey.isGroup(name): readView(value, path: name, &view)
                case .scalar(let scalar) where !ConfigurationFile.isNull(scalar):
                    view.set(name, .init([(scalar.string, self.place(value))]), at: place, &diagnostics)
                case .sequence(let sequence):
                    let items = sequence.compactMap { item -> (String, Place)? in
                        guard case .scalar(let scalar) = item else { return nil }
                        return (scalar.string, self.place(item))
                    }
                    view.set(name, .init(items), at: place, &diagnostics)
                case .mapping: view.set(name, .init([]), at: place, &diagnostics)
                default: diagnostics.error(place, "views.\(view.name).\(name): has no value that can be read")
                }
            }
        }

        /// The value of one key as texts; nil, with a report, if it has the wrong form.
        mutating func values(
            _ node: Node, _ key: ConfigurationKey, at place: Place
        ) -> ConfigurationKey.Values? {
            switch node {
            case .scalar(let scalar):
                guard !ConfigurationFile.isNull(scalar) else {
                    diagnostics.error(place, "\(key.path) has no value; give one (\(key.form)) or remove the line")
                    return nil
                }
                return .init([(scalar.string, self.place(node))])
            case .sequence(let sequence):
                guard key.isList else {
                    diagnostics.error(place, "\(key.path): takes one value (\(key.form)), not a list")
                    return nil
                }
                var items: [(String, Place)] = []
                for item in sequence {
                    guard case .scalar(let scalar) = item, !ConfigurationFile.isNull(scalar) else {
                        diagnostics.error(self.place(item), "\(key.path): each item is one value (\(key.form))")
                        continue
                    }
                    items.append((scalar.string, self.place(item)))
                }
                return .init(items)
            default:
                diagnostics.error(place, "\(key.path): takes a value (\(key.form)), not further keys")
                return nil
            }
        }
    }

    fileprivate static func isNull(_ scalar: Node.Scalar) -> Bool {
        scalar.style != .singleQuoted && scalar.style != .doubleQuoted
            && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    // MARK: Bounds

    /// An anchor comes before all of its aliases, so the search ends before it follows one.
    private static func firstAnchor(in node: Node) -> Node? {
        if node.anchor != nil { return node }
        switch node {
        case .mapping(let mapping):
            for (key, value) in mapping {
                if let found = firstAnchor(in: key) ?? firstAnchor(in: value) { return found }
            }
        case .sequence(let sequence):
            for item in sequence {
                if let found = firstAnchor(in: item) { return found }
            }
        default: break
        }
        return nil
    }

    /// Counts `*x` where a value could start, even in comments and quotes, because this runs before the parser.
    private static func aliasLikeWords(_ text: String) -> Int {
        var count = 0
        var previous = UInt8(ascii: "\n")
        var isCandidate = false
        for byte in text.utf8 {
            if isCandidate, byte > 0x20 { count += 1 }
            isCandidate = byte == UInt8(ascii: "*") && (previous <= 0x20 || "[{,:?-\"'".utf8.contains(previous))
            previous = byte
        }
        return count
    }

    // MARK: Errors of the parser

    private static func report(_ error: YamlError, _ text: String, _ file: Place, _ diagnostics: inout Diagnostics) {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            let isDeep = problem.hasPrefix("Maximum nesting")
            diagnostics.error(
                file.line(mark.line), isDeep ? "is nested too deeply for a configuration" : "is not YAML: \(problem)")
        case .reader(let problem, let offset, _, _):
            let line = offset.map { text.utf8.prefix($0).count { $0 == 0x0A } + 1 } ?? 0
            diagnostics.error(file.line(line), "is not YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            for key in duplicates {
                let lines = self.lines(of: key, text, from: context.mark.line)
                let first = lines.first.map { ", first in line \($0)" } ?? ""
                diagnostics.error(
                    file.line(lines.dropFirst().first ?? context.mark.line),
                    "\(quoted(key.utf8)) is set twice\(first); keep one")
            }
        default:
            diagnostics.error(file, "can't be read as YAML: \(quoted("\(error)".utf8))")
        }
    }

    /// The lines that start with `key:`, from line `first` on.
    private static func lines(of key: String, _ text: String, from first: Int) -> [Int] {
        var found: [Int] = []
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where index + 1 >= first {
            let content = line.drop { " \t\"'".contains($0) }
            if content.hasPrefix(key), content.dropFirst(key.count).drop(while: { " \"'".contains($0) }).first == ":" {
                found.append(index + 1)
            }
        }
        return found
    }
}
