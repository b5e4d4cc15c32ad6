import Foundation

/// Seconds. Nothing that a test waits for takes so long, however busy the machine is: who waits longer waits in vain.
package let longestWait = 60

/// Runs what blocks on a thread of its own: the tests' own threads are as few as the cores.
package func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}

/// Waits for a state that nothing announces, on a thread that may block.
///
/// - Throws: `Missing` when it has not come after `longestWait`.
package func waitUntil(_ what: String, _ condition: () throws -> Bool) throws {
    let end = ContinuousClock.now + .seconds(longestWait)
    while try !condition() {
        guard ContinuousClock.now < end else {
            throw LineReader.Missing(description: "\(what): not after \(longestWait) s")
        }
        usleep(2000)
    }
}

/// The same, on a thread of its own.
package func eventually(_ what: String, _ condition: @escaping @Sendable () throws -> Bool) async throws {
    try await blocking { try waitUntil(what, condition) }
}
