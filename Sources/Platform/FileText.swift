import CLinux
import Glibc

/// The bytes of an untrusted file: read once, completely, with a size limit.
///
/// Not mapped: truncating a mapped file during reading would end the process.
public struct FileText: ~Copyable {
    public let bytes: UnsafeRawBufferPointer
    public let identity: Identity
    private let memory: UnsafeMutableRawPointer

    /// The largest file that is read, in bytes.
    public static let maximumSize = 1 << 30
    /// The same for a pipe, and for a device: these may have no end.
    static let maximumPipe = 64 << 20
    static let maximumDevice = 1 << 20
    /// How long a pipe may pause, in milliseconds.
    static let longestPause: Int32 = 10_000
    /// How long reading may take in all, in seconds.
    static let longestRead = 60

    /// Why a file can't be read: one sentence.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// Tells a file from others, whatever its paths.
    public struct Identity: Equatable, Sendable {
        private let device: UInt
        private let number: UInt

        fileprivate init(_ status: stat) {
            device = UInt(status.st_dev)
            number = UInt(status.st_ino)
        }
    }

    /// All bytes of a small file.
    ///
    /// - Parameter limit: the most bytes that it may have.
    public static func bytes(of path: String, limit: Int) throws(Failure) -> [UInt8] {
        let file = try FileText(path: path, limit: limit)
        // The bytes are valid only as long as `file`.
        return withExtendedLifetime(file) { Array($0.bytes) }
    }

    /// - Parameters:
    ///   - limit: the most bytes that it may have.
    ///   - acceptsPipes: whether pipes and devices are read, too.
    public init(path: String, limit: Int = maximumSize, acceptsPipes: Bool = true) throws(Failure) {
        guard !path.utf8.contains(0) else { throw Failure(description: "has a zero byte in its name") }
        // Without O_NONBLOCK, opening a pipe that has no writer would block.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw Failure(description: "can't be read: \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else {
            throw Failure(description: "can't be read: \(String(cString: strerror(errno)))")
        }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFREG || acceptsPipes && (kind == S_IFIFO || kind == S_IFCHR) else {
            throw Failure(description: kind == S_IFDIR ? "is a directory, not a file" : "is not a regular file")
        }
        let limit =
            switch kind {
            case S_IFIFO: min(limit, Self.maximumPipe)
            case S_IFCHR: min(limit, Self.maximumDevice)
            default: limit
            }
        guard status.st_size <= limit else { throw Self.tooLarge(limit) }
        var capacity = max(Int(status.st_size) + 1, 4096)
        guard var memory = malloc(capacity) else { throw Failure(description: "does not fit into memory") }
        var count = 0
        let end = Self.seconds() + Self.longestRead
        while true {
            if count == capacity {
                guard capacity <= limit, let larger = realloc(memory, capacity * 2) else {
                    free(memory)
                    throw Self.tooLarge(limit)
                }
                memory = larger
                capacity *= 2
            }
            let got = read(file, memory + count, capacity - count)
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else {
                // A pipe whose writer is slower than we are.
                if errno == EAGAIN, Self.seconds() < end, Self.wait(file) { continue }
                let reason =
                    errno == EAGAIN ? "its writer does not go on" : String(cString: strerror(errno))
                free(memory)
                throw Failure(description: "can't be read: \(reason)")
            }
            if got == 0 { break }
            count += got
            guard count <= limit else {
                free(memory)
                throw Self.tooLarge(limit)
            }
        }
        identity = Identity(status)
        self.memory = memory
        bytes = UnsafeRawBufferPointer(start: memory, count: count)
    }

    deinit { free(memory) }

    private static func tooLarge(_ limit: Int) -> Failure {
        for (unit, bytes) in [("GiB", 1 << 30), ("MiB", 1 << 20)] where limit >= bytes && limit.isMultiple(of: bytes) {
            return Failure(description: "is larger than \(limit / bytes) \(unit)")
        }
        return Failure(description: "is larger than \(limit) bytes")
    }

    /// Whether there is data or the end; otherwise errno is EAGAIN.
    private static func wait(_ file: Int32) -> Bool {
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        let count = poll(&entry, 1, longestPause)
        if count == 0 { errno = EAGAIN }
        return count > 0 || count < 0 && errno == EINTR
    }

    private static func seconds() -> Int { Int(SystemClock.monotonic() / 1_000_000) }
}
