import Glibc

/// What stands at a path, links not followed.
public enum FileKind: Sendable {
    case absent, socket, other

    /// - Throws: `SystemError` where that can't be told.
    public init(path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw SystemError("lstat") }
            self = .absent
            return
        }
        self = status.st_mode & S_IFMT == S_IFSOCK ? .socket : .other
    }
}
