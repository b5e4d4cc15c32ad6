internal import Glibc
internal import Platform

/// A file of frames: START, frames, STOP.
///
/// It is never appended to, because readers stop at STOP and fail on a partial frame. On opening, and when the file is
/// full, an existing file is renamed to `PATH.1`, that one to `PATH.2`, and so on.
struct FrameFile: ~Copyable {
    typealias Limits = FileRotation.Limits

    struct Failure: Error {
        /// What failed and why, to follow the path: "can't be written: No space left on device".
        let description: String
        init(_ what: String, _ code: Int32) { description = "\(what): \(String(cString: strerror(code)))" }
        init(_ description: String) { self.description = description }
    }

    private let path: String
    private let limits: Limits
    private var descriptor: Int32
    /// The file's size in bytes.
    private var size: Int
    /// It is full but could not be renamed, so it keeps growing.
    private(set) var isStuck = false

    init(_ path: String, _ limits: Limits) throws(Failure) {
        let descriptor = try Self.begin(path, limits)
        self.path = path
        self.limits = limits
        self.descriptor = descriptor
        size = FrameStream.start.count
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    // MARK: Opening

    /// Opens an empty file and writes START.
    private static func begin(_ path: String, _ limits: Limits) throws(Failure) -> Int32 {
        let descriptor = try open(path, limits)
        guard writeAll(descriptor, FrameStream.start) else {
            let code = errno
            close(descriptor)
            throw Failure("can't be written", code)
        }
        return descriptor
    }

    private static func open(_ path: String, _ limits: Limits) throws(Failure) -> Int32 {
        var hasRotated = false
        while true {
            // Without O_NONBLOCK, opening a FIFO would block.
            let descriptor = Glibc.open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o640)
            guard descriptor >= 0 else { throw Failure("can't be written", errno) }
            do throws(Failure) {
                if try isBlank(descriptor) { return descriptor }
                guard !hasRotated else { throw Failure("is written by another process, too") }
                try rotate(path, limits)
                hasRotated = true
                close(descriptor)
            } catch {
                close(descriptor)
                throw error
            }
        }
    }

    /// Whether the file has no frames, so that nothing is lost; if so, it is emptied.
    private static func isBlank(_ descriptor: Int32) throws(Failure) -> Bool {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Failure("is no regular file; a collector's socket is given as unix:PATH")
        }
        // Two writers would rename each other's files.
        guard lock(descriptor) else { throw Failure("is written by another process already") }
        let blank = FrameStream.start + FrameStream.stop
        guard status.st_size <= blank.count else { return false }
        var bytes = [UInt8](repeating: 0, count: blank.count)
        let count = max(pread(descriptor, &bytes, bytes.count, 0), 0)
        guard blank.starts(with: bytes[..<count]) else { return false }
        guard ftruncate(descriptor, 0) == 0 else { throw Failure("can't be written", errno) }
        return true
    }

    /// A child process being started briefly shares all our files, and so the lock.
    private static func lock(_ descriptor: Int32) -> Bool {
        for _ in 0..<40 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
            guard errno == EWOULDBLOCK else { return false }
            usleep(5000)
        }
        return false
    }

    private static func rotate(_ path: String, _ limits: Limits) throws(Failure) {
        do { try FileRotation.rotate(path, keeping: limits.kept) } catch {
            throw Failure(limits.kept > 0 ? "can't be moved to \(path).1" : "can't be removed", error.code)
        }
    }

    private static func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
    }

    // MARK: Writing

    /// Writes all frames; returns their number. On failure the rest stays in `frames`.
    mutating func write(_ frames: inout FrameBuffer) throws(Failure) -> UInt64 {
        var whole: UInt64 = 0
        while !frames.isEmpty {
            let room = limits.size - size - FrameStream.stop.count
            var count = isStuck ? frames.unwritten.count : frames.wholeFrames(atMost: room)
            if count == 0 {
                if frames.begun == 0, size > FrameStream.start.count {
                    try startAnew(moving: true, &frames)
                    continue
                }
                // A single frame larger than a file, or the rest of one.
                count = frames.restOfFirst
            }
            let written = Glibc.write(descriptor, frames.unwritten.baseAddress, count)
            guard written > 0 else {
                if errno == EINTR { continue }
                throw Failure("can't be written", errno)
            }
            size += written
            whole += frames.wrote(written)
        }
        return whole
    }

    /// Ends the file and starts another; `moving`: the old one is renamed first.
    private mutating func startAnew(moving: Bool, _ frames: inout FrameBuffer) throws(Failure) {
        if moving {
            do { try Self.rotate(path, limits) } catch {
                isStuck = true
                throw error
            }
        }
        // The old file is ended only once there is a new one.
        let new = try Self.begin(path, limits)
        finish(&frames)
        descriptor = new
        size = FrameStream.start.count
        isStuck = false
    }

    /// Starts a new file if this one was renamed. A file that still has its path stays.
    mutating func reopen(_ frames: inout FrameBuffer) throws(Failure) {
        isStuck = false
        if FileRotation.isFile(descriptor, at: path) { return }
        try startAnew(moving: false, &frames)
    }

    /// Ends the file with STOP, after removing a partial frame, which stays in `frames`.
    mutating func finish(_ frames: inout FrameBuffer) {
        guard descriptor >= 0 else { return }
        if frames.begun > 0 {
            _ = ftruncate(descriptor, off_t(size - frames.begun))
            frames.rewind()
        }
        _ = Self.writeAll(descriptor, FrameStream.stop)
        close(descriptor)
        descriptor = -1
    }
}
