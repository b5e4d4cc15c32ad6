import Logging
import LookupLog
import ServiceLifecycle
import Transports

/// Keeps the log's thread alive until nothing can write to it any more.
struct LogService: Service {
    let log: LookupLog?

    func run() async throws {
        log?.start()
        try? await gracefulShutdown()
        log?.stop()
    }
}

/// Keeps connections open until upstream's last answers have been written to them.
struct StreamService: Service {
    let listener: StreamListener
    let encrypted: EncryptedListener?

    func run() async throws {
        listener.start()
        encrypted?.start()
        try? await gracefulShutdown()
        await listener.shutDown()
        await encrypted?.shutDown()
    }
}

/// The UDP threads (the first also forwards), and reloads.
struct ServingService: Service {
    let serveUntilShutdown: @Sendable () async throws -> Void

    func run() async throws { try await serveUntilShutdown() }
}

/// Logs nothing: the parts print their own messages.
enum QuietLogger {
    static func make() -> Logger {
        Logger(label: "stub53") { _ in SwiftLogNoOpLogHandler() }
    }
}
