public import Foundation

/// A real daemon on a loopback port that the kernel chose; gone with the test.
public final class DaemonProcess: @unchecked Sendable {
    private let process = Process()
    public var identifier: pid_t { process.processIdentifier }
    /// Standard output: the start-up lines, then the lookups.
    public let output: LineReader
    public let errors: LineReader
    /// What it serves: the first address of its `ready` line.
    public private(set) var address = ""
    public private(set) var port: UInt16 = 0

    /// Runs `stub53 serve ARGUMENTS` and waits until it is ready.
    ///
    /// Without `--listen` it gets a free port of 127.0.0.1, without `--log` JSON lines, and of the sources of the
    /// machine only what `arguments` name.
    ///
    /// - Throws: `LineReader.Missing` with what it said when it ends before that.
    public init(_ arguments: [String], executable: URL = Command.executable, folder: String? = nil) async throws {
        var all = ["serve"] + arguments
        if !arguments.contains("--listen"), !arguments.contains("--config") { all += ["--listen", "127.0.0.1:0"] }
        if !arguments.contains("--log"), !arguments.contains("--config") { all += ["--log", "json"] }
        process.executableURL = executable
        process.arguments = all
        if let folder { process.currentDirectoryURL = URL(filePath: folder) }
        let outputPipe = Pipe()
        let errorPipe = Pipe()
        process.standardOutput = outputPipe
        process.standardError = errorPipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        output = LineReader(outputPipe.fileHandleForReading)
        errors = LineReader(errorPipe.fileHandleForReading)
        do {
            let ready = try await output.first { $0.hasPrefix("ready") }
            let words = ready.split(separator: " ")
            guard words.count > 1, let colon = words[1].lastIndex(of: ":"),
                let port = UInt16(words[1][words[1].index(after: colon)...])
            else { throw LineReader.Missing(description: "'\(ready)' has no address") }
            address = words[1][..<colon].trimmingCharacters(in: ["[", "]"])
            self.port = port
        } catch {
            let said = errors.all.joined(separator: "\n")
            kill(process.processIdentifier, SIGKILL)
            throw LineReader.Missing(description: "\(error)\n\(said)")
        }
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    public func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// The exit code, once it has ended (negative: ended by that signal).
    public func exitCode(within seconds: Double = 20) async throws -> Int32 {
        // Its standard output closes with it.
        _ = try? await output.first(within: seconds) { _ in false }
        guard
            await withCheckedContinuation({ (done: CheckedContinuation<Bool, Never>) in
                Thread.detachNewThread { [process] in
                    let end = Date.now + 2
                    while process.isRunning, Date.now < end { usleep(1000) }
                    done.resume(returning: !process.isRunning)
                }
            })
        else { throw LineReader.Missing(description: "it has not ended after \(seconds) s") }
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    /// Ends it as an administrator does.
    public func stop() async throws -> Int32 {
        signal(SIGTERM)
        return try await exitCode()
    }

    /// The logged lookup of `name` (absolute) and `type`: the first one from index `from` of the output on.
    public func lookup(_ name: String, _ type: String, from: Int = 0) async throws -> [String: Any] {
        let line = try await output.first(from: from) {
            $0.contains("\"name\":\"\(name)\"") && $0.contains("\"type\":\"\(type)\"")
        }
        return try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
    }

    /// Runs a program with these words; its standard output.
    public func run(_ program: String, _ arguments: [String]) async throws -> Command.Result {
        try await Command.run(arguments, executable: URL(filePath: program))
    }

    /// Standard output of `dig @ADDRESS -p PORT WORDS`.
    public func dig(_ words: String...) async throws -> String {
        try await run("/usr/bin/dig", ["@\(address)", "-p", "\(port)", "+tries=1", "+time=10"] + words).output
    }
}
