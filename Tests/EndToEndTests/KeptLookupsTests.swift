import Foundation
import TestSupport
import Testing

@Suite("Stored lookups")
struct KeptLookupsTests {
    private func names(_ result: Command.Result) throws -> [String] {
        try result.output.split(separator: "\n").compactMap {
            let line = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            return line?["name"] as? String
        }
    }

    @Test("A killed daemon's lookups are there after the next start, and new ones follow")
    func killed() async throws {
        let world = try await ControlTests.World()
        for index in 0..<5 { _ = try await world.daemon.dig("before\(index).acme.org") }
        try await eventually("the lookups are kept") {
            try Data(contentsOf: URL(filePath: world.folder.file("state/history.db-wal")))
                .range(of: Data("before4".utf8)) != nil
        }
        world.daemon.program.signal(SIGKILL)
        #expect(try await world.daemon.program.exitCode() == -SIGKILL)
        let again = try await DaemonProcess([
            "--no-upstream", "--no-hosts", "--zones", world.folder.file("zones"), "--control", world.socket,
            "--history", world.folder.file("state/history.db"),
        ])
        _ = try await again.dig("after.acme.org")
        let result = try await world.run("log", "--json")
        #expect(try names(result) == (0..<5).map { "before\($0).acme.org." } + ["after.acme.org."])
        #expect(try await again.stop() == 0)
        let check = try await Command.run(
            [world.folder.file("state/history.db"), "PRAGMA integrity_check; SELECT count(*) FROM lookups"],
            executable: URL(filePath: "/usr/bin/sqlite3"))
        #expect(check.output == "ok\n6\n")
    }

    @Test("A full disk stops the history, which is reported, but not the answers", .enabled(if: Namespace.isAvailable))
    func fullDisk() async throws {
        let folder = try TemporaryFolder()
        let socket = folder.file("control.sock")
        let daemon = try await Namespace.daemon(
            "mkdir $folder/small; mount -t tmpfs -o size=2m none $folder/small",
            [
                "--no-hosts", "--no-upstream", "--control", socket, "--history", folder.file("small/history.db"),
                "--log-file", folder.file("log"),
            ], in: folder)
        _ = try await daemon.dig("before.test")
        // The same disk, as seen through the daemon's namespace.
        let disk = "/proc/\(daemon.program.identifier)/root\(folder.path)/small"
        let filler = open(disk + "/filler", O_WRONLY | O_CREAT, 0o600)
        #expect(filler >= 0)
        let piece = [UInt8](repeating: 1, count: 4096)
        while write(filler, piece, piece.count) > 0 {}
        #expect(errno == ENOSPC)
        close(filler)
        let said = daemon.errors.all.count
        for index in 0..<10 {
            #expect(try await daemon.dig("during\(index).test", "+noall", "+comments").contains("NXDOMAIN"))
        }
        let complaint = try await daemon.errors.first(from: said) { $0.contains("history") }
        #expect(
            complaint.contains("small/history.db: can't be written: database or disk is full; lookups are answered"))
        unlink(disk + "/filler")
        _ = try await daemon.errors.first { $0.contains("small/history.db: writing again") }
        _ = try await daemon.dig("after.test")
        // Few enough to wait for room: none is missing.
        let result = try await Command.run(["log", "--json", "--control", socket])
        #expect(
            try names(result) == ["before.test."] + (0..<10).map { "during\($0).test." } + ["after.test."],
            "\(result.errors)")
        #expect(daemon.errors.all.filter { $0.contains("can't be written") }.count == 1)
        #expect(try await daemon.stop() == 0)
    }
}
