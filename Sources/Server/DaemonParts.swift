import CLinux
import Glibc
import Logging
import LookupLog
import Resolution
import ServiceLifecycle
import Synchronization

/// The log's thread lives as long as anyone may still write to it.
struct LogService: Service {
    let log: LookupLog?

    func run() async throws {
        log?.start()
        try? await gracefulShutdown()
        log?.stop()
    }
}

/// The connections live until the last answer from upstream has been written to them.
struct StreamService: Service {
    let listener: StreamListener
    let encrypted: EncryptedListener?

    func run() async throws {
        listener.start()
        try? await gracefulShutdown()
        await listener.shutDown()
        await encrypted?.shutDown()
    }
}

/// UDP threads (the first of which forwards, too), reload.
struct ServingService: Service {
    let daemon: RunningDaemon
    let companions: [any DaemonCompanion]
    let notes: [String]

    func run() async throws { try await daemon.serveUntilShutdown(beside: companions, notes: notes) }
}

/// Threads that are started together and waited for together. They block, so they can't be tasks.
final class ThreadGroup: Sendable {
    private struct Waiting {
        var running = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let waiting = Mutex(Waiting())

    /// The body, boxed for the C call that starts a thread.
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
        enter()
        let boxed = Body { [self] in
            body()
            leave()
        }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(boxed).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, argument)
        guard result == 0 else {
            Unmanaged<Body>.fromOpaque(argument).release()
            Report.line("no thread can be started: \(String(cString: strerror(result)))")
            exit(ServiceFailure.Code.problem.rawValue)
        }
        clinux_name_thread(UInt(thread), name)
        pthread_detach(thread)
    }

    /// One more to wait for, which need not be a thread's end.
    func enter() { waiting.withLock { $0.running += 1 } }

    func leave() {
        let waiter = waiting.withLock { waiting in
            waiting.running -= 1
            guard waiting.running == 0 else { return nil as CheckedContinuation<Void, Never>? }
            defer { waiting.waiter = nil }
            return waiting.waiter
        }
        waiter?.resume()
    }

    /// Returns when all of them have ended. Called once.
    func join() async {
        await withCheckedContinuation { continuation in
            let isDone = waiting.withLock { waiting in
                if waiting.running == 0 { return true }
                waiting.waiter = continuation
                return false
            }
            if isDone { continuation.resume() }
        }
    }
}

/// Why an address can't be served, and what to do.
enum BindFailure {
    static func explain(_ address: SocketAddress, _ code: Int32, _ transport: String) -> ServiceFailure {
        switch code {
        case EADDRINUSE:
            return ServiceFailure(
                .problem,
                "\(address) is taken\(holder(of: address).map { " by \($0)" } ?? ""); \(mend(address))")
        case EACCES, EPERM:
            return ServiceFailure(
                .permission,
                "\(address) can't be bound: ports below 1024 need a permission; run as root, or "
                    + "'setcap cap_net_bind_service=+ep' on the program, or have systemd open it (stub53.socket), "
                    + "or choose another port, as --listen 127.0.0.1:5300"
            )
        case EADDRNOTAVAIL:
            return ServiceFailure(
                .configuration, "\(address) is not an address of this machine; give --listen one that is")
        default:
            return ServiceFailure(
                .problem, "\(address) can't be bound for \(transport): \(String(cString: strerror(code)))")
        }
    }

    private static func mend(_ address: SocketAddress) -> String {
        if !address.isIPv6, address.low == 0x7F00_0035, address.port == 53 {
            return "if it is systemd-resolved, set DNSStubListener=no in /etc/systemd/resolved.conf and restart it, "
                + "or choose another address, as --listen 127.0.0.54:53"
        }
        return "end that program, or choose another address or port with --listen"
    }

    /// The process that has the port, as far as /proc tells us.
    private static func holder(of address: SocketAddress) -> String? {
        guard let inode = inode(of: address) else { return nil }
        let wanted = "socket:[\(inode)]"
        guard let processes = opendir("/proc") else { return nil }
        defer { closedir(processes) }
        while let entry = readdir(processes) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let process = Int(name), let files = opendir("/proc/\(process)/fd") else { continue }
            defer { closedir(files) }
            while let file = readdir(files) {
                let number = withUnsafePointer(to: &file.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                var target = [CChar](repeating: 0, count: 64)
                guard readlink("/proc/\(process)/fd/\(number)", &target, 63) > 0,
                    String(decoding: target.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) == wanted
                else { continue }
                guard let command = try? SourceText(path: "/proc/\(process)/comm") else { return "process \(process)" }
                return "\(String(decoding: command.bytes.prefix { $0 != 0x0A }, as: UTF8.self)) (process \(process))"
            }
        }
        return nil
    }

    /// The socket on `address` or on the wildcard of its port, from /proc/net.
    private static func inode(of address: SocketAddress) -> String? {
        let suffix = address.isIPv6 ? "6" : ""
        for table in ["udp", "tcp"] {
            guard let text = try? SourceText(path: "/proc/net/\(table)\(suffix)") else { continue }
            let hexPort = String(address.port, radix: 16, uppercase: true)
            let port = String(repeating: "0", count: 4 - hexPort.count) + hexPort
            for line in String(decoding: text.bytes, as: UTF8.self).split(separator: "\n").dropFirst() {
                let fields = line.split(separator: " ", omittingEmptySubsequences: true)
                guard fields.count > 9, fields[1].hasSuffix(":" + port) else { continue }
                // State 0A is "listening"; for UDP 07 is "bound".
                guard fields[3] == "0A" || fields[3] == "07" else { continue }
                let local = fields[1].prefix { $0 != ":" }
                let isWildcard = local.allSatisfy { $0 == "0" }
                guard
                    isWildcard || address.isIPv6
                        || UInt32(local, radix: 16)?.byteSwapped == UInt32(truncatingIfNeeded: address.low)
                else { continue }
                return String(fields[9])
            }
        }
        return nil
    }
}

/// systemd's notification socket.
enum SystemManager {
    /// Sends one state line where NOTIFY_SOCKET says (sd_notify(3)); without it nothing happens.
    static func notify(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET").map({ Array(String(cString: $0).utf8) }), path.count > 1,
            path.count < 108
        else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { target in
            target.copyBytes(from: path)
            // "@" stands for the zero byte of an abstract socket.
            if path[0] == UInt8(ascii: "@") { target[0] = 0 }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        var message = Array(state.utf8)
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, &message, message.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}

/// Of this process.
enum ProcessID {
    static var own: Int32 { getpid() }
}

/// Says nothing: what the parts have to tell, they tell in sentences of their own.
enum QuietLogger {
    static func make() -> Logger {
        Logger(label: "stub53") { _ in SwiftLogNoOpLogHandler() }
    }
}
