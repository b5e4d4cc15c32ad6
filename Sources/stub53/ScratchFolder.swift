import Daemon
import Glibc
import Platform

/// A folder in TMPDIR for one command, accessible to this user only; its creator removes it.
struct ScratchFolder {
    let path: String

    init() throws(ServiceFailure) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? ""
        var template = Array("\(parent.hasPrefix("/") ? parent : "/tmp")/stub53-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ServiceFailure(
                .problem,
                "\(parent.hasPrefix("/") ? parent : "/tmp"): no folder can be made there "
                    + "(\(String(cString: strerror(errno)))); let TMPDIR name one that this user may write to")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
            Self.remove(path)
            if access(path, F_OK) != 0 { return }
            usleep(20_000)
        }
    }

    private static func remove(_ path: String) {
        // For a link, removes the link itself.
        guard unlink(path) != 0, let folder = opendir(path) else { return }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        closedir(folder)
        for name in names where name != "." && name != ".." { remove("\(path)/\(name)") }
        rmdir(path)
    }
}
