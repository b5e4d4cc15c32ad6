import CLinux
import Glibc

/// The bytes of an untrusted file: read once, completely, with a size limit.
///
/// Not mapped: truncating a mapped file during reading would end the process.
public struct SourceText: ~Copyable {
    public let bytes: UnsafeRawBufferPointer
    private let memory: UnsafeMutableRawPointer

    /// In bytes.
    public static let maximumSize = 1 << 30
    /// How long a pipe may pause, in milliseconds.
    static let longestPause: Int32 = 10_000
    /// How long reading may take in all, in seconds.
    static let longestRead = 60

    /// Why a file can't be read: one sentence.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    public init(path: String) throws(Failure) {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw Failure(description: "can't be read: \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else {
            throw Failure(description: "can't be read: \(String(cString: strerror(errno)))")
        }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFIFO || kind == S_IFCHR else {
            throw Failure(description: kind == S_IFDIR ? "is a directory, not a file" : "is not a file")
        }
        guard status.st_size <= Self.maximumSize else { throw Failure(description: "is larger than 1 GiB") }
        var capacity = max(Int(status.st_size) + 1, 4096)
        guard var memory = malloc(capacity) else { throw Failure(description: "does not fit into memory") }
        var count = 0
        let end = Self.seconds() + Self.longestRead
        while true {
            if count == capacity {
                guard capacity <= Self.maximumSize, let larger = realloc(memory, capacity * 2) else {
                    free(memory)
                    throw Failure(description: "is larger than 1 GiB")
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
        }
        self.memory = memory
        bytes = UnsafeRawBufferPointer(start: memory, count: count)
    }

    deinit { free(memory) }

    /// Whether there is data or the end; otherwise errno is EAGAIN.
    private static func wait(_ file: Int32) -> Bool {
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        let count = poll(&entry, 1, longestPause)
        if count == 0 { errno = EAGAIN }
        return count > 0 || count < 0 && errno == EINTR
    }

    private static func seconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec
    }
}
