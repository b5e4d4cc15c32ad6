import CLinux
import Glibc

/// A thread that may block, which a task must not. Detached unless joined.
///
/// The daemon needs every one of its threads: if one can't be started, the process reports it and exits. Only signals
/// for faults are delivered here; the main thread handles all others.
public struct WorkerThread: ~Copyable, Sendable {
    /// How the scheduler treats the thread.
    public enum Pace: Sendable {
        case usual
        /// As a batch job: waking it does not preempt a serving thread.
        case batch
        /// Soon after waking, for short periods.
        case hurried
    }

    private let thread: pthread_t

    /// The thread's arguments, boxed for `pthread_create`.
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

    /// Starts the thread.
    ///
    /// - Parameter name: shown by `top -H`; 15 bytes at most.
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

    /// SCHED_BATCH, which the Glibc module hides.
    private static let batch: Int32 = 3

    /// A new thread inherits the signal mask of its creator, so the mask holds from its first instruction.
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

    /// Waits until the thread has ended.
    public consuming func join() {
        pthread_join(thread, nil)
        discard self
    }

    /// Waits until the thread has ended, `milliseconds` at most; a thread that takes longer is detached: then false.
    @discardableResult
    public consuming func join(milliseconds: Int) -> Bool {
        guard clinux_join_thread(thread, milliseconds) == 0 else {
            _ = consume self
            return false
        }
        discard self
        return true
    }
}
