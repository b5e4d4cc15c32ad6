import CLinux
import Glibc
import Synchronization

/// Finds the process that has a local client's socket open, as far as this user may see it.
///
/// A process that has ended, is in another network namespace, or belongs to another user (without root) is not found.
public final class SocketHolder: Sendable {
    public static let shared = SocketHolder()

    private struct Search {
        let diagnosis = clinux_open_socket_diagnosis()
        /// Those found last, most likely to ask again.
        var recent: [pid_t] = []
    }

    private let search = Mutex(Search())

    /// Whether the kernel offers socket diagnostics.
    public var isAvailable: Bool { search.withLock { $0.diagnosis >= 0 } }

    /// The process, and its command name as in proc(5), at most 15 bytes.
    public func find(_ client: SocketAddress, isStream: Bool) -> (process: Int32, command: String)? {
        search.withLock { search in
            var user = uid_t()
            let inode = client.networkBytes.span.withUnsafeBufferPointer {
                clinux_socket_inode(
                    search.diagnosis, client.isIPv6 ? 1 : 0, isStream ? 1 : 0, $0.baseAddress, client.port, &user)
            }
            guard search.diagnosis >= 0, inode != 0 else { return nil }
            // Other users' descriptors can't be read.
            let own = geteuid()
            guard own == 0 || own == user else { return nil }
            let process = clinux_socket_holder(inode, user, search.recent, Int32(search.recent.count))
            guard process > 0, let command = Self.command(process) else { return nil }
            search.recent.removeAll { $0 == process }
            search.recent.insert(process, at: 0)
            if search.recent.count > 8 { search.recent.removeLast() }
            return (process, command)
        }
    }

    /// Nil if the process has ended.
    private static func command(_ process: pid_t) -> String? {
        let file = open("/proc/\(process)/comm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].prefix { $0 != 0x0A }, as: UTF8.self)
    }
}
