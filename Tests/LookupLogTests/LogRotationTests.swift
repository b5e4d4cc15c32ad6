import Foundation
import LookupLog
import Platform
import TestSupport
import Testing

@Suite("A log file that is full")
struct LogRotationTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("", to: "reports")
    }

    /// Logs this many lookups to a file of 64 KiB at most.
    private func log(_ count: Int, kept: Int) throws {
        let sink = LookupSink(
            .json, to: .file(path: folder.file("log")), rotation: FileRotation.Limits(size: 64 << 10, kept: kept))
        let log = try LookupLog(
            sinks: [sink], ringCapacity: 1 << 24, report: { [folder] in try? folder.append($0 + "\n", to: "reports") })
        let ring = log.makeRing()
        for _ in 0..<count { SampleLookup().append(to: ring) }
        log.start()
        log.stop()
    }

    /// The lookups' numbers in these files, the oldest first.
    private func numbers(_ names: [String]) throws -> [Int] {
        try names.flatMap { name in
            let text = try String(contentsOfFile: folder.file(name), encoding: .utf8)
            #expect(text.hasSuffix("\n") && text.utf8.count < 256 << 10)
            return try text.split(separator: "\n").map {
                let object = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
                return try #require(object?["id"] as? Int)
            }
        }
    }

    private func files() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("log") }.sorted()
    }

    @Test("is moved to PATH.1, and older ones on; no line is lost or cut")
    func moved() throws {
        try log(2000, kept: 100)
        let count = try files().count
        #expect(count > 4)
        let numbers = try numbers((1..<count).reversed().map { "log.\($0)" } + ["log"])
        #expect(numbers.count == 2000 && zip(numbers, numbers.dropFirst()).allSatisfy { $0 + 1 == $1 })
    }

    @Test("is one of as many as are kept", arguments: [0, 1, 2])
    func bounded(_ kept: Int) throws {
        try log(2000, kept: kept)
        #expect(try files() == (["log"] + (0..<kept).map { "log.\($0 + 1)" }))
    }

    @Test("grows on if it can't be moved, which is reported once")
    func stuck() throws {
        // A folder in the way.
        try folder.write("", to: "log.1/file")
        try log(2000, kept: 1)
        let text = try String(contentsOfFile: folder.file("log"), encoding: .utf8)
        #expect(text.split(separator: "\n").count == 2000)
        let path = folder.file("log")
        #expect(
            try String(contentsOfFile: folder.file("reports"), encoding: .utf8)
                == "log \(path): is full, but can't be moved to \(path).1: Is a directory; it grows on\n")
    }
}
