import CLinux
import Glibc

/// A thread of this program. It blocks, so it can't be a task. One that nobody joins goes on by itself.
///
/// A daemon without one of its threads would not do what it says: where one can't be started, it says so and ends.
/// Signals are for the main thread: here only those of a fault arrive.
public struct WorkerThread: ~Copyable, Sendable {
    /// When the scheduler runs it.
    public enum Pace: Sendable {
        case usual
        /// As a batch job: when it is woken, it does not push a serving thread aside.
        case batch
        /// Soon after it was woken, for a short time each.
        case hurried
    }

    private let thread: pthread_t

    /// What it does, boxed for the C call that starts it.
    private final class Start: Sendable {
        let name: String
        let pace: Pace
        let body: @Sendable () -> Void

        init(_ name: String, _ pace: Pace, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.pace = pace
            self.body = body
        }
    }

    /// Starts it.
    ///
    /// - Parameter name: what `top -H` shows, 15 bytes at most.
    public init(_ name: String, _ pace: Pace = .usual, _ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name, pace, body))
        let before = Self.blockSignals()
        let code = pthread_create(&thread, nil, Self.run, start.toOpaque())
        Self.restoreSignals(before)
        guard code == 0 else {
            start.release()
            Report.line(
                "stub53: the thread '\(name)' can't be started: \(SystemError("pthread_create", code: code).reason); "
                    + "end some processes, or raise the limit of threads (ulimit -u, LimitNPROC=, TasksMax=)")
            exit(ServiceFailure.Code.problem.rawValue)
        }
        self.thread = thread
    }

    deinit { pthread_detach(thread) }

    private static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        clinux_name_thread(pthread_self(), start.name)
        switch start.pace {
        case .usual: break
        case .batch:
            var parameters = sched_param()
            _ = sched_setscheduler(0, batch, &parameters)
        case .hurried: clinux_hurry()
        }
        start.body()
        return nil
    }

    /// SCHED_BATCH, which Glibc's module hides.
    private static let batch: Int32 = 3

    /// A new thread has the mask of the one that starts it, from its first instruction on.
    private static func blockSignals() -> sigset_t {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT] { sigdelset(&all, fault) }
        pthread_sigmask(SIG_SETMASK, &all, &before)
        return before
    }

    private static func restoreSignals(_ before: sigset_t) {
        var before = before
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }

    /// Waits for its end.
    public consuming func join() {
        pthread_join(thread, nil)
        discard self
    }

    /// Waits for its end so many milliseconds at most; one that takes longer goes on by itself.
    public consuming func join(milliseconds: Int) {
        if clinux_join_thread(thread, milliseconds) == 0 { discard self } else { _ = consume self }
    }
}
