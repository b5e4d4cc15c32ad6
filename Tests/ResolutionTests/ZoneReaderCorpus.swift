import DNSWire
import Glibc
import LocalData
import Platform

/// A temporary folder that exists as long as this object.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/stub53-zones-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
    }

    func write(_ text: some Collection<UInt8>, to name: String) -> String {
        let file = "\(path)/\(name)"
        if let stream = fopen(file, "w") {
            fwrite(Array(text), 1, text.count, stream)
            fclose(stream)
            written.append(file)
        }
        return file
    }

    private var written: [String] = []

    deinit {
        for file in written { unlink(file) }
        rmdir(path)
    }
}

/// The verdicts of nsd-checkzone, kzonecheck and named-checkzone on a zone, written as `n+k-b+`.
struct Verdicts: CustomStringConvertible, Sendable {
    var description: String

    private static let checkers: [(Character, String)] = [("n", "NSD 4.12"), ("k", "Knot 3.4"), ("b", "BIND 9.20")]

    /// The checkers that refuse it, as our messages name them.
    var refusing: [String] { Self.checkers.filter { description.contains("\($0.0)-") }.map(\.1) }

    /// The common verdict of all three; nil if they differ.
    var agreed: Bool? { refusing.isEmpty ? true : refusing.count == 3 ? false : nil }

    /// What is wrong with `result` given the checkers' verdicts; nil if nothing is.
    func objection(to result: ZoneReadResult) -> String? {
        if let agreed, agreed != result.isLoadable { return "the checkers agree that it is \(agreed ? "good" : "bad")" }
        guard result.isLoadable else { return nil }
        let warnings = result.diagnostics.map(\.message)
        for name in refusing where !warnings.contains(where: { $0.contains(name) }) {
            return "no warning says that \(name) refuses it"
        }
        for (_, name) in Self.checkers where !refusing.contains(name) {
            let blame = warnings.first { $0.contains(" refuse") && $0.contains(name) }
            if let blame { return "\(name) doesn't refuse it: \(blame)" }
        }
        return nil
    }
}

/// One record line of `Corpus/records.txt`.
struct RecordCase: CustomStringConvertible, Sendable {
    /// Our expected verdict: loaded or refused.
    var isLoaded: Bool
    var verdicts: Verdicts
    /// The RDATA in hexadecimal; "-" if unknown.
    var rdata: String
    /// TYPE RDATA as in a master file.
    var text: String

    var description: String { text }

    /// A zone with this record on its sixth and last line.
    var zone: String { "\(Self.prologue)\(companion)\n\(owner) IN \(text)\n" }
    static let line: UInt32 = 6
    /// Records that kzonecheck requires beside some types.
    private var companion: String {
        text.hasPrefix("DS ") ? "x IN NS ns" : text.hasPrefix("NS ") ? "host IN A 192.0.2.1" : ""
    }
    private var owner: String { text.hasPrefix("NSEC3 ") ? "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom" : "x" }

    static let prologue = """
        $TTL 3600
        @ IN SOA ns admin 1 3600 600 86400 300
        @ IN NS ns
        ns IN A 192.0.2.1

        """

    static let all: [RecordCase] = lines(of: "records.txt").compactMap { line in
        let parts = line.split(separator: "\t", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        return RecordCase(
            isLoaded: parts[0] == "+", verdicts: Verdicts(description: String(parts[1])), rdata: String(parts[2]),
            text: String(parts[3]))
    }
}

/// The lines of a file in `Corpus`.
func lines(of name: String, folder: String = #filePath) -> [Substring] {
    let path = folder.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    return content(of: "\(path)/Corpus/\(name)").split(separator: "\n", omittingEmptySubsequences: false)
}

func content(of path: String) -> String {
    guard let stream = fopen(path, "r") else { return "" }
    defer { fclose(stream) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&buffer, 1, buffer.count, stream)
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += buffer[..<count]
    }
}

extension Collection<UInt8> {
    var hexadecimal: String { map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
}

extension ZoneRecords {
    /// The RDATA of the last record, in hexadecimal.
    var lastRdata: String? { entries.last.map { rdata(of: $0).hexadecimal } }
}

/// One whole file of `Corpus/files.txt`.
struct FileCase: CustomStringConvertible, Sendable {
    var isLoaded: Bool
    var verdicts: Verdicts
    var name: String
    /// The line of the first error of a refused file; 0 for the whole file.
    var line: UInt32
    var text: [UInt8]

    var description: String { name }

    static let all: [FileCase] = {
        var cases: [FileCase] = []
        for line in lines(of: "files.txt").dropLast() {
            if line.hasPrefix("=== ") {
                let words = line.split(separator: " ")
                cases.append(
                    FileCase(
                        isLoaded: words[1] == "+", verdicts: Verdicts(description: String(words[2])),
                        name: String(words[3]),
                        line: words.count > 4 ? UInt32(words[4]) ?? 0 : 0, text: []))
            } else if !cases.isEmpty {
                cases[cases.count - 1].text += bytes(of: line)
            }
        }
        return cases
    }()

    private static func bytes(of line: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = line[...]
        while let first = rest.first {
            if rest.hasPrefix("\\r") {
                bytes.append(13)
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix("<BOM>") {
                bytes += [0xEF, 0xBB, 0xBF]
                rest = rest.dropFirst(5)
            } else if rest == "<NONL>" {
                return bytes
            } else {
                bytes += Array(String(first).utf8)
                rest = rest.dropFirst()
            }
        }
        return bytes + [10]
    }

    /// The content of included files.
    static let included = "i A 192.0.2.3\n"
}
