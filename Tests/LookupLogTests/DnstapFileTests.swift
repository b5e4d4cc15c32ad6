import Foundation
import LookupLog
import Synchronization
import TestSupport
import Testing

@Suite("A dnstap file")
struct DnstapFileTests {
    private let folder: TemporaryFolder
    private var path: String { folder.file("tap") }

    init() throws { folder = try TemporaryFolder() }

    /// A log with one ring that writes dnstap, for one test.
    private final class Tap {
        let writer: DnstapWriter
        let log: LookupLog
        let ring: LookupRing
        private var time: UInt64 = 1_795_453_200_000_000

        init(_ path: String, size: Int = 100 << 20, kept: Int = 9, said: Said? = nil) throws {
            writer = try DnstapWriter(
                [.file(path: path)], identity: "here", version: "", maximumFileSize: size, keptFiles: kept
            ) { text in said?.add(text) }
            log = try LookupLog(sinks: [], observers: [writer])
            ring = log.makeRing()
            log.start()
        }

        /// Appends `count` lookups, and waits until they are written.
        func write(_ count: Int) throws {
            let before = writer.statistics[0].frames
            for _ in 0..<count {
                var lookup = SampleLookup()
                lookup.time = time
                time += 1
                lookup.append(to: ring)
            }
            try waitUntil("frames are written") { writer.statistics[0].frames == before + UInt64(2 * count) }
        }

        func end() { log.stop() }
    }

    /// What was reported.
    final class Said: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ text: String) { lines.withLock { $0.append(text) } }
        var all: [String] { lines.withLock { $0 } }
    }

    @Test("is readable while it is written and ends with STOP; the next start begins another and keeps the old one")
    func restart() async throws {
        try await blocking {
            for round in 1...3 {
                let tap = try Tap(path)
                try tap.write(round)
                let now = try FrameStreamFile(path: path)
                #expect(now.payloads.count == 2 * round && !now.hasStop)
                tap.end()
            }
            for (name, count) in [("tap", 6), ("tap.1", 4), ("tap.2", 2)] {
                let file = try FrameStreamFile(path: folder.file(name))
                #expect(file.payloads.count == count && file.hasStop, "\(name)")
            }
            #expect(!FileManager.default.fileExists(atPath: folder.file("tap.3")))
        }
    }

    @Test(
        "that was left in the middle of a frame is moved aside, as is one that is something else; an empty one is not")
    func leftovers() async throws {
        try await blocking {
            for leftover in [Data("half a frame".utf8), Data(count: 100), Data("x".utf8)] {
                try leftover.write(to: URL(filePath: path))
                let tap = try Tap(path)
                try tap.write(1)
                tap.end()
                #expect(try Data(contentsOf: URL(filePath: path + ".1")) == leftover)
                try FileManager.default.removeItem(atPath: path)
                try FileManager.default.removeItem(atPath: path + ".1")
            }
            // Files without frames, with and without the control frames of every file: overwriting them loses nothing.
            for _ in 0..<3 { try Tap(path).end() }
            try Data().write(to: URL(filePath: path))
            try Tap(path).end()
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["tap"])
            #expect(try FrameStreamFile(path: path).hasStop)
        }
    }

    @Test("is renamed when full; no frame is lost or cut, and the configured number of files is kept")
    func rotation() async throws {
        try await blocking {
            let tap = try Tap(path, size: 64 << 10, kept: 3)
            for _ in 0..<40 { try tap.write(100) }
            tap.end()
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
            #expect(names == ["tap", "tap.1", "tap.2", "tap.3"])
            var times: [UInt64] = []
            for name in ["tap.3", "tap.2", "tap.1", "tap"] {
                let size = try #require(
                    try FileManager.default.attributesOfItem(atPath: folder.file(name))[.size] as? Int)
                #expect(size <= 64 << 10, "\(name)")
                let file = try FrameStreamFile(path: folder.file(name))
                #expect(file.hasStop, "\(name)")
                times += try file.frames().compactMap(\.queryTime)
            }
            // Each time twice, for query and response, without a gap up to the last.
            let first = try #require(times.first)
            #expect(times.count > 1000 && times.last == 1_795_453_200_000_000 + 3999)
            #expect(zip(times.dropFirst(), times).allSatisfy { $0 - $1 <= 1 } && first > 1_795_453_200_000_000)
        }
    }

    @Test("that was renamed is ended on reopening; one that was not is kept")
    func reopened() async throws {
        try await blocking {
            let tap = try Tap(path)
            try tap.write(1)
            tap.log.reopen()
            try tap.write(2)
            #expect(rename(path, folder.file("moved")) == 0)
            tap.log.reopen()
            try waitUntil("a new file") { FileManager.default.fileExists(atPath: path) }
            try tap.write(3)
            tap.end()
            let old = try FrameStreamFile(path: folder.file("moved"))
            #expect(old.payloads.count == 6 && old.hasStop)
            let new = try FrameStreamFile(path: path)
            #expect(new.payloads.count == 6 && new.hasStop)
        }
    }

    @Test("can't be a folder, a device, in a missing folder, or in use by another writer")
    func unusable() async throws {
        try await blocking {
            func failure(_ path: String) -> String {
                do {
                    _ = try DnstapWriter([.file(path: path)], identity: "", version: "")
                    return ""
                } catch {
                    return error.description
                }
            }
            #expect(failure(folder.path) == "\(folder.path): can't be written: Is a directory")
            #expect(failure("/dev/null").contains("is no regular file"))
            #expect(failure(folder.file("no/tap")).hasSuffix("No such file or directory"))
            let tap = try Tap(path)
            #expect(failure(path) == "\(path): is written by another process already")
            tap.end()
        }
    }
}
