import FoundationEssentials
import Glibc
import Platform

/// The files of a machine. Tests have theirs below another root.
///
/// All of them may be hostile: they are read up to a bound, and what can't be read counts as missing.
struct Machine: Sendable {
    let root: String
    /// Seconds since 1970.
    let now: Int

    /// A line of a file, from 1.
    struct Line: Sendable {
        let place: String
        let text: Substring
    }

    private static let largest = 16 << 20
    private static let mostNames = 256

    init(root: String = "", now: Int = Int(SystemClock.wall() / 1_000_000)) {
        self.root = root.hasSuffix("/") ? String(root.dropLast()) : root
        self.now = now
    }

    /// All bytes; nil if there is no such file.
    func bytes(_ path: String) -> [UInt8]? {
        // A link's target is below the root, too.
        let target = link(path) ?? path
        guard let file = try? FileText(path: root + target, limit: Self.largest, acceptsPipes: false) else {
            return nil
        }
        return withExtendedLifetime(file) { Array($0.bytes) }
    }

    func lines(_ path: String) -> [Line] {
        guard let bytes = bytes(path) else { return [] }
        return bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated().map {
            Line(place: "\(path):\($0.offset + 1)", text: String(decoding: $0.element, as: UTF8.self)[...])
        }
    }

    /// Nil if there is no such file, or if it is no JSON of that form.
    func json<Value: Decodable>(_ path: String, as: Value.Type) -> Value? {
        bytes(path).flatMap { try? JSONDecoder().decode(Value.self, from: Data($0)) }
    }

    /// Lines as words, without comments and blank lines.
    func words(_ path: String, comments: String = "#") -> [(place: String, words: [Substring])] {
        lines(path).compactMap { line in
            let words = line.text.prefix { !comments.contains($0) }.split(whereSeparator: \.isWhitespace)
            return words.isEmpty ? nil : (line.place, words)
        }
    }

    func exists(_ path: String) -> Bool { access(root + path, F_OK) == 0 }

    /// When a file was last changed, in seconds since 1970; nil if there is none.
    func changed(_ path: String) -> Int? {
        var status = stat()
        return stat(root + path, &status) == 0 ? Int(status.st_mtim.tv_sec) : nil
    }

    /// Where a link leads; nil if it is none.
    func link(_ path: String) -> String? {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = target.withUnsafeMutableBytes {
            readlink(root + path, $0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self), $0.count)
        }
        guard length > 0 else { return nil }
        let text = String(decoding: target[..<length], as: UTF8.self)
        if text.hasPrefix("/") { return text }
        var parts = path.split(separator: "/").dropLast()
        for part in text.split(separator: "/") where part != "." {
            if part == ".." { parts = parts.dropLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// What is in a folder, in order; empty if there is none.
    func names(in path: String) -> [String] {
        guard let folder = opendir(root + path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while names.count < Self.mostNames, let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    /// The homes whose browsers are looked at: this user's, or root's and all others.
    var homes: [String] {
        if geteuid() == 0 || !root.isEmpty { return ["/root"] + names(in: "/home").map { "/home/\($0)" } }
        return getenv("HOME").map { [String(cString: $0)] } ?? []
    }

    // MARK: Files with sections

    /// The last value of a key in files as systemd and NetworkManager have them, and its place.
    func setting(_ key: String, in section: String, of files: [String]) -> (value: Substring, place: String)? {
        var found: (Substring, String)?
        for file in files {
            var isInside = false
            for line in lines(file) {
                let text = line.text.trimmed
                if text.hasPrefix("[") {
                    isInside = text.dropFirst().prefix { $0 != "]" }.lowercased() == section.lowercased()
                } else if isInside, !text.hasPrefix("#"), !text.hasPrefix(";"), let equals = text.firstIndex(of: "="),
                    text[..<equals].trimmed.lowercased() == key.lowercased()
                {
                    found = (text[text.index(after: equals)...].trimmed, line.place)
                }
            }
        }
        return found
    }

    /// A file of settings, and the files that add to it, in their order.
    func settingFiles(_ main: String, _ folders: String...) -> [String] {
        [main]
            + folders.flatMap { folder in
                names(in: folder).filter { $0.hasSuffix(".conf") }.map { "\(folder)/\($0)" }
            }
    }
}

extension Substring {
    var trimmed: Substring {
        var text = drop(while: \.isWhitespace)
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
