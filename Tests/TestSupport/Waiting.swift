import Foundation

/// In seconds. Longer than anything that a test waits for takes, even on a busy machine.
package let longestWait = ProcessInfo.processInfo.environment["LONGEST_WAIT"].flatMap { Int($0) } ?? 60

/// Runs blocking code on its own thread: the tests' threads are only as many as cores.
package func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}

/// Waits for a condition that nothing announces, on a thread that may block.
///
/// - Throws: `Missing` if it does not hold within `longestWait`.
package func waitUntil(_ what: String, _ condition: () throws -> Bool) throws {
    let end = ContinuousClock.now + .seconds(longestWait)
    while try !condition() {
        guard ContinuousClock.now < end else {
            throw LineReader.Missing(description: "\(what): not after \(longestWait) s")
        }
        usleep(2000)
    }
}

/// The same, on its own thread.
package func eventually(_ what: String, _ condition: @escaping @Sendable () throws -> Bool) async throws {
    try await blocking { try waitUntil(what, condition) }
}

/// Asks until the answer is yes: for what nothing announces, and a command shows.
///
/// - Throws: `Missing` if that takes longer than `longestWait`.
package func asking(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(longestWait)
    while !(try await condition()) {
        guard ContinuousClock.now < end else {
            throw LineReader.Missing(description: "\(what): not after \(longestWait) s")
        }
    }
}
