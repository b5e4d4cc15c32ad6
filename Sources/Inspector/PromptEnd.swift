import Hummingbird
import ServiceLifecycle

extension Application {
    /// Runs until the service shuts down, calls `end`, and stops soon after: a client that does not read its response
    /// can't delay the shutdown.
    func runUntilShutdown(_ end: @escaping @Sendable () -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await run() }
            group.addTask {
                try await gracefulShutdown()
                end()
                try await Task.sleep(for: .milliseconds(500))
            }
            // Whichever comes first; then all connections are closed.
            try await group.next()
            group.cancelAll()
            try? await group.waitForAll()
        }
    }
}
