import ArgumentParser
import CLinux
import Daemon
import Glibc
import Platform

/// A daemon for one command: `serve` of this program, on port 53 of an unused loopback address.
///
/// It runs outside the command's namespace and reads the machine's own files.
struct PrivateDaemon {
    let address: Platform.SocketAddress
    private let process: pid_t
    /// The other end is its standard input: when this closes, however we end, it ends too.
    private let lifeline: Int32

    /// Starts it and waits until it is ready; its messages go to standard error.
    ///
    /// - Throws: `ExitCode` with the daemon's exit code if it ends instead.
    static func start(_ arguments: [String], history: String? = nil) throws -> PrivateDaemon {
        let address = try freeAddress()
        // It reads this user's files, and serves nobody else.
        let own = SystemUser(id: geteuid()).map { ["--user=\($0.name)"] } ?? []
        // One thread suffices for one command.
        let all =
            [
                "stub53", "serve", "--end-with-input", "--listen", "\(address)", "--workers", "1", "--inspector", "off",
                "--control", "off", "--history", history ?? "off",
            ] + own + arguments
        let (input, lifeline) = try pipeEnds()
        let (ready, output) = try pipeEnds()
        defer { close(ready) }
        let process = try spawn(all, input: input, output: output)
        close(input)
        close(output)
        let daemon = PrivateDaemon(address: address, process: process, lifeline: lifeline)
        guard isReady(ready) else {
            let code = daemon.stop()
            throw ExitCode(code == 0 ? ServiceFailure.Code.problem.rawValue : code)
        }
        return daemon
    }

    /// Ends it properly; returns its exit code, or 128 plus the signal that ended it.
    @discardableResult
    func stop() -> Int32 {
        close(lifeline)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR { continue }
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    // MARK: The process

    private static func spawn(_ arguments: [String], input: Int32, output: Int32) throws -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Its own process group, because Ctrl-C is meant for the command. The current thread may block all signals, so
        // none is inherited.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        var process = pid_t()
        let result = withCStrings(arguments) { arguments in
            withCStrings(environment) { posix_spawn(&process, program, &actions, &attributes, arguments, $0) }
        }
        guard result == 0 else {
            throw ServiceFailure(
                .problem, "\(program) can't be started: \(String(cString: strerror(result))); is it still there?")
        }
        return process
    }

    /// Without the service manager's variables: it would report itself in our place.
    private static var environment: [String] {
        var list: [String] = []
        var next = environ
        while let entry = next.pointee {
            list.append(String(cString: entry))
            next += 1
        }
        return list.filter { entry in !["NOTIFY_SOCKET=", "LISTEN_"].contains { entry.hasPrefix($0) } }
    }

    /// The program's path, so that `ps` and messages show its name.
    private static let program: String = {
        let link = "/proc/self/exe"
        guard let path = realpath(link, nil) else { return link }
        defer { free(path) }
        return String(cString: path)
    }()

    private static func pipeEnds() throws(ServiceFailure) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard clinux_pipe(&ends) == 0 else {
            throw ServiceFailure(
                .problem, "a pipe can't be opened: \(String(cString: strerror(errno))); raise 'ulimit -n'")
        }
        return (ends[0], ends[1])
    }

    /// Reads until the daemon reports that it is ready; false if it ends first.
    private static func isReady(_ descriptor: Int32) -> Bool {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            text += buffer[..<count]
            let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
            if lines.contains(where: { $0.starts(with: "ready ".utf8) }) { return true }
        }
    }

    // MARK: The address

    /// An address whose port 53 was free just now, for UDP and TCP. Among sixteen million, nobody else will take it
    /// meanwhile.
    private static func freeAddress() throws(ServiceFailure) -> Platform.SocketAddress {
        for _ in 0..<20 {
            // Not 127.0.x.y, where other programs have fixed addresses.
            let low = 0x7F00_0000 | UInt64.random(in: 1...254) << 16 | UInt64.random(in: 0...0xFFFF)
            let address = Platform.SocketAddress(high: 0, low: low, port: 53, isIPv6: false)
            switch bindError(address, SOCK_STREAM) ?? bindError(address, SOCK_DGRAM) {
            case nil: return address
            case EADDRINUSE: continue
            case EACCES, EPERM:
                throw ServiceFailure(
                    .permission,
                    "a daemon of its own needs port 53, since resolv.conf can't name another, and ports below 1024 need a "
                        + "permission; run this as root, or 'setcap cap_net_bind_service=+ep \(program)', or "
                        + "'sysctl net.ipv4.ip_unprivileged_port_start=53', or start 'stub53 serve' as a service and "
                        + "leave the options for sources out here")
            case let code?:
                throw ServiceFailure(
                    .problem, "\(address) can't be bound: \(String(cString: strerror(code))); is the interface lo up?")
            }
        }
        throw ServiceFailure(
            .problem,
            "port 53 of every loopback address is taken, as by a server that listens on 0.0.0.0:53; have that one listen on "
                + "the addresses only that it needs")
    }

    private static func bindError(_ address: Platform.SocketAddress, _ kind: __socket_type) -> Int32? {
        let descriptor = socket(AF_INET, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        return address.withSockaddr { bind(descriptor, $0, $1) } == 0 ? nil : errno
    }
}

/// Calls `body` with the strings as a nil-terminated C array.
func withCStrings<R>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) throws -> R
) rethrows -> R {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return try (copies + [nil]).withUnsafeBufferPointer { try body($0.baseAddress.unsafelyUnwrapped) }
}
