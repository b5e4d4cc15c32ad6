import Foundation
import Synchronization

/// A child process. Foundation's own `Process` reads past the end of a buffer while it looks for descriptors to close, if
/// there are more than about 1,300, as there are when tests open as many connections.
final class SpawnedProcess: Sendable {
    let identifier: pid_t
    private let end = Mutex<Int32?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    // Hidden from Swift by glibc's headers.
    private typealias CloseFrom =
        @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
    private typealias ChangeFolder =
        @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, UnsafePointer<CChar>) -> Int32
    private static let closeFrom = unsafeBitCast(
        dlsym(nil, "posix_spawn_file_actions_addclosefrom_np"), to: CloseFrom.self)
    private static let changeFolder = unsafeBitCast(
        dlsym(nil, "posix_spawn_file_actions_addchdir_np"), to: ChangeFolder.self)

    /// Starts `executable`; its standard streams are copies of the descriptors (nil: /dev/null). It inherits nothing
    /// else.
    init(
        _ executable: String, _ arguments: [String], folder: String? = nil, input: Int32? = nil, output: Int32? = nil,
        errors: Int32? = nil
    ) throws {
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(null) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // Above the standard streams, so that none of them is overwritten before it is copied.
        let copies = [input, output, errors].map { fcntl($0 ?? null, F_DUPFD_CLOEXEC, 10) }
        defer { for copy in copies { close(copy) } }
        for (number, copy) in copies.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, copy, Int32(number))
        }
        _ = Self.closeFrom(&actions, 3)
        if let folder { _ = Self.changeFolder(&actions, folder) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let words = ([executable] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, executable, &actions, &attributes, words, environ)
        guard code == 0 else {
            throw LineReader.Missing(description: "\(executable): \(String(cString: strerror(code)))")
        }
        identifier = child
        Thread.detachNewThread { [self, child] in
            var status: Int32 = 0
            // Not reaped yet, so that no signal of ours can meet another process with its number.
            var information = siginfo_t()
            while waitid(P_PID, id_t(child), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
            end.withLock { end in
                while waitpid(child, &status, 0) < 0, errno == EINTR {}
                // The exit code, or the negative signal.
                end = status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
            }
            ended.signal()
        }
    }

    /// The exit code (negative: the signal that ended it); nil while it runs.
    var code: Int32? { end.withLock { $0 } }

    /// Blocks until it has ended.
    func wait() -> Int32 {
        ended.wait()
        ended.signal()
        return code ?? 0
    }

    /// The same for a limited time; nil: it still runs.
    func wait(seconds: Int) -> Int32? {
        guard ended.wait(timeout: .now() + .seconds(seconds)) == .success else { return nil }
        ended.signal()
        return code
    }

    func signal(_ number: Int32) {
        end.withLock { if $0 == nil { kill(identifier, number) } }
    }
}
