import Foundation
import TestSupport
import Testing

/// Searches that would never end hold up other searches alone.
@Suite("Heavy searches of the history")
struct HeavySearchTests {
    /// A daemon whose searches of names have no end.
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

        /// Lines of `Preload.heavySearches` that start so.
        func lines(_ start: String) -> [String] {
            let data = FileManager.default.contents(atPath: folder.file("searches")) ?? Data()
            return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
                .filter { $0.hasPrefix(start) }
        }
    }

    @Test("leave metrics, statistics, reload and the end to others")
    func others() async throws {
        let world = try await World()
        // As many as there are threads for tasks, and more than may search at once.
        let browsers = try (0..<max(2, ProcessInfo.processInfo.activeProcessorCount)).map { _ in
            try ProgramProcess("/usr/bin/curl", ["-s", "\(world.page)/names?q=x"])
        }
        try await eventually("two searches have begun") { world.lines("begun").count >= 2 }
        #expect(try await world.curl("\(world.page)/metrics").output.contains("stub53_build_info"))
        #expect(try await world.control("http://x/metrics").output.contains("stub53_build_info"))
        #expect(try await world.control("http://x/v1/stats").output.contains("by_source"))
        #expect(try await world.control("-X", "POST", "http://x/v1/reload").output.contains("overrides"))
        #expect(try await world.daemon.stop() == 0)
        _ = browsers
    }

    @Test("end after their time, and those that find no place are told so, on the page and over the control socket")
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

    @Test("end with whoever asked")
    func gone() async throws {
        let world = try await World()
        // Without that, none ends before its five seconds are over. A machine that is too busy may take as long.
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
