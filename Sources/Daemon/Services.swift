import Logging
import LookupLog
import ServiceLifecycle
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
    let serveUntilShutdown: @Sendable () async throws -> Void

    func run() async throws { try await serveUntilShutdown() }
}

/// Says nothing: what the parts have to tell, they tell in sentences of their own.
enum QuietLogger {
    static func make() -> Logger {
        Logger(label: "stub53") { _ in SwiftLogNoOpLogHandler() }
    }
}
