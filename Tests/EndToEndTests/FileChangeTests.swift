import Foundation
import TestSupport
import Testing

/// Files that change in ways that editors don't: swapped with their folders, out of reach, written elsewhere.
@Suite("A running daemon whose files move", .serialized)
struct FileChangeTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func daemon(_ more: [String], behind wrapper: [String] = []) async throws -> DaemonProcess {
        try await DaemonProcess(more + ["--zones", "none", "--no-upstream"], behind: wrapper)
    }

    /// Runs `change`, and waits until the daemon reports that it has loaded what it could.
    private func reload(_ daemon: DaemonProcess, _ change: () throws -> Void) async throws -> [String] {
        let before = daemon.errors.all.count
        try change()
        _ = try await daemon.errors.first(from: before) { $0.hasPrefix("reload ") && $0.contains(": ") }
        return Array(daemon.errors.all[before...])
    }

    private func expect(_ address: String, _ daemon: DaemonProcess) async throws {
        // A swap may be loaded half first, and then whole.
        try await asking("the answer \(address)") { try await daemon.dig("over.test", "+short") == "\(address)\n" }
    }

    @Test("sees the file of a folder swapped above it, and later edits of that", arguments: [false, true])
    func folderSwapped(isLink: Bool) async throws {
        try folder.write("127.0.0.21 over.test\n", to: "live/conf/hosts")
        try folder.write("127.0.0.22 over.test\n", to: "next/conf/hosts")
        var path = folder.file("live/conf/hosts")
        if isLink {
            path = folder.file("hosts")
            #expect(symlink("live/conf/hosts", path) == 0)
        }
        let daemon = try await daemon(["--hosts", path])
        try await expect("127.0.0.21", daemon)
        _ = try await reload(daemon) {
            #expect(rename(folder.file("live"), folder.file("old")) == 0)
            #expect(rename(folder.file("next"), folder.file("live")) == 0)
        }
        try await expect("127.0.0.22", daemon)
        try folder.write("127.0.0.23 over.test\n", to: "live/conf/hosts")
        try await expect("127.0.0.23", daemon)
        // The file that is out of use.
        try folder.write("127.0.0.99 over.test\n", to: "old/conf/hosts")
        // Its folder comes back a while after it has gone.
        _ = try await reload(daemon) { #expect(rename(folder.file("live"), folder.file("away")) == 0) }
        try await expect("127.0.0.23", daemon)
        try folder.write("127.0.0.24 over.test\n", to: "away/conf/hosts")
        #expect(rename(folder.file("away"), folder.file("live")) == 0)
        try await expect("127.0.0.24", daemon)
        #expect(try await daemon.stop() == 0)
    }

    @Test("keeps the lines of one of two hosts files that is renamed away, says so, and reads it when it is back")
    func oneOfTwo() async throws {
        try folder.write("127.0.0.14 over.test\n", to: "first")
        try folder.write("127.0.0.15 other.test\n", to: "second")
        let socket = folder.file("control.sock")
        let daemon = try await daemon(
            ["--hosts", folder.file("first"), "--hosts", folder.file("second"), "--control", socket])
        _ = try await daemon.output.first { $0.hasPrefix("control") }
        let said = try await reload(daemon) { #expect(rename(folder.file("first"), folder.file("gone")) == 0) }
        #expect(said.contains { $0.hasPrefix("\(folder.file("first")): ") && $0.contains("last good lines stay") })
        try await expect("127.0.0.14", daemon)
        let stats = try await Command.run(["stats", "--control", socket]).output
        #expect(stats.contains("\(folder.file("first")) not read, its last good lines stay"), "\(stats)")
        // The other one is followed meanwhile.
        _ = try await reload(daemon) { try folder.write("127.0.0.16 other.test\n", to: "second") }
        #expect(try await daemon.dig("other.test", "+short") == "127.0.0.16\n")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        let back = try await reload(daemon) { try folder.write("127.0.0.17 over.test\n", to: "first") }
        #expect(!back.contains { $0.contains("last good lines") }, "\(back)")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.17\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("sees what a writer has synced who keeps the file open")
    func openWriter() async throws {
        try folder.write("127.0.0.31 over.test\n", to: "hosts")
        let daemon = try await daemon(["--hosts", folder.file("hosts")])
        let handle = try FileHandle(forUpdating: URL(filePath: folder.file("hosts")))
        _ = try await reload(daemon) {
            try handle.write(contentsOf: Data("127.0.0.32 over.test\n".utf8))
            try handle.synchronize()
        }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.32\n")
        try handle.close()
    }

    @Test(
        "sees the file of a folder that is mounted over its own",
        .enabled(if: Namespace.isAvailable, "takes root, to mount"))
    func mountedOver() async throws {
        try folder.write("127.0.0.31 over.test\n", to: "conf/hosts")
        try folder.write("127.0.0.32 over.test\n", to: "other/hosts")
        let daemon = try await daemon(
            ["--hosts", folder.file("conf/hosts")], behind: Namespace.entry("true", in: folder))
        func inside(_ words: String...) async throws {
            let result = try await Command.run(
                ["-t", "\(daemon.program.identifier)", "-m"] + words, executable: URL(filePath: "/usr/bin/nsenter"))
            #expect(result.code == 0, "\(result)")
        }
        try await inside("mount", "--bind", folder.file("other"), folder.file("conf"))
        try await expect("127.0.0.32", daemon)
        try await inside("umount", folder.file("conf"))
        try await expect("127.0.0.31", daemon)
    }
}
