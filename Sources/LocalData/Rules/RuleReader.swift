package import DNSWire
import Lookup
package import Platform

/// Reads rules files: one rule a line, as `NAME TYPES ACTION... CONDITION...`, with comments as in hosts files.
///
/// A bad line is reported and skipped; the rest loads.
package struct RuleReader {
    package struct Result: Sendable {
        package var rules: [Rule] = []
        package var diagnostics = Diagnostics()
        /// Files read and folders listed: what to watch.
        package var watched: [String] = []
        package var files: [String] = []
        /// Those that can't be read, whose rules of an earlier table are used instead.
        package var kept: [String] = []
    }

    /// The largest file that is read, in bytes.
    package static let largestFile = 64 << 20

    /// Reads files, and the `*.rules` files of folders in order of name. What can't be read keeps its rules in `last`.
    package static func load(
        paths: [String], settings: HostsSettings, last: RuleTable = .empty
    ) -> (table: RuleTable, result: Result) {
        var result = Result()
        for path in paths {
            result.watched.append(path)
            guard let names = Folder.list(path) else {
                result.files.append(path)
                continue
            }
            for name in names where name.hasSuffix(".rules") {
                result.files.append(path.hasSuffix("/") ? path + name : path + "/" + name)
                result.watched.append(result.files[result.files.count - 1])
            }
        }
        for path in result.files { read(path, settings, last, &result) }
        // A line that was gone counts from 1.
        let known = Dictionary(last.rules.map { ($0.line, $0.identity) }, uniquingKeysWith: { $1 })
        for index in result.rules.indices {
            let line = result.rules[index].line
            result.rules[index].identity = known[line] ?? line ^ UInt64.random(in: 0...UInt64.max)
        }
        if result.rules.count > RuleTable.mostRules {
            let first = result.rules[RuleTable.mostRules]
            result.diagnostics.error(
                first.place, "is beyond the first \(RuleTable.mostRules) rules, and so are those after it; remove some")
        }
        let table = RuleTable(result.rules) {
            result.diagnostics.error($0.place, "\($0.name) has \(RuleTable.mostOfName) rules already; remove some")
        }
        return (table, result)
    }

    private static func read(_ path: String, _ settings: HostsSettings, _ last: RuleTable, _ result: inout Result) {
        let place = Place(path: path)
        let text: FileText
        do { text = try FileText(path: path, limit: largestFile) } catch {
            let known = last.rules.filter { $0.place.file == place.file }
            result.rules += known
            if !known.isEmpty { result.kept.append(path) }
            result.diagnostics.error(
                place,
                "\(error); check the path and its permissions\(known.isEmpty ? "" : "; its last good rules stay")")
            return
        }
        let identity = StableHash.of(path.utf8)
        var (rules, diagnostics) = (result.rules, result.diagnostics)
        let isWide = HostsReader.decode(text.bytes) { bytes in
            HostsReader.forEachLine(bytes) { line, number in
                let place = place.line(number)
                do throws(WrongRule) {
                    guard let rule = try rule(line, place, settings, identity) else { return }
                    rules.append(rule)
                } catch {
                    diagnostics.error(place, error.description)
                }
            }
        }
        if isWide { diagnostics.warning(place.line(1), "is UTF-16; it was read, but other programs want UTF-8") }
        (result.rules, result.diagnostics) = (rules, diagnostics)
    }

    /// Why a rule can't be used, and how to mend it: one sentence.
    package struct WrongRule: Error, CustomStringConvertible {
        package let description: String
        init(_ description: String) { self.description = description }
    }

    /// The rule that somebody typed.
    package static func rule(_ text: String, _ place: Place, _ settings: HostsSettings) throws(WrongRule) -> Rule {
        let bytes = Array(text.utf8)
        guard bytes.count <= 4096, !bytes.contains(0x0A), !bytes.contains(0x0D) else {
            throw WrongRule("\(quoted(bytes)) is not one line of at most 4096 bytes")
        }
        let parsed = bytes.withUnsafeBytes { bytes -> Swift.Result<Rule?, WrongRule> in
            do throws(WrongRule) {
                return .success(
                    try rule(bytes, place, settings, UInt64(place.line) << 32 ^ StableHash.of(place.path.utf8)))
            } catch {
                return .failure(error)
            }
        }
        guard let rule = try parsed.get() else {
            throw WrongRule("there is no rule; one is NAME TYPES ACTION, as 'api.example.com A,AAAA delay=300ms'")
        }
        return rule
    }

    // MARK: One line

    /// Nil for a line without a rule.
    private static func rule(
        _ line: UnsafeRawBufferPointer, _ place: Place, _ settings: HostsSettings, _ identity: UInt64
    ) throws(WrongRule) -> Rule? {
        var cursor = 0
        guard let first = HostsReader.token(line, &cursor) else { return nil }
        if let control = line.first(where: { $0 < 0x20 && !(0x09...0x0C).contains($0) || $0 == 0x7F }) {
            throw WrongRule("holds the control character \(control), which no word of a rule has; remove it")
        }
        var rule = Rule()
        rule.place = place
        (rule.name, rule.reach) = try name(first)
        var words: [String] = []
        while let token = HostsReader.token(line, &cursor) {
            guard let word = String(validating: token, as: UTF8.self) else {
                throw WrongRule("\(quoted(token)) is neither ASCII nor UTF-8; save the file as UTF-8")
            }
            guard words.count < 64 else { throw WrongRule("has more than 64 words") }
            words.append(word)
        }
        rule.text = ([String(decoding: first, as: UTF8.self)] + words).joined(separator: " ")
        rule.line = StableHash.of(rule.text.utf8, after: identity)
        rule.identity = rule.line
        // Without types it is for all of them: the first word is then an action.
        if let types = words.first, let list = try self.types(types) {
            rule.condition.types = list
            words.removeFirst()
        }
        guard !words.isEmpty else {
            throw WrongRule("says not what happens; a rule is NAME TYPES ACTION, as 'api.example.com A delay=300ms'")
        }
        var ttl: UInt32?
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count == 2 ? String(parts[1]) : nil
            guard let meaning = RuleWord.all[String(parts[0])] else {
                let known = nearest(to: String(parts[0]), among: RuleWord.all.keys.sorted())
                throw WrongRule(
                    "\(quoted(parts[0].utf8)) is no action and no condition; "
                        + (known.map { "did you mean '\($0)'?" } ?? "'stub53 rule --help' lists all"))
            }
            if word.hasPrefix("ttl=") {
                ttl = try RuleWord.seconds(value ?? "")
                continue
            }
            try meaning(&rule, value)
        }
        if let ttl, rule.answer == nil {
            rule.faults.actions.insert(.ttl)
            rule.faults.ttl = ttl
        }
        rule.ttl = ttl ?? settings.ttl
        guard rule.answer != nil || rule.error != nil || !rule.faults.actions.isEmpty else {
            throw WrongRule("has conditions only; say what happens, as delay=300ms, servfail or answer=192.0.2.1")
        }
        return rule
    }

    private static func name(_ token: UnsafeRawBufferPointer) throws(WrongRule) -> (Name, Rule.Reach) {
        if token.count == 1, token[0] == UInt8(ascii: "*") { return (.root, .below) }
        if token.count == 1, token[0] == UInt8(ascii: ".") {
            throw WrongRule("'.' is the root's own name; write * for all names")
        }
        let isTree = token[0] == UInt8(ascii: ".")
        let text = isTree ? UnsafeRawBufferPointer(rebasing: token[1...]) : token
        let parsed = withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) {
            wire -> Swift.Result<Name, WrongRule> in
            switch HostsReader.parseName(text, into: wire) {
            case .length(let length): .success(Name(uncheckedWire: Array(wire[..<length])))
            case .ignore: .failure(WrongRule("\(quoted(text)) is an address where a name should be"))
            case .wrong(let why): .failure(WrongRule(why))
            }
        }
        let name = try parsed.get()
        guard name.isWildcard else { return (name, isTree ? .exactAndBelow : .exact) }
        guard !isTree, let parent = name.parent else {
            throw WrongRule("\(quoted(token)) is no name; write *.NAME for those below it, .NAME for it, too")
        }
        return (parent, .below)
    }

    /// Nil: the word is something else.
    private static func types(_ word: String) throws(WrongRule) -> [RecordType]? {
        if word == "*" { return [] }
        if word.contains("=") || RuleWord.all[word] != nil { return nil }
        var types: [RecordType] = []
        for part in word.split(separator: ",", omittingEmptySubsequences: false) {
            guard let type = RecordType(mnemonic: part) else {
                throw WrongRule(
                    "\(quoted(part.utf8)) is no type; give types as A,AAAA or * for all, and then what happens")
            }
            types.append(type)
        }
        return types
    }
}
