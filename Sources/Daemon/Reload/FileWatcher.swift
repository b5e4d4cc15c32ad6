import CLinux
import Glibc
import Platform
import Synchronization
import Transports

/// Reports changes of files and folders. inotify watches the folders, so that files replaced (as editors do) or created
/// later are noticed too.
final class FileWatcher: Sendable {
    /// Negative if the system has no more: then nothing is watched.
    private let inotify: Int32
    private let signal: WakeSignal
    private let folders = Mutex<[Int32: WatchedFolder]>([:])
    /// Something changed before it was watched.
    private let missed = Atomic<Bool>(false)

    /// What to look for in a folder.
    private struct WatchedFolder {
        var names: Set<String> = []
        /// The folder itself and everything in it.
        var isWhole = false
    }

    /// A change counts as complete after this time without events: an editor writes a file in several steps.
    private static let quiet: UInt64 = 20_000
    /// The most that a report is delayed, in microseconds.
    private static let longestDelay: UInt64 = 500_000

    init() throws(SystemError) {
        signal = try WakeSignal()
        inotify = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        if inotify < 0 { Self.complain("inotify_init1", "fs.inotify.max_user_instances") }
    }

    deinit { if inotify >= 0 { close(inotify) } }

    private static func complain(_ call: String, _ limit: String) {
        Report.line(
            "stub53: files are not watched: \(SystemError(call)); reload with SIGHUP, or raise \(limit) and start again"
        )
    }

    /// Watches `paths`, replacing earlier ones: their folders, and those paths that are folders. For a path that does
    /// not exist yet, the nearest existing folder. A change after `since` (by CLOCK_REALTIME_COARSE, like file times)
    /// but before it was watched counts too.
    func watch(_ paths: [String], since: timespec) {
        guard inotify >= 0 else { return }
        let all = Self.withLinks(paths)
        var wanted: [String: WatchedFolder] = [:]
        var files: Set<String> = []
        for path in all {
            if Self.isFolder(path) { wanted[path, default: WatchedFolder()].isWhole = true } else { files.insert(path) }
            var (folder, name) = Self.split(path)
            while !Self.isFolder(folder), folder != "/", folder != "." {
                (folder, name) = Self.split(folder)
            }
            wanted[folder, default: WatchedFolder()].names.insert(name)
        }
        let events = UInt32(
            IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF
                | IN_MOVE_SELF | IN_ONLYDIR)
        var added: [Int32: WatchedFolder] = [:]
        for (path, folder) in wanted {
            let number = inotify_add_watch(inotify, path, events)
            if number >= 0 {
                // Two paths may lead to the same folder.
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
        let isNew = folders.withLock { folders in
            for number in folders.keys where added[number] == nil { inotify_rm_watch(inotify, number) }
            defer { folders = added }
            return added.keys.contains { folders[$0] == nil }
        }
        if isNew, all.contains(where: { Self.hasChanged($0, since: since) }) {
            missed.store(true, ordering: .releasing)
        }
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

    private static func split(_ path: String) -> (folder: String, name: String) {
        var trimmed = path[...]
        while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed = trimmed.dropLast() }
        guard let slash = trimmed.lastIndex(of: "/") else { return (".", String(trimmed)) }
        let name = String(trimmed[trimmed.index(after: slash)...])
        return (slash == trimmed.startIndex ? "/" : String(trimmed[..<slash]), name)
    }

    // MARK: The watching thread

    func end() { signal.end() }

    /// Makes `run` call `asked` soon; several requests may become one call.
    func request() { signal.wake() }

    /// Calls `changed` after each burst of changes, and `asked` after a `request`; returns after `end`.
    func run(changed: () -> Void, asked: () -> Void) {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        /// When the burst began, and when it will count as complete.
        var burst: (start: UInt64, end: UInt64)?
        while true {
            let now = SystemClock.monotonic()
            if missed.exchange(false, ordering: .acquiring) { burst = (burst?.start ?? now, now + Self.quiet) }
            if let end = burst?.end, now >= end {
                burst = nil
                changed()
                continue
            }
            var polled = [
                pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: inotify, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&polled, 2, burst.map { Int32(clamping: ($0.end - now + 999) / 1000) } ?? -1)
            guard ready > 0 else { continue }
            if polled[0].revents != 0 {
                if signal.consume() { return }
                asked()
            }
            guard polled[1].revents != 0 else { continue }
            let length = read(inotify, &buffer, buffer.count)
            guard length > 0, isOfInterest(buffer[..<length]) else { continue }
            let then = SystemClock.monotonic()
            let start = burst?.start ?? then
            burst = (start, min(then + Self.quiet, start + Self.longestDelay))
        }
    }

    /// Whether one of the events concerns a watched name, or a folder watched as a whole.
    private func isOfInterest(_ events: ArraySlice<UInt8>) -> Bool {
        let folders = folders.withLock { $0 }
        return events.withUnsafeBytes { bytes in
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
}
