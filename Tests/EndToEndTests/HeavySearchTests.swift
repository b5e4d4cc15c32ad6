import Foundation
import TestSupport
import Testing

/// Endless searches delay only other searches.
@Suite("Heavy searches of the history")
struct HeavySearchTests {
    /// A daemon whose searches for names never end.
    private final class World: Sendable {
        let folder: TemporaryFolder
        let daemon: DaemonProcess
        let page: String
        private let socket: String

        init() async throws {
            folder = try TemporaryFolder()
            socket = folder.file("control.sock")
            let library = try await Preload.library(Preload.heavySearches, in: folder)
            daemon = try await DaemonProcess(
                [
                    "--no-hosts", "--no-upstream", "--control", socket, "--history", folder.file("history.db"),
                    "--inspector", "127.0.0.1:0", "--log-file", folder.file("log"),
                ],
                behind: [
                    "/usr/bin/env", "LD_PRELOAD=\(library)", "HEAVY_SEARCHES=\(folder.file("searches"))",
                ])
            let line = try await daemon.output.first { $0.hasPrefix("inspector ") }
            page = String(try #require(line.split(separator: " ").last))
            _ = try await daemon.dig("some.test")
        }

        func curl(_ words: String...) async throws -> Command.Result {
            try await Command.run(
                ["-s", "--max-time", "\(longestWait)"] + words, executable: URL(filePath: "/usr/bin/curl"))
        }

        func control(_ words: String...) async throws -> Command.Result {
            try await Command.run(
                ["-s", "--max-time", "\(longestWait)", "--unix-socket", socket] + words,
                executable: URL(filePath: "/usr/bin/curl"))
        }

        /// The lines written by `Preload.heavySearches` that start with `start`.
        func lines(_ start: String) -> [String] {
            let data = FileManager.default.contents(atPath: folder.file("searches")) ?? Data()
            return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
                .filter { $0.hasPrefix(start) }
        }
    }

    @Test("do not delay metrics, statistics, reload or shutdown")
    func others() async throws {
        let world = try await World()
        // As many as there are threads for tasks, and more than may run at once; of two clients, each of which may run
        // only one at a time.
        let browsers = try (0..<max(2, ProcessInfo.processInfo.activeProcessorCount)).map { _ in
            try ProgramProcess("/usr/bin/curl", ["-s", "\(world.page)/names?q=x"])
        }
        let reader = try ProgramProcess(
            "/usr/bin/curl",
            ["-s", "--unix-socket", world.folder.file("control.sock"), "http://x/v1/lookups?filter=name:*x*"])
        try await eventually("two searches have begun") { world.lines("begun").count >= 2 }
        #expect(try await world.curl("\(world.page)/metrics").output.contains("stub53_build_info"))
        #expect(try await world.control("http://x/metrics").output.contains("stub53_build_info"))
        #expect(try await world.control("http://x/v1/stats").output.contains("by_source"))
        #expect(try await world.control("-X", "POST", "http://x/v1/reload").output.contains("overrides"))
        #expect(try await world.daemon.stop() == 0)
        _ = (browsers, reader)
    }

    @Test("end when their time is up; searches beyond the limit are refused, on the page and over the control socket")
    func refused() async throws {
        let world = try await World()
        let codes = ["-w", "\n%{http_code}"]
        let page = try await world.curl(codes[0], codes[1], "\(world.page)/names?q=x")
        #expect(page.output.contains("the search took longer than 5 s") && page.output.hasSuffix("\n503"))
        let api = try await world.control(codes[0], codes[1], "http://x/v1/lookups?filter=name:*x*")
        #expect(api.output.contains("\"error\":\"the search took longer than 5 s"), "\(api.output)")
        #expect(api.output.hasSuffix("\n503"))
        let many = try await world.curl(
            "--parallel", "--parallel-immediate", "--parallel-max", "50", "-w", "\n%{http_code}\n",
            "\(world.page)/names?q=[1-50]")
        let lines = many.output.split(separator: "\n")
        #expect(lines.count { $0 == "503" } == 50)
        #expect(many.output.contains("too many searches of the history are under way"))
        #expect(try await world.daemon.stop() == 0)
    }

    @Test("end when the client disconnects")
    func gone() async throws {
        let world = try await World()
        // Otherwise each would run for five seconds. On a machine that is too busy, ending one may take as long, hence
        // the retries.
        var shortest = Int.max
        for count in 1...10 where shortest > 4000 {
            let browser = try ProgramProcess("/usr/bin/curl", ["-s", "\(world.page)/names?q=x"])
            try await eventually("search \(count) has begun") { world.lines("begun").count >= count }
            browser.signal(SIGKILL)
            try await eventually("search \(count) has ended") { world.lines("ended").count >= count }
            shortest = world.lines("ended").compactMap { Int($0.dropFirst(6)) }.min() ?? .max
        }
        #expect(shortest < 4000)
        #expect(try await world.daemon.stop() == 0)
    }
}
