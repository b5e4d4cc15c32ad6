internal import Glibc

/// The bytes of one master file, read completely.
///
/// Not mapped: truncating a mapped file would end the process with SIGBUS.
struct ZoneFileBytes: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer
    /// Identifies the file, to find `$INCLUDE` loops.
    let identity: Identity

    struct Identity: Equatable {
        var device: UInt
        var number: UInt
    }

    struct OpenError: Error {
        var message: String
    }

    init(path: String, limit: Int) throws(OpenError) {
        guard !path.utf8.contains(0) else { throw OpenError(message: "the file name holds a zero byte") }
        // A FIFO without a writer must not block the reader.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw OpenError(message: Self.reason()) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw OpenError(message: Self.reason()) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw OpenError(message: "this is not a regular file") }
        guard status.st_size <= limit else {
            throw OpenError(message: "the file is too large: \(status.st_size) bytes, \(limit) are left")
        }
        let size = Int(status.st_size)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Swift.max(size, 1), alignment: 16)
        var filled = 0
        while filled < size {
            let count = Glibc.read(descriptor, buffer.baseAddress! + filled, size - filled)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                buffer.deallocate()
                throw OpenError(message: Self.reason())
            }
            if count == 0 { break }
            filled += count
        }
        bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<filled])
        identity = Identity(device: UInt(status.st_dev), number: UInt(status.st_ino))
    }

    deinit { bytes.baseAddress?.deallocate() }

    private static func reason() -> String { String(cString: strerror(errno)) }
}
