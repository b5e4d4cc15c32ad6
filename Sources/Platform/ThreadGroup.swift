import CLinux
import Glibc
import Synchronization

/// Threads that are started together and waited for together. They block, so they can't be tasks.
public final class ThreadGroup: Sendable {
    private struct Waiting {
        var running = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let waiting = Mutex(Waiting())

    public init() {}

    /// The body, boxed for the C call that starts a thread.
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    public func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
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
