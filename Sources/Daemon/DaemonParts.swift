import CLinux
import Glibc
import Logging
import LookupLog
import Platform
import ServiceLifecycle
import Synchronization
import Transports

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
