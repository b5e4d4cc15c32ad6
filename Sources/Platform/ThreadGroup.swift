import Synchronization

/// Threads that are started and joined together.
public final class ThreadGroup: Sendable {
    private struct Waiting {
        var running = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let waiting = Mutex(Waiting())

    public init() {}

    public func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
        enter()
        _ = WorkerThread(name) { [self] in
            body()
            leave()
        }
    }

    /// One more to wait for, which need not be a thread's end.
    public func enter() { waiting.withLock { $0.running += 1 } }

    public func leave() {
        let waiter = waiting.withLock { waiting in
            waiting.running -= 1
            guard waiting.running == 0 else { return nil as CheckedContinuation<Void, Never>? }
            defer { waiting.waiter = nil }
            return waiting.waiter
        }
        waiter?.resume()
    }

    /// Returns when all of them have ended. Called once.
    public func join() async {
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
