import CLinux
import Glibc

/// The rights of a file's group.
public enum FileGroup {
    /// Whether a user may write to the file, or open the socket, at `path` as a member of its group: by the modes of the
    /// file and of the folders above it. May ask a database of users on another machine.
    public static func mayWrite(_ path: String, user: UInt32) -> Bool {
        guard let real = realpath(path, nil) else { return false }
        defer { free(real) }
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 * 1024)
        guard getpwuid_r(user, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return false }
        var groups = [gid_t](repeating: 0, count: 1024)
        var count = Int32(groups.count)
        guard getgrouplist(entry.pw_name, entry.pw_gid, &groups, &count) >= 0 else { return false }
        let own = Set(groups[..<Int(count)])
        var status = stat()
        guard stat(real, &status) == 0, status.st_mode & S_IWGRP != 0, own.contains(status.st_gid) else { return false }
        // A group shared by many is no right if the folder is closed to it, as a session's runtime folder is.
        var folder = String(cString: real)
        while let slash = folder.lastIndex(of: "/") {
            folder = String(folder[..<slash])
            guard stat(folder + "/", &status) == 0 else { return false }
            let right = status.st_uid == user ? S_IXUSR : own.contains(status.st_gid) ? S_IXGRP : S_IXOTH
            guard status.st_mode & right != 0 else { return false }
        }
        return true
    }
}
