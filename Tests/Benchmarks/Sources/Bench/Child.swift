import CHarness
import Foundation
import Synchronization

/// What failed and why, in a sentence.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A program started and stopped by the harness.
struct Child {
    let pid: pid_t
    /// The file with its standard output and standard error.
    let output: String

    /// Starts `command` on the cores of the mask. Call it on the main thread only: the child dies with the calling
    /// thread.
    init(_ command: [String], cores: UInt, output: String) throws {
        self.output = output
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        pid = try Self.running.withLock { pids in
            let pid = harness_start(&arguments, cores, output)
            guard pid > 0 else { throw Failure("\(command[0]): \(String(cString: strerror(errno)))") }
            pids.append(pid)
            return pid
        }
    }

    /// Whether it has ended by itself.
    var hasEnded: Bool {
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return false }
        Self.running.withLock { $0.removeAll { $0 == pid } }
        return true
    }

    /// Waits for it to end: its exit code, or 128 plus the signal.
    func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        Self.running.withLock { $0.removeAll { $0 == pid } }
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    /// Asks it to end, and kills it after three seconds.
    func stop() {
        let descendants = Self.tree(pid).dropFirst()
        kill(pid, SIGTERM)
        let deadline = Clock.now() + 3
        while !hasEnded {
            if Clock.now() > deadline {
                kill(pid, SIGKILL)
                _ = wait()
                break
            }
            usleep(2000)
        }
        // A killed server may leave children behind, which are still in its process group.
        for descendant in descendants where getpgid(descendant) == pid { kill(descendant, SIGKILL) }
    }

    /// The last lines of its output.
    var lastLines: String {
        let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").suffix(5).joined(separator: "\n")
    }

    /// CPU time of the process, its threads and its children, in seconds.
    var processorTime: Double {
        Self.tree(pid).reduce(0) { $0 + Self.processorTime($1) }
    }

    /// Resident memory in bytes; memory shared by several processes counts once.
    var memory: Double {
        let tree = Self.tree(pid)
        let key = tree.count == 1 ? "Rss:" : "Pss:"
        return tree.reduce(0) { sum, pid in
            let line = Self.lines("/proc/\(pid)/smaps_rollup").first { $0.hasPrefix(key) }
            return sum + (line?.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) * 1024
        }
    }

    private static func processorTime(_ pid: pid_t) -> Double {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        return tasks.reduce(0) { sum, task in
            let fields = lines("/proc/\(pid)/task/\(task)/schedstat").first?.split(separator: " ")
            return sum + (fields?.first.flatMap { Double($0) } ?? 0) / 1e9
        }
    }

    /// A process and all its descendants, itself first.
    private static func tree(_ pid: pid_t) -> [pid_t] {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        let children = tasks.flatMap { task in
            lines("/proc/\(pid)/task/\(task)/children").flatMap { $0.split(separator: " ") }.compactMap { pid_t($0) }
        }
        return [pid] + children.flatMap { tree($0) }
    }

    private static func lines(_ path: String) -> [Substring] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
    }

    // MARK: Early end

    private static let running = Mutex<[pid_t]>([])

    /// Makes SIGINT, SIGTERM and SIGHUP stop all children, call `cleanUp`, and end the harness.
    static func stopAllOnSignals(_ cleanUp: @escaping @Sendable () -> Void) {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let waiting = signals
        Thread.detachNewThread {
            var signals = waiting
            var signal: Int32 = 0
            guard sigwait(&signals, &signal) == 0 else { return }
            // The lock stays held, so that nothing new starts.
            running.withLock { pids in
                for pid in pids { kill(pid, SIGTERM) }
                usleep(300_000)
                for pid in pids { kill(-pid, SIGKILL) }
                cleanUp()
                _exit(128 + signal)
            }
        }
    }
}

enum Clock {
    /// The monotonic clock in seconds.
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
