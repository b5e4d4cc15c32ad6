import Foundation
import TestSupport
import Testing

/// The recipes of Documentation.docc/Testing.md, run as they are written there.
@Suite(
    "Recipes of the documentation",
    .enabled(if: Namespace.isAvailable, "port 53 and mount namespaces are needed: run as root"))
struct RecipeTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        // The program by the name that a recipe uses.
        try FileManager.default.createDirectory(atPath: folder.file("bin"), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: folder.file("bin/stub53"), withDestinationPath: Command.executable.path)
    }

    /// What is below a heading: files, each behind a line that begins with its name (`**NAME**:`), and commands.
    private struct Recipe {
        struct Missing: Error {
            var heading: String
        }

        var files: [String: String] = [:]
        /// The blocks that are no file's.
        var commands: [String] = []

        init(_ heading: String) throws {
            let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent()
            let text = try String(
                contentsOf: root.appending(path: "Sources/stub53/Documentation.docc/Testing.md"), encoding: .utf8)
            let sections = text.components(separatedBy: "\n### ")
            guard let section = sections.first(where: { $0.hasPrefix(heading + "\n") }) else {
                throw Missing(heading: heading)
            }
            var file: String?
            var block: String?
            for line in section.components(separatedBy: "\n").dropFirst() {
                if let lines = block {
                    if !line.hasPrefix("```") {
                        block = lines + line + "\n"
                    } else if let name = file {
                        files[name] = lines
                        (file, block) = (nil, nil)
                    } else {
                        commands.append(lines)
                        block = nil
                    }
                } else if line.hasPrefix("```") {
                    block = ""
                } else if !line.isEmpty {
                    file = line.firstMatch(of: /^\*\*([\w.\/]+)\*\*[:,]/).map { String($0.1) }
                }
            }
        }
    }

    /// Runs a shell, in which a failed command ends the script, below a daemon with other answers for what the script's
    /// daemons ask upstream: that of the whole machine is unknown.
    private func run(_ script: String, upstream: [String]) async throws -> Command.Result {
        try await Command.run(
            ["exec", "--no-hosts", "--no-upstream"] + upstream
                + ["--", "/usr/bin/env", "PATH=\(folder.file("bin")):/usr/bin:/bin", "sh", "-ec", script],
            in: folder.path)
    }

    private func write(_ recipe: Recipe) throws {
        for (name, text) in recipe.files { try folder.write(text, to: name) }
    }

    @Test("a shell script: rules and expectations, then what is recorded is replayed without a network")
    func shell() async throws {
        let recipe = try Recipe("A shell script")
        #expect(recipe.files.keys.sorted() == ["check.sh", "shop.expect", "shop.hosts", "shop.rules"])
        try #require(recipe.commands.count == 2)
        try write(recipe)
        let checked = try await run(recipe.commands[0], upstream: [])
        #expect(checked.code == 0, "\(checked)")
        #expect(checked.errors.contains("3 of 3 expectations hold\n"), "\(checked)")

        // In the network's place.
        try folder.write(
            """
            $ORIGIN acme.org.
            @ 60 IN SOA ns hostmaster 1 7200 3600 1209600 300
            @ 60 NS ns
            ns 60 A 192.0.2.1
            www 60 A 192.0.2.80

            """, to: "network/acme.org.zone")
        let recorded = try await run(recipe.commands[1], upstream: ["--zone", "network/acme.org.zone"])
        #expect(recorded.code == 0 && recorded.errors.contains("acme.cassette: "), "\(recorded)")
        let lines = recorded.output.split(separator: "\n")
        try #require(lines.count == 2, "\(recorded)")
        #expect(lines[0].hasPrefix("192.0.2.80 ") && lines[1] == lines[0])

        let replay = try #require(recipe.commands[1].split(separator: "\n").last)
        #expect(replay.contains("--replay"))
        let replayed = try await run(String(replay), upstream: [])
        #expect(replayed.code == 0 && replayed.output == lines[1] + "\n", "\(replayed)")
    }

    @Test("the shell script fails if DNS is not what it expects")
    func shellFails() async throws {
        let recipe = try Recipe("A shell script")
        try write(recipe)
        try folder.write("192.0.2.16 shop.test\n192.0.2.15 api.shop.test\n", to: "shop.hosts")
        let result = try await run(recipe.commands[0], upstream: [])
        #expect(result.code == 1 && result.errors.contains("shop.test has another address"), "\(result)")
    }

    private static let hasPytest =
        FileManager.default.isExecutableFile(atPath: "/usr/bin/pytest")
        && FileManager.default.fileExists(atPath: "/usr/lib/python3/dist-packages/xdist")

    @Test(
        "pytest: each of four workers has answers of its own",
        .enabled(if: hasPytest, "python3-pytest and python3-pytest-xdist are needed"))
    func pytest() async throws {
        let recipe = try Recipe("pytest, with answers of its own for each worker")
        #expect(
            recipe.files.keys.sorted() == ["acme.cassette", "conftest.py", "dns.expect", "test_shop.py", "views.yaml"])
        try #require(recipe.commands.count == 1)
        try write(recipe)
        let result = try await run(recipe.commands[0], upstream: [])
        #expect(result.code == 0, "\(result)")
        #expect(result.output.contains(" 42 passed in "), "\(result)")
        #expect(result.errors.contains("5 of 5 expectations hold\n"), "\(result)")
    }
}
