internal import Glibc

/// Replaces files as a whole: whoever reads one finds the old content or the new one, whenever this process ends.
public enum WholeFile {
    /// Makes `bytes` the content of `path`; if it throws, the file is as it was.
    ///
    /// Writes them to `PATH.new` first, in the same folder. A link stays, and so do the permissions.
    public static func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
        let path = target(of: path)
        var status = stat()
        let mode = stat(path, &status) == 0 ? status.st_mode & 0o777 : 0o644
        let temporary = path + ".new"
        // Of a process that was killed.
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw SystemError("open") }
        do throws(SystemError) {
            try fill(descriptor, bytes)
            close(descriptor)
            guard rename(temporary, path) == 0 else { throw SystemError("rename") }
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private static func fill(_ descriptor: Int32, _ bytes: [UInt8]) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, bytes.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let error = SystemError("write")
                close(descriptor)
                throw error
            }
            done += count
        }
        guard fsync(descriptor) == 0 else {
            let error = SystemError("fsync")
            close(descriptor)
            throw error
        }
    }

    private static func target(of path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }
}
