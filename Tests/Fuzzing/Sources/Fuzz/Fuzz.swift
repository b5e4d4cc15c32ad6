import CFuzzer
import Foundation

/// `Fuzz` lists the targets; `Fuzz TARGET [OPTION...]` runs one until libFuzzer's options end it; `Fuzz TARGET FILE...`
/// runs it on files only, such as those left by a crash. Run it in the top folder of the repository.
@main
enum Fuzz {
    static let targets = [
        QueryTarget.target, StreamTarget.target, AnswerTarget.target, ZoneTarget.target, RecordDataTarget.target,
        HostsTarget.target, RulesTarget.target, NameTarget.target, ConfigurationTarget.target, FilterTarget.target,
        HTTPTarget.target, ServerHelloTarget.target, URLTarget.target, CassetteTarget.target, CaptureTarget.target,
    ]

    /// Set once, before the first input.
    nonisolated(unsafe) private static var run: (UnsafeRawBufferPointer) -> Void = { _ in }

    static func main() throws {
        var arguments = Array(CommandLine.arguments.dropFirst())
        guard !arguments.isEmpty else { return print(targets.map(\.name).joined(separator: "\n")) }
        let name = arguments.removeFirst()
        guard let target = targets.first(where: { $0.name == name }) else {
            throw Failure(description: "there is no target \(name)")
        }
        run = target.prepare()
        if !arguments.contains(where: { !$0.hasPrefix("-") }) { arguments = try folders(of: target) + arguments }
        exit(drive(["Fuzz"] + arguments))
    }

    struct Failure: Error, CustomStringConvertible { let description: String }

    /// Writes seeds and dictionary to the target's folder in `.build`; returns the options for them.
    private static func folders(of target: FuzzTarget) throws -> [String] {
        let folder = ".build/fuzz/\(target.name)"
        let files = FileManager.default
        try? files.removeItem(atPath: folder + "/seeds")
        for name in ["corpus", "seeds"] {
            try files.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        for (number, seed) in try target.seeds().enumerated() {
            guard files.createFile(atPath: "\(folder)/seeds/\(number)", contents: Data(seed)) else {
                throw Failure(description: "\(folder)/seeds/\(number) can't be written")
            }
        }
        var options = ["-artifact_prefix=\(folder)/", "-max_len=\(target.longest)", "-print_final_stats=1"]
        let words = target.words()
        if !words.isEmpty {
            let lines = words.map { "\"" + $0.map(escaped).joined() + "\"\n" }.joined()
            try Data(lines.utf8).write(to: URL(filePath: folder + "/words"))
            options.append("-dict=\(folder)/words")
        }
        let kept = "Tests/Fuzzing/Seeds/\(target.name)"
        return options + ["\(folder)/corpus", "\(folder)/seeds"] + (files.fileExists(atPath: kept) ? [kept] : [])
    }

    private static func escaped(_ byte: UInt8) -> String {
        (0x20...0x7E).contains(byte) && byte != 0x22 && byte != 0x5C
            ? String(Unicode.Scalar(byte)) : "\\x" + String(UInt16(byte) + 0x100, radix: 16).dropFirst()
    }

    private static func drive(_ arguments: [String]) -> Int32 {
        var texts: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        texts.append(nil)
        var count = Int32(arguments.count)
        return texts.withUnsafeMutableBufferPointer { texts in
            var base = texts.baseAddress
            return LLVMFuzzerRunDriver(&count, &base) { bytes, count in
                Fuzz.run(UnsafeRawBufferPointer(start: bytes, count: count))
                return 0
            }
        }
    }
}
