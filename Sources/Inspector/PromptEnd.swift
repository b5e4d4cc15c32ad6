import Hummingbird
import ServiceLifecycle

extension Application {
    /// Runs until the service ends, without waiting for clients that don't read their responses.
    func runUntilShutdown() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await run() }
            group.addTask {
                try await gracefulShutdown()
                try await Task.sleep(for: .milliseconds(500))
            }
            // Whichever comes first; then all connections are closed.
            try await group.next()
            group.cancelAll()
            try? await group.waitForAll()
        }
    }
}
