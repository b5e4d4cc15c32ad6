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
        /// What was found for a client, or not, and when: many queries come from one socket.
        var known: [Client: Found] = [:]
    }

    private struct Client: Hashable {
        var address: SocketAddress
        var isStream: Bool
    }

    private struct Found {
        var process: Int32
        var command: String?
        var until: UInt64
    }

    /// How long a socket is taken to belong to the same process, in microseconds.
    private static let memory: UInt64 = 1_000_000
    private static let mostKnown = 4096

    private let search = Mutex(Search())

    /// Whether the kernel offers socket diagnostics.
    public var isAvailable: Bool { search.withLock { $0.diagnosis >= 0 } }

    /// The process, and its command name as in proc(5), at most 15 bytes.
    public func find(_ client: SocketAddress, isStream: Bool) -> (process: Int32, command: String)? {
        search.withLock { search in
            let now = SystemClock.monotonic()
            let client = Client(address: client, isStream: isStream)
            if let known = search.known[client], now < known.until { return known.command.map { (known.process, $0) } }
            let found = Self.look(client, &search)
            if search.known.count >= Self.mostKnown { search.known.removeAll(keepingCapacity: true) }
            search.known[client] = Found(
                process: found?.process ?? 0, command: found?.command, until: now + Self.memory)
            return found
        }
    }

    private static func look(_ client: Client, _ search: inout Search) -> (process: Int32, command: String)? {
        var user = uid_t()
        let (address, isStream) = (client.address, client.isStream)
        let inode = address.networkBytes.span.withUnsafeBufferPointer {
            clinux_socket_inode(
                search.diagnosis, address.isIPv6 ? 1 : 0, isStream ? 1 : 0, $0.baseAddress, address.port, &user)
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
