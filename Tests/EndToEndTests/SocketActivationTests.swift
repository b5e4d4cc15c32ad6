import Foundation
import TestSupport
import Testing

/// Sockets passed by the service manager (sd_listen_fds(3)).
@Suite("A daemon with inherited sockets")
struct SocketActivationTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var quiet: [String] { ["--no-hosts", "--zones", folder.path, "--no-upstream"] }

    /// A program that opens `sockets`, Python expressions, and then executes the daemon, like a service manager.
    private func manager(_ sockets: [String], pid: String = "os.getpid()", count: String? = nil) -> [String] {
        let open = sockets.map { "        sockets.append(\($0))\n" }.joined()
        let script = """
            import errno, fcntl, os, socket, sys
            def make(kind, address="127.0.0.1", family=socket.AF_INET, listens=True):
                made = socket.socket(family, kind)
                made.bind((address, sockets[-1].getsockname()[1] if sockets else 0))
                if listens and kind == socket.SOCK_STREAM: made.listen(16)
                return made
            # A port that is free for one kind of socket may be taken for the other: another is tried.
            while True:
                sockets = []
                try:
            \(open)        break
                except OSError as error:
                    if error.errno != errno.EADDRINUSE: raise
            for index, one in enumerate([fcntl.fcntl(one, fcntl.F_DUPFD, 64) for one in sockets]):
                os.dup2(one, 3 + index)
            os.environ["LISTEN_FDS"] = "\(count ?? "\(sockets.count)")"
            os.environ["LISTEN_PID"] = str(\(pid))
            os.execv(sys.argv[1], sys.argv[1:])
            """
        return ["/usr/bin/python3", "-c", script]
    }

    @Test("answers on them, over UDP and TCP and with any number of workers, and listens nowhere else")
    func both() async throws {
        let manager = manager(["make(socket.SOCK_STREAM)", "make(socket.SOCK_DGRAM)"])
        let daemon = try await DaemonProcess(quiet + ["--workers", "3"], behind: manager, listens: false)
        for _ in 0..<20 { #expect(try await daemon.dig("localhost", "+short") == "127.0.0.1\n") }
        for _ in 0..<5 { #expect(try await daemon.dig("localhost", "+short", "+tcp") == "127.0.0.1\n") }
        #expect(try await daemon.stop() == 0)
        let ready = daemon.output.all.filter { $0.hasPrefix("ready ") || $0.hasPrefix("     ") }
        #expect(ready == ["ready      127.0.0.1:\(daemon.port) udp tcp"])
    }

    @Test("also answers on addresses configured in addition")
    func besides() async throws {
        let manager = manager(["make(socket.SOCK_DGRAM)"])
        let daemon = try await DaemonProcess(quiet, behind: manager)
        #expect(daemon.output.all.contains("ready      127.0.0.1:\(daemon.port) udp"))
        let other = try await daemon.output.first { $0.hasPrefix("           127.0.0.1:") }
        let port = try #require(other.split(separator: " ")[0].split(separator: ":").last.flatMap { UInt16($0) })
        #expect(other.hasSuffix(" udp tcp") && port != daemon.port)
        #expect(try await daemon.dig("localhost", "+short") == "127.0.0.1\n")
        #expect(try await daemon.dig("-p", "\(port)", "localhost", "+short", "+tcp") == "127.0.0.1\n")
    }

    @Test("answers IPv4 clients of a dual-stack socket from the address they asked")
    func bothFamilies() async throws {
        let manager = manager([
            "make(socket.SOCK_STREAM, '::', socket.AF_INET6)", "make(socket.SOCK_DGRAM, '::', socket.AF_INET6)",
        ])
        let daemon = try await DaemonProcess(quiet, behind: manager, listens: false)
        for address in ["127.0.0.1", "127.0.0.2", "::1"] {
            for transport in ["+notcp", "+tcp"] {
                let answer = try await Command.run(
                    [
                        "@\(address)", "-p", "\(daemon.port)", "+short", "+tries=1", "+time=\(longestWait)", transport,
                        "localhost",
                    ],
                    executable: URL(filePath: "/usr/bin/dig"))
                #expect(answer.output == "127.0.0.1\n", "\(address) \(transport)")
            }
        }
    }

    @Test("ignores sockets meant for another process")
    func others() async throws {
        let manager = manager(["make(socket.SOCK_DGRAM)"], pid: "os.getppid()")
        let daemon = try await DaemonProcess(quiet, behind: manager)
        #expect(daemon.output.all.filter { $0.contains("127.0.0.1:") }.count == 1)
        #expect(try await daemon.dig("localhost", "+short", "+tcp") == "127.0.0.1\n")
    }

    @Test(
        "reports unsuitable sockets and what the socket unit should say, and exits 78",
        arguments: [
            (["socket.socketpair()[0]"], nil, "descriptor 3"),
            (["make(socket.SOCK_DGRAM)", "make(socket.SOCK_STREAM, listens=False)"], nil, "descriptor 4"),
            (["make(socket.SOCK_DGRAM)"], "2", "descriptor 4"), (["make(socket.SOCK_DGRAM)"], "-1", "LISTEN_FDS"),
        ] as [([String], String?, String)])
    func wrong(_ sockets: [String], _ count: String?, _ named: String) async throws {
        let manager = manager(sockets, count: count)
        let program = try ProgramProcess(
            manager[0],
            manager.dropFirst() + [Command.executable.path, "serve"] + quiet
                + Command.apart)
        #expect(try await program.exitCode() == 78)
        #expect(try await program.errors.first(containing: named).hasPrefix("stub53: "))
    }
}
