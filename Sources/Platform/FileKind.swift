import Glibc

/// The kind of file at a path; does not follow links.
public enum FileKind: Sendable {
    case absent, socket, other

    /// - Throws: `SystemError` if it can't be determined.
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
