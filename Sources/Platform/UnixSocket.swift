// The constants may come from either module, whichever was loaded first.
import CLinux
import Glibc

/// Sockets of the Unix domain, by their paths.
/// - unix(7)
public enum UnixSocket {
    /// The longest path, in bytes.
    public static let longestPath = 107

    /// Writes the address of `path` to zeroed memory of at least 110 bytes; returns its length, with the final zero byte.
    ///
    /// A path that is too long is cut: callers check its length where they can say which setting it is.
    public static func write(_ path: String, to raw: UnsafeMutableRawPointer) -> UInt32 {
        raw.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
        var length = MemoryLayout<sa_family_t>.size
        for byte in path.utf8.prefix(longestPath) {
            raw.storeBytes(of: byte, toByteOffset: length, as: UInt8.self)
            length += 1
        }
        return UInt32(length + 1)
    }

    /// Connects a stream without blocking, except for the listen queue; the descriptor, or -1 and errno.
    public static func connect(_ path: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return -1 }
        let code = withAddress(of: path) { Glibc.connect(descriptor, $0, $1) }
        guard code == 0 else {
            let reason = errno
            close(descriptor)
            errno = reason
            return -1
        }
        return descriptor
    }

    /// Sends one datagram to the socket at `path`; "@" at its start stands for the zero byte of an abstract socket. What
    /// can't be sent is lost.
    public static func send(_ message: [UInt8], to path: String) {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let isAbstract = path.utf8.first == UInt8(ascii: "@")
        withAddress(of: isAbstract ? "\0" + path.dropFirst() : path) { address, length in
            // The name of an abstract socket has no zero byte at its end.
            _ = sendto(
                descriptor, message, message.count, Int32(MSG_NOSIGNAL), address, isAbstract ? length - 1 : length)
        }
    }

    private static func withAddress<Result>(
        of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { bytes in
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            let length = write(path, to: bytes.baseAddress.unsafelyUnwrapped)
            return body(bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), length)
        }
    }
}
