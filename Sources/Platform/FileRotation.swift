internal import Glibc

/// Old files beside a file that is written: `PATH.1` is the newest of them, then `PATH.2`, and so on.
public enum FileRotation {
    /// When a file is moved, and how many old ones stay.
    public struct Limits: Sendable, Hashable {
        /// Bytes.
        public var size: Int
        public var kept: Int

        public init(size: Int, kept: Int) {
            self.size = size
            self.kept = kept
        }
    }

    /// Whether the open file is the one at `path`: another process may have moved it.
    public static func isFile(_ descriptor: Int32, at path: String) -> Bool {
        var ours = stat()
        var there = stat()
        return fstat(descriptor, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino
            && ours.st_dev == there.st_dev
    }

    /// Moves the file to `PATH.1`, after the older ones; without any to keep, removes it.
    public static func rotate(_ path: String, keeping kept: Int) throws(SystemError) {
        guard kept > 0 else {
            guard unlink(path) == 0 || errno == ENOENT else { throw SystemError("unlink") }
            return
        }
        guard access(path, F_OK) == 0 else { return }
        // Only as far as old files are numbered without a gap.
        var free = 1
        while free < kept, access("\(path).\(free)", F_OK) == 0 { free += 1 }
        for number in stride(from: free, to: 1, by: -1) {
            guard rename("\(path).\(number - 1)", "\(path).\(number)") == 0 else { throw SystemError("rename") }
        }
        guard rename(path, "\(path).1") == 0 else { throw SystemError("rename") }
    }
}
