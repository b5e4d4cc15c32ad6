import Daemon
import Glibc
import History
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Platform
import ServiceLifecycle
import Synchronization
import Transports

/// The control socket: everyone who may open it may inspect and control the service.
///
/// - The socket has mode 0660. Its folder is created (0750) if it is missing. The socket is removed at the end.
/// - A socket that another daemon left behind is replaced; one in use is not.
package final class ControlServer: DaemonCompanion {
    private let path: String
    /// Not configured: left out if it is not available.
    private let isOptional: Bool
    private let api: ControlAPI
    private let readiness = Readiness()

    package init(path: String, isOptional: Bool, _ api: ControlAPI) {
        self.path = path
        self.isOptional = isOptional
        self.api = api
    }

    package func ready() async -> [String]? { await readiness.wait() }

    package func run() async throws {
        if let reason = prepare() {
            guard isOptional else {
                readiness.fail()
                throw ServiceFailure(.configuration, "\(path): \(reason)")
            }
            readiness.end(["control    off: \(path): \(reason)"])
            try? await gracefulShutdown()
            return
        }
        let router = Router(context: ClientContext.self)
        router.add(middleware: UnknownRequests())
        api.addRoutes(to: router)
        let (path, readiness) = (path, readiness)
        // The socket never has wider rights than it ends with.
        let mask = umask(0o117)
        let application = Application(
            router: router, server: ClientContext.server(),
            configuration: .init(
                address: .unixDomainSocket(path: path), serverName: "stub53",
                availableConnectionsDelegate: MaximumAvailableConnections(
                    OpenFiles.mostPageConnections, logger: Self.silent)),
            onServerRunning: { channel in
                await channel.pauseWhenExhausted()
                umask(mask)
                chmod(path, 0o660)
                readiness.end(["control    \(path)"])
            },
            logger: Self.silent)
        do {
            try await application.runUntilShutdown { [api] in api.history?.searches.end() }
            unlink(path)
        } catch let error as IOError {
            umask(mask)
            let reason = "\(path): \(String(cString: strerror(error.errnoCode)))"
            guard isOptional else {
                readiness.fail()
                throw ServiceFailure(.configuration, "\(reason); name another with --control, or switch it off")
            }
            readiness.end(["control    off: \(reason)"])
            try? await gracefulShutdown()
        } catch {
            umask(mask)
            readiness.fail()
            throw error
        }
    }

    /// Creates the folder and removes an abandoned socket; returns why that fails.
    private func prepare() -> String? {
        guard path.utf8.count <= UnixSocket.longestPath else {
            return "the path is longer than the \(UnixSocket.longestPath) bytes of a socket's; name a shorter one"
        }
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            if let reason = Self.makeFolder(String(path[..<slash])) { return reason }
        }
        do {
            switch try FileKind(path: path) {
            case .absent: return nil
            case .other: return "is there and is no socket; name another with --control"
            case .socket: break
            }
        } catch { return error.reason }
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

extension Channel {
    /// Makes a listening channel pause, rather than try all the time, while there are no descriptors.
    func pauseWhenExhausted() async {
        // First, so that Hummingbird does not take the error for the end of the server.
        _ = try? await eventLoop.submit { [pipeline] in
            try pipeline.syncOperations.addHandler(AcceptPause(), position: .first)
        }.get()
    }
}

/// Tells one waiter that something is ready, with messages for the operator.
final class Readiness: Sendable {
    private enum State {
        case open
        case waitedFor(CheckedContinuation<[String]?, Never>)
        /// Nil: it failed.
        case ended([String]?)
    }

    private let state = Mutex(State.open)

    func end(_ lines: [String]) { settle(lines) }
    func fail() { settle(nil) }

    private func settle(_ lines: [String]?) {
        let waiter: CheckedContinuation<[String]?, Never>? = state.withLock { state in
            switch state {
            case .ended: return nil
            case .open:
                state = .ended(lines)
                return nil
            case .waitedFor(let waiter):
                state = .ended(lines)
                return waiter
            }
        }
        waiter?.resume(returning: lines)
    }

    func wait() async -> [String]? {
        await withCheckedContinuation { continuation in
            let ended: [String]?? = state.withLock { state in
                if case .ended(let lines) = state { return .some(lines) }
                state = .waitedFor(continuation)
                return nil
            }
            if let ended { continuation.resume(returning: ended) }
        }
    }
}
