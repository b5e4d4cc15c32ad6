import CLinux
import Glibc
import Platform
import Synchronization

/// Notices changes of files and folders, by inotify and by looking.
///
/// inotify watches the folders, so that files replaced (as editors do) or created later are noticed too, and each folder
/// above them, so that a folder swapped for another is. What other machines write to a network filesystem, what a mount
/// uncovers, and what a program writes without closing the file, it does not report: a look every few seconds sees that.
final class FileWatcher: Sendable {
    /// Readable when something may have changed. Negative if the system has no more: then only looks see changes.
    let inotify: Int32
    private let state = Mutex(State())

    private struct State {
        var folders: [Int32: WatchedFolder] = [:]
        /// The files as they were when they were read.
        var known = FileLook()
        /// What the last look saw, if that was something new; and how often in a row it was new again.
        var pending: FileLook?
        var waits = 0
        /// Something changed before it was watched.
        var hasMissed = false
    }

    /// What to look for in a folder.
    private struct WatchedFolder {
        var names: Set<String> = []
        /// The folder itself and everything in it.
        var isWhole = false
        /// It holds what is read, not only folders on the way to that.
        var isLast = false
    }

    enum Look {
        case same
        /// Something is new, and may still be being written: look again soon.
        case unsettled
        case changed
    }

    /// A file that is written all the time counts as changed after this many looks.
    private static let longestWait = 3

    init() {
        inotify = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        if inotify < 0 { Self.complain("inotify_init1", "fs.inotify.max_user_instances") }
    }

    deinit { if inotify >= 0 { close(inotify) } }

    private static func complain(_ call: String, _ limit: String) {
        Report.problem(
            "files are not watched: \(SystemError(call)); changes are seen within seconds, not at once: raise \(limit) "
                + "and start again")
    }

    /// Call it before the watched files are read: what changes from now on is new.
    func begin() {
        state.withLock { state in
            state.known = state.known.again()
            state.pending = nil
            state.hasMissed = false
        }
    }

    /// Watches `paths`, replacing earlier ones, and the folders on the way to them as far as there are any. A change
    /// after `since` (by CLOCK_REALTIME_COARSE, like file times) but before it was watched counts too.
    func watch(_ paths: [String], since: timespec) {
        let all = Self.withLinks(paths)
        let added = inotify < 0 ? [:] : add(all)
        state.withLock { state in
            for number in state.folders.keys where added[number] == nil { inotify_rm_watch(inotify, number) }
            let isNew = added.keys.contains { state.folders[$0] == nil }
            state.folders = added
            state.known.keep(paths)
            state.known.add(paths)
            if isNew, all.contains(where: { Self.hasChanged($0, since: since) }) { state.hasMissed = true }
        }
    }

    private func add(_ paths: [String]) -> [Int32: WatchedFolder] {
        var wanted: [String: WatchedFolder] = [:]
        var files: Set<String> = []
        for path in paths {
            let isFolder = Self.isFolder(path)
            if isFolder { wanted[path, default: WatchedFolder()].isWhole = true } else { files.insert(path) }
            var folder = path.hasPrefix("/") ? "/" : "."
            let names = path.split(separator: "/").map(String.init)
            for (index, name) in names.enumerated() {
                wanted[folder, default: WatchedFolder()].names.insert(name)
                if index == names.count - 1 { wanted[folder]?.isLast = true }
                folder = folder == "/" ? "/" + name : folder + "/" + name
                guard Self.isFolder(folder) else { break }
            }
        }
        let moves = UInt32(
            IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
        // Two paths may lead to the same folder, which has one watch.
        let writes = UInt32(IN_CLOSE_WRITE | IN_ATTRIB)
        let adds = UInt32(IN_MASK_ADD)
        var added: [Int32: WatchedFolder] = [:]
        for (path, folder) in wanted {
            let mask = folder.isWhole || folder.isLast ? moves | writes | adds : moves | adds
            let number = inotify_add_watch(inotify, path, mask)
            if number >= 0 {
                added[number, default: WatchedFolder()].names.formUnion(folder.names)
                if folder.isWhole { added[number]?.isWhole = true }
            } else if errno == ENOSPC || errno == ENOMEM {
                Self.complain("inotify_add_watch", "fs.inotify.max_user_watches")
                break
            }
        }
        // A file that is itself a mount point, as in containers, changes in a folder that is not visible here.
        for file in files {
            let number = inotify_add_watch(inotify, file, UInt32(IN_CLOSE_WRITE))
            if number >= 0 { added[number, default: WatchedFolder()].isWhole = true }
        }
        return added
    }

    /// The current time on the clock of `watch`'s `since`.
    static func now() -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME_COARSE, &time)
        return time
    }

    private static func hasChanged(_ path: String, since: timespec) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return false }
        let changed = status.st_ctim
        return (changed.tv_sec, changed.tv_nsec) >= (since.tv_sec, since.tv_nsec)
    }

    private static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// `paths`, every symbolic link along them, and the links' targets: redirecting a link, or changing its target,
    /// changes what the path holds.
    private static func withLinks(_ paths: [String]) -> [String] {
        var all = paths
        for path in paths {
            var reached = path.hasPrefix("/") ? "/" : ""
            var left = Array(path.split(separator: "/").reversed())
            var links = 0
            while let part = left.popLast() {
                let step = reached + part
                // Linux follows no more either.
                if links < 40, let target = link(step) {
                    links += 1
                    all.append(step)
                    if target.hasPrefix("/") { reached = "/" }
                    left += target.split(separator: "/").reversed()
                } else {
                    reached = left.isEmpty ? step : step + "/"
                }
            }
            if links > 0 { all.append(reached) }
        }
        return all
    }

    /// The target of the link at `path`; nil if it is no link.
    private static func link(_ path: String) -> String? {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = target.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { readlink(path, $0.baseAddress.unsafelyUnwrapped, $0.count) }
        }
        return length > 0 ? String(decoding: target[..<length], as: UTF8.self) : nil
    }

    // MARK: On the thread that waits for changes

    /// Whether something changed before it was watched, since the last call.
    func hasMissed() -> Bool {
        state.withLock { state in
            defer { state.hasMissed = false }
            return state.hasMissed
        }
    }

    /// Compares the files with what was read. A new state counts once two looks in a row have seen it.
    func look() -> Look {
        let (known, pending) = state.withLock { ($0.known, $0.pending) }
        // Without the lock: a filesystem of another machine may take its time.
        let now = known.again()
        return state.withLock { state in
            guard now != known else {
                state.pending = nil
                return .same
            }
            state.waits = pending == nil ? 1 : state.waits + 1
            state.pending = now
            return now == pending || state.waits > Self.longestWait ? .changed : .unsettled
        }
    }

    /// Reads what inotify has reported; whether it concerns a watched name, or a folder watched as a whole.
    func readEvents() -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 8) { buffer in
            let length = read(inotify, buffer.baseAddress, buffer.count)
            return length > 0 && isOfInterest(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
        }
    }

    private func isOfInterest(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let folders = state.withLock { $0.folders }
        var cursor = 0
        while cursor + 16 <= bytes.count {
            let number = bytes.loadUnaligned(fromByteOffset: cursor, as: Int32.self)
            let mask = bytes.loadUnaligned(fromByteOffset: cursor + 4, as: UInt32.self)
            let length = Int(bytes.loadUnaligned(fromByteOffset: cursor + 12, as: UInt32.self))
            guard cursor + 16 + length <= bytes.count else { return true }
            // Events were lost: anything may have changed.
            if mask & UInt32(IN_Q_OVERFLOW) != 0 { return true }
            if let folder = folders[number], mask & UInt32(IN_IGNORED) == 0 {
                let name = bytes[(cursor + 16)..<(cursor + 16 + length)].prefix { $0 != 0 }
                if folder.isWhole || length == 0 || folder.names.contains(String(decoding: name, as: UTF8.self)) {
                    return true
                }
            }
            cursor += 16 + length
        }
        return false
    }
}
