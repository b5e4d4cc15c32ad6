import CLinux
import Glibc

/// What the system says about files without reading them: enough to see that they have changed.
struct FileLook: Equatable {
    /// By path; a path without a file has none.
    private var files: [String: File] = [:]
    private var paths: Set<String> = []

    private struct File: Equatable {
        let device: UInt
        let number: UInt
        let mode: UInt32
        /// Constant for what is no file or folder: reading a pipe changes its times.
        var size = 0
        var modified = Time()
        var changed = Time()

        struct Time: Equatable {
            var seconds = 0
            var nanoseconds = 0

            init() {}
            init(_ time: timespec) { (seconds, nanoseconds) = (time.tv_sec, time.tv_nsec) }
        }
    }

    /// Looks at the files behind `paths`, through links.
    init(_ paths: some Sequence<String> = []) { add(paths) }

    /// Looks at those of `paths` that it does not know.
    mutating func add(_ paths: some Sequence<String>) {
        for path in paths where self.paths.insert(path).inserted { files[path] = Self.file(path) }
    }

    /// Forgets all but `paths`.
    mutating func keep(_ paths: some Sequence<String>) {
        self.paths.formIntersection(paths)
        files = files.filter { self.paths.contains($0.key) }
    }

    /// The same paths, as they are now.
    func again() -> FileLook { FileLook(paths) }

    private static func file(_ path: String) -> File? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        var file = File(device: UInt(status.st_dev), number: UInt(status.st_ino), mode: status.st_mode)
        let kind = status.st_mode & S_IFMT
        if kind == S_IFREG || kind == S_IFDIR {
            file.size = Int(status.st_size)
            file.modified = File.Time(status.st_mtim)
            file.changed = File.Time(status.st_ctim)
        }
        return file
    }
}
