import Daemon
import Glibc
import Platform

/// A folder in TMPDIR for one command, accessible to this user only; its creator removes it.
struct ScratchFolder {
    let path: String

    /// Locked as long as the folder is in use, until the process ends at the latest.
    private let lock: Int32

    private static let prefix = "stub53-exec-"

    /// Also removes those that this user's earlier commands have left because they were killed.
    init() throws(ServiceFailure) {
        let named = getenv("TMPDIR").map { String(cString: $0) } ?? ""
        let parent = named.hasPrefix("/") ? named : "/tmp"
        Self.sweep(parent)
        while true {
            var template = Array("\(parent)/\(Self.prefix)XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw Self.failure(parent) }
            let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            // Another command may be sweeping it away just now.
            if folder >= 0, flock(folder, LOCK_EX | LOCK_NB) == 0, access(path, F_OK) == 0 {
                self.path = path
                lock = folder
                return
            }
            let isGone = folder >= 0 || errno == ENOENT
            if folder >= 0 { close(folder) }
            guard isGone else { throw Self.failure(parent) }
        }
    }

    private static func failure(_ parent: String) -> ServiceFailure {
        ServiceFailure(
            .problem,
            "\(parent): no folder can be made there (\(String(cString: strerror(errno)))); let TMPDIR name one that this "
                + "user may write to")
    }

    /// Removes this user's folders whose commands have ended.
    private static func sweep(_ parent: String) {
        let descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        for name in names(in: descriptor) where name.hasPrefix(prefix) {
            let folder = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard folder >= 0 else { continue }
            defer { close(folder) }
            var status = stat()
            guard fstat(folder, &status) == 0, status.st_uid == geteuid(), flock(folder, LOCK_EX | LOCK_NB) == 0 else {
                continue
            }
            remove(name, in: descriptor)
        }
    }

    /// The path of a file in it; the file need not exist.
    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file that everyone may read; returns its path.
    @discardableResult
    func write(_ text: String, to name: String) throws(ServiceFailure) -> String {
        let path = file(name)
        let bytes = Array(text.utf8)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor >= 0, Glibc.write(descriptor, bytes, bytes.count) == bytes.count,
            // Regardless of umask.
            fchmod(descriptor, 0o644) == 0
        else {
            throw ServiceFailure(
                .problem,
                "\(path): can't be written (\(String(cString: strerror(errno)))); let TMPDIR name a folder with room")
        }
        return path
    }

    /// Removes it with its contents.
    func remove() {
        // A browser's remaining processes may still write: a folder filled again is emptied again.
        for _ in 0..<50 {
            Self.remove(path, in: AT_FDCWD)
            if access(path, F_OK) != 0 { return }
            usleep(20_000)
        }
    }

    /// Removes a file, link or folder; follows no links.
    private static func remove(_ name: String, in parent: Int32) {
        guard unlinkat(parent, name, 0) != 0 else { return }
        let folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else { return }
        for name in names(in: folder) { remove(name, in: folder) }
        close(folder)
        unlinkat(parent, name, AT_REMOVEDIR)
    }

    /// What is in an open folder.
    private static func names(in descriptor: Int32) -> [String] {
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return [] }
        guard let folder = fdopendir(copy) else {
            close(copy)
            return []
        }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names.filter { $0 != "." && $0 != ".." }
    }
}
