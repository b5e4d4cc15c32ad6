import Glibc
import Hummingbird
import Logging
import NIOCore
public import Server
import ServiceLifecycle
import Synchronization

/// The control socket: who may open it may look at the service and steer it.
///
/// - The file: mode 0660, in a folder that is made (0750) where it is missing, removed at the end. One that another
///   daemon left is taken over; one that is in use is not.
public final class ControlServer: DaemonCompanion {
    private let path: String
    /// Nobody asked for it: then it is left out when it can't be had.
    private let isOptional: Bool
    private let api: ControlAPI
    private let readiness = Readiness()

    public init(path: String, isOptional: Bool, _ api: ControlAPI) {
        self.path = path
        self.isOptional = isOptional
        self.api = api
    }

    public func ready() async -> [String] { await readiness.wait() }

    public func run() async throws {
        if let reason = prepare() {
            guard isOptional else {
                readiness.end([])
                throw ServiceFailure(.configuration, "\(path): \(reason)")
            }
            readiness.end(["control    off: \(path): \(reason)"])
            try? await gracefulShutdown()
            return
        }
        let router = Router()
        api.addRoutes(to: router)
        let (path, readiness) = (path, readiness)
        let application = Application(
            router: router,
            configuration: .init(address: .unixDomainSocket(path: path), serverName: "stub53"),
            onServerRunning: { _ in
                chmod(path, 0o660)
                readiness.end(["control    \(path)"])
            },
            logger: Self.silent)
        defer {
            unlink(path)
            readiness.end([])
        }
        try await application.runUntilShutdown()
    }

    /// Makes the folder, and room for the socket; returns why it can't be had.
    private func prepare() -> String? {
        guard path.utf8.count < 108 else {
            return "the path is longer than the 107 bytes of a socket's; name a shorter one"
        }
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            if let reason = Self.makeFolder(String(path[..<slash])) { return reason }
        }
        var status = stat()
        guard lstat(path, &status) == 0 else {
            return errno == ENOENT ? nil : String(cString: strerror(errno))
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            return "is there and is no socket; name another with --control"
        }
        let probe = UnixSocket.connect(path)
        if probe >= 0 {
            close(probe)
            return "another daemon has it; name another with --control, or switch it off"
        }
        guard errno == ECONNREFUSED else { return String(cString: strerror(errno)) }
        return nil
    }

    private static func makeFolder(_ path: String) -> String? {
        if access(path, F_OK) == 0 {
            return access(path, W_OK | X_OK) == 0 ? nil : "its folder can't be written; name another with --control"
        }
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex,
            let reason = makeFolder(String(path[..<slash]))
        {
            return reason
        }
        guard mkdir(path, 0o750) == 0 || errno == EEXIST else {
            return "the folder \(path) can't be made: \(String(cString: strerror(errno)))"
        }
        return nil
    }

    static let silent = Logger(label: "stub53") { _ in SwiftLogNoOpLogHandler() }
}

/// Tells one waiter when something is ready, with what there is to say.
final class Readiness: Sendable {
    private struct State {
        var lines: [String]?
        var waiter: CheckedContinuation<[String], Never>?
    }

    private let state = Mutex(State())

    func end(_ lines: [String]) {
        let waiter = state.withLock { state in
            if state.lines == nil { state.lines = lines }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: lines)
    }

    func wait() async -> [String] {
        await withCheckedContinuation { continuation in
            let lines = state.withLock { state in
                if state.lines == nil { state.waiter = continuation }
                return state.lines
            }
            if let lines { continuation.resume(returning: lines) }
        }
    }
}

/// A connection to a Unix socket, without waiting for more than its place in the queue.
public enum UnixSocket {
    /// The descriptor, or -1 and errno.
    public static func connect(_ path: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return -1 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8.prefix(107))
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(descriptor, $0, length) }
        }
        guard code == 0 else {
            let reason = errno
            close(descriptor)
            errno = reason
            return -1
        }
        return descriptor
    }
}
