import Glibc

/// Runs other programs.
enum Program {
    /// Starts a program of its own session, without input and output, and does not wait for it.
    static func start(_ command: [String]) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in 0..<3 as Range<Int32> {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // POSIX_SPAWN_SETSID, which the Glibc module hides.
        posix_spawnattr_setflags(&attributes, 0x80)
        var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        _ = posix_spawnp(&process, command[0], &actions, &attributes, &words, environ)
    }

    /// Runs a program and waits for it: its exit code (127: not found; 128 plus the signal that ended it) and its output.
    static func run(_ command: [String]) -> (code: Int32, output: String) {
        var pipes: [Int32] = [0, 0]
        guard pipe(&pipes) == 0 else { return (126, String(cString: strerror(errno))) }
        for end in pipes { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(pipes[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 1)
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 2)
        var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        let result = posix_spawnp(&process, command[0], &actions, nil, &words, environ)
        close(pipes[1])
        guard result == 0 else { return (result == ENOENT ? 127 : 126, String(cString: strerror(result))) }
        var output: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while case let count = read(pipes[0], &piece, piece.count), count > 0 { output += piece[..<count] }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let text = String(decoding: output.suffix(2000), as: UTF8.self)
        return (status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F, text)
    }
}
