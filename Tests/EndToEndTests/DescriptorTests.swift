import Foundation
import TestSupport
import Testing

/// Descriptors that are used up, closed from the start, or not shown by the system.
@Suite("Descriptors")
struct DescriptorTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
    }

    private var sources: [String] { ["--hosts", folder.file("hosts"), "--no-upstream"] }

    // MARK: Used up

    enum Way: String, CaseIterable, Sendable { case tls, https, page, control }

    /// The options that serve it, and the words of curl that ask it.
    private func service(_ way: Way) throws -> (options: [String], request: [String]) {
        let port = try freePort()
        switch way {
        case .tls:
            return (
                ["--listen", "tls://127.0.0.1:\(port)"], ["-k", "-v", "--max-time", "1", "https://127.0.0.1:\(port)"]
            )
        case .https:
            return (["--listen", "https://127.0.0.1:\(port)"], ["-k", "https://127.0.0.1:\(port)/none"])
        case .page: return (["--inspector", "127.0.0.1:\(port)"], ["http://127.0.0.1:\(port)/metrics"])
        case .control:
            let path = folder.file("control.sock")
            return (["--control", path], ["--unix-socket", path, "http://stub53/stats"])
        }
    }

    @Test("that are used up make no listener spin; it serves again once there are some", arguments: Way.allCases)
    func usedUp(_ way: Way) async throws {
        let (options, request) = try service(way)
        let daemon = try await DaemonProcess(
            sources + options, behind: ["/usr/bin/env", "STATE_DIRECTORY=\(folder.file("state"))"],
            listens: way == .page || way == .control)
        let process = daemon.program.identifier
        @Sendable func answers() async throws -> Bool {
            let result = try await Command.run(
                ["-s", "-o", "/dev/null"] + request, executable: URL(filePath: "/usr/bin/curl"))
            // With TLS the handshake is enough.
            return result.code == 0 || result.errors.contains("SSL connection using")
        }
        @Sendable func open() throws -> Set<Int> {
            Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap { Int($0) })
        }
        #expect(try await answers())
        // Two numbers are free below the limit.
        let used = try open()
        var limit = 0
        var free = 0
        while free < 2 {
            if !used.contains(limit) { free += 1 }
            limit += 1
        }
        let limited = try await Command.run(
            ["--pid", "\(process)", "--nofile=\(limit):1024"], executable: URL(filePath: "/usr/bin/prlimit"))
        try #require(limited.code == 0, "\(limited.errors)")
        var clients = try (0..<12).map { _ in try HeldConnection(to: request) }
        let most = limit
        try await eventually("all are in use") { (0..<most).allSatisfy(try open().contains) }
        let before = try ticks(of: process)
        try await Task.sleep(for: .seconds(3))
        // A listener that spins takes all of the time, or all but its first second.
        #expect(try ticks(of: process) - before < sysconf(Int32(_SC_CLK_TCK)) / 2)
        clients.removeAll()
        _ = clients
        let end = ContinuousClock.now + .seconds(longestWait)
        var isServed = false
        while !isServed, ContinuousClock.now < end { isServed = try await answers() }
        #expect(isServed)
        #expect(try await daemon.stop() == 0)
    }

    /// The CPU time that a process has used.
    private func ticks(of process: pid_t) throws -> Int {
        let fields = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8).split(separator: " ")
        return (Int(fields[13]) ?? 0) + (Int(fields[14]) ?? 0)
    }

    @Test("that are few leave fewer connections than are configured, which a line at start says")
    func few() async throws {
        let daemon = try await DaemonProcess(
            sources + ["--inspector", "127.0.0.1:0"], behind: ["/usr/bin/prlimit", "--nofile=512:512"])
        let line = try await daemon.output.first { $0.hasPrefix("limit ") }
        #expect(line.hasPrefix("limit      512 open files: 176 connections at once, not 1000; raise "), "\(line)")
        #expect(try await daemon.dig("over.acme.org", "+tcp", "+short") == "127.0.0.14\n")
        #expect(try await daemon.stop() == 0)
    }

    // MARK: Closed from the start

    @Test(
        "0, 1 and 2, if closed at start, are nobody's sockets or databases",
        arguments: ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
    func closed(_ redirections: String) async throws {
        let port = try freePort()
        let program = try ProgramProcess(
            "/bin/sh",
            ["-c", "exec \"$@\" \(redirections)", "sh", Command.executable.path, "serve"] + sources + [
                "--listen", "127.0.0.1:\(port)", "--inspector", "off", "--control", folder.file("control.sock"),
                "--history", folder.file("history.db"),
            ])
        let socket = folder.file("control.sock")
        try await eventually("it is ready") { FileManager.default.fileExists(atPath: socket) }
        let answer = try await Command.run(
            ["@127.0.0.1", "-p", "\(port)", "+short", "+tries=30", "+time=2", "over.acme.org"],
            executable: URL(filePath: "/usr/bin/dig"))
        #expect(answer.output == "127.0.0.14\n")
        for (number, sign) in [(0, "<&-"), (1, " >&-"), (2, "2>&-")] where " \(redirections)".contains(sign) {
            let file = try FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/\(program.identifier)/fd/\(number)")
            #expect(file == "/dev/null", "\(number)")
        }
        program.signal(SIGTERM)
        #expect(try await program.exitCode() == 0)
    }

    @Test("closed at start do not trouble the other commands", arguments: ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    func closedForCommands(_ redirections: String) async throws {
        for words in [["check"], ["why", "over.acme.org"]] {
            let result = try await Command.run(
                ["-c", "\"$@\" \(redirections)", "sh", Command.executable.path] + words + sources,
                executable: URL(filePath: "/bin/sh"))
            #expect(result.code == 0, "\(words): \(result)")
        }
    }

    // MARK: Not shown

    @Test(
        "Without /proc every command says that it is missing",
        .enabled(if: Namespace.isAvailable, "takes root, to mount"),
        arguments: [["--version"], ["serve", "--no-hosts"], ["why", "over.acme.org"], ["exec", "true"]])
    func noProc(_ words: [String]) async throws {
        let entry = Namespace.entry("mount -t tmpfs none /proc", in: folder)
        let result = try await Command.run(
            Array(entry.dropFirst()) + [Command.executable.path] + words, executable: URL(filePath: entry[0]))
        #expect(result.code == 1 && result.output.isEmpty)
        #expect(result.errors.hasPrefix("stub53: /proc is not mounted, ") && result.errors.contains("mount -t proc"))
    }
}

/// A connection on which nothing is sent, to the server of a curl command; closed with its last reference.
private final class HeldConnection {
    private let descriptor: Int32

    init(to request: [String]) throws {
        if let index = request.firstIndex(of: "--unix-socket") {
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: request[index + 1].utf8) }
            try connect(&address)
        } else {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            address.sin_port = UInt16(URL(string: request.last ?? "")?.port ?? 0).bigEndian
            try connect(&address)
        }
    }

    private func connect<Address>(_ address: inout Address) throws {
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
        guard code == 0 else { throw LineReader.Missing(description: "connect: \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }
}
