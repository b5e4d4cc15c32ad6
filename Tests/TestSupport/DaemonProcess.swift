import Foundation

/// A real daemon on a loopback port chosen by the kernel; ends with the test.
package final class DaemonProcess: Sendable {
    package let program: ProgramProcess
    /// The first address of its `ready` line.
    package let address: String
    package let port: UInt16

    /// Standard output: the start-up lines, then the lookups.
    package var output: LineReader { program.output }
    package var errors: LineReader { program.errors }

    /// Runs `stub53 serve ARGUMENTS` and waits until it is ready.
    ///
    /// `behind`: a program that runs it, with that program's arguments. Without `--listen` it gets a free port of
    /// 127.0.0.1 (unless `listens` is false), without `--log` it writes JSON lines; inspector, control socket and
    /// history are off unless requested.
    ///
    /// - Throws: `LineReader.Missing` with its output if it ends before.
    package init(
        _ arguments: [String], behind wrapper: [String] = [], folder: String? = nil, listens: Bool = true
    ) async throws {
        var all = wrapper + [Command.executable.path, "serve"] + arguments
        if listens, !arguments.contains("--listen") { all += ["--listen", "127.0.0.1:0"] }
        if !arguments.contains("--log") { all += ["--log", "json"] }
        for flag in Command.apart where flag != "off" && !arguments.contains(flag) { all += [flag, "off"] }
        // It ends even if the tests are killed.
        all.append("--end-with-input")
        program = try ProgramProcess(all.removeFirst(), all, folder: folder, endsWithUs: true)
        do {
            let ready = try await program.output.first { $0.hasPrefix("ready") }
            let words = ready.split(separator: " ")
            guard words.count > 1, let colon = words[1].lastIndex(of: ":"),
                let port = UInt16(words[1][words[1].index(after: colon)...])
            else { throw LineReader.Missing(description: "'\(ready)' has no address") }
            address = words[1][..<colon].trimmingCharacters(in: ["[", "]"])
            self.port = port
        } catch {
            throw LineReader.Missing(description: "\(error)\n\(program.errors.all.joined(separator: "\n"))")
        }
    }

    /// Ends it like an administrator.
    package func stop() async throws -> Int32 {
        program.signal(SIGTERM)
        return try await program.exitCode()
    }

    /// The logged lookup of `name` (absolute) and `type`: the first one from index `from` of the output on.
    package func lookup(_ name: String, _ type: String, from: Int = 0) async throws -> [String: Any] {
        let line = try await output.first(from: from) {
            $0.contains("\"name\":\"\(name)\"") && $0.contains("\"type\":\"\(type)\"")
        }
        return try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
    }

    /// Standard output of `dig @ADDRESS -p PORT WORDS`.
    package func dig(_ words: String...) async throws -> String {
        let result = try await Command.run(
            ["@\(address)", "-p", "\(port)", "+tries=1", "+time=\(longestWait)"] + words,
            executable: URL(filePath: "/usr/bin/dig"))
        // A test would only show that the answer is another one.
        if result.code != 0 {
            let said = "dig \(words) ended with \(result.code): \(result.output)\(result.errors)\n"
            try FileHandle.standardError.write(contentsOf: Data(said.utf8))
        }
        return result.output
    }
}
