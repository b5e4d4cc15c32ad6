import CLinux
import Glibc
import Resolution

/// Says when one of some files and folders has changed: by inotify, on their folders, so that a file that is replaced
/// (as editors do) or comes into being later is seen as well.
final class FileWatcher: Sendable {
    private let inotify: Int32
    private let stop: StopSignal

    init() throws(SystemError) {
        inotify = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        guard inotify >= 0 else { throw SystemError("inotify_init1") }
        stop = try StopSignal()
    }

    deinit { close(inotify) }

    /// Watches the folders of `paths`, and those of them that are folders. Paths that are watched already stay so.
    func watch(_ paths: [String]) {
        let events = UInt32(
            IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF
                | IN_MOVE_SELF)
        var folders: Set<String> = []
        for path in Self.withLinks(paths) {
            folders.insert(Self.folder(of: path))
            var status = stat()
            guard stat(path, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                folders.insert(path)
            } else {
                // A file that is mounted by itself, as containers have it, is changed in a folder we don't see.
                inotify_add_watch(inotify, path, UInt32(IN_CLOSE_WRITE))
            }
        }
        for folder in folders { inotify_add_watch(inotify, folder, events | UInt32(IN_ONLYDIR)) }
    }

    /// `paths`, each link that lies on the way to one, and where they lead: whoever points a link elsewhere, or changes
    /// the file behind it, changes what the path holds.
    static func withLinks(_ paths: [String]) -> [String] {
        var all = paths
        for path in paths {
            var reached = path.hasPrefix("/") ? "/" : ""
            var left = Array(path.split(separator: "/").reversed())
            var links = 0
            while let part = left.popLast() {
                let step = reached + part
                // As many as Linux follows.
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

    /// What the link at `path` says; nil where there is no link.
    private static func link(_ path: String) -> String? {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = target.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { readlink(path, $0.baseAddress.unsafelyUnwrapped, $0.count) }
        }
        return length > 0 ? String(decoding: target[..<length], as: UTF8.self) : nil
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    func end() { stop.raise() }

    /// Calls `changed` after each burst of changes to a file whose name is among `names()`; returns after `end`.
    ///
    /// An editor writes a file in several steps; 20 ms of quiet mark the end of them.
    func run(names: () -> Set<String>, changed: () -> Void) {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        var isDirty = false
        while true {
            var polled = [
                pollfd(fd: inotify, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stop.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&polled, 2, isDirty ? 20 : -1)
            if ready < 0 { continue }
            if polled[1].revents != 0 { return }
            if ready == 0 {
                isDirty = false
                changed()
                continue
            }
            let length = read(inotify, &buffer, buffer.count)
            guard length > 0 else { continue }
            if Self.mentions(names(), in: buffer[..<length]) { isDirty = true }
        }
    }

    /// Whether one of the events is about a name of interest, or about a folder as a whole.
    private static func mentions(_ names: Set<String>, in events: ArraySlice<UInt8>) -> Bool {
        events.withUnsafeBytes { bytes in
            var cursor = 0
            while cursor + 16 <= bytes.count {
                let mask = bytes.loadUnaligned(fromByteOffset: cursor + 4, as: UInt32.self)
                let length = Int(bytes.loadUnaligned(fromByteOffset: cursor + 12, as: UInt32.self))
                guard cursor + 16 + length <= bytes.count else { return true }
                let isEndOfWatch = mask & UInt32(IN_IGNORED) != 0
                // Events were lost: anything may have changed.
                if mask & UInt32(IN_Q_OVERFLOW) != 0 || length == 0 && !isEndOfWatch { return true }
                let name = bytes[(cursor + 16)..<(cursor + 16 + length)].prefix { $0 != 0 }
                if names.contains(String(decoding: name, as: UTF8.self)) { return true }
                cursor += 16 + length
            }
            return false
        }
    }
}
