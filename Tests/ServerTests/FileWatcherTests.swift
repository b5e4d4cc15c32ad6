import Foundation
import TestSupport
import Testing

@testable import Daemon

/// What a look sees that inotify does not report.
@Suite("A look at watched files")
struct FileWatcherTests {
    private let folder: TemporaryFolder
    private let watcher = FileWatcher()

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.1 a.test\n", to: "live/hosts")
        watcher.watch([folder.file("live/hosts")], since: FileWatcher.now())
    }

    /// Of a writer that keeps the file open.
    private func write(_ text: String, _ handle: FileHandle) throws {
        try handle.write(contentsOf: Data(text.utf8))
        try handle.synchronize()
    }

    @Test("sees what a writer has written who keeps the file open, once it pauses")
    func openWriter() throws {
        #expect(watcher.look() == .same)
        let handle = try FileHandle(forUpdating: URL(filePath: folder.file("live/hosts")))
        try handle.seekToEnd()
        try write("127.0.0.2 b.test\n", handle)
        #expect(watcher.look() == .unsettled)
        try write("127.0.0.3 c.test\n", handle)
        #expect(watcher.look() == .unsettled)
        #expect(watcher.look() == .changed)
        // Until the file is read again.
        #expect(watcher.look() == .changed)
        watcher.begin()
        #expect(watcher.look() == .same)
        try handle.close()
    }

    @Test("does not wait for ever for a writer who never pauses")
    func restless() throws {
        let handle = try FileHandle(forUpdating: URL(filePath: folder.file("live/hosts")))
        try handle.seekToEnd()
        var looks: [FileWatcher.Look] = []
        for number in 0..<4 {
            try write("127.0.0.\(number) n\(number).test\n", handle)
            looks.append(watcher.look())
        }
        #expect(looks == [.unsettled, .unsettled, .unsettled, .changed])
        try handle.close()
    }

    @Test("sees another file of the same size and time, and one that is gone or comes")
    func replaced() throws {
        let attributes = try FileManager.default.attributesOfItem(atPath: folder.file("live/hosts"))
        try folder.write("127.0.0.9 a.test\n", to: "next/hosts")
        try FileManager.default.setAttributes(
            [.modificationDate: try #require(attributes[.modificationDate])], ofItemAtPath: folder.file("next/hosts"))
        #expect(rename(folder.file("live"), folder.file("old")) == 0)
        #expect(watcher.look() == .unsettled)
        #expect(watcher.look() == .changed)
        watcher.begin()
        #expect(watcher.look() == .same)
        #expect(rename(folder.file("next"), folder.file("live")) == 0)
        #expect(watcher.look() == .unsettled)
        #expect(watcher.look() == .changed)
    }
}
