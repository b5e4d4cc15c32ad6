internal import CLinux
internal import Glibc
import Resolution

/// Finds the process behind a client of this machine, by the owner of the socket that it asked from; best effort.
///
/// On the log thread, so that no answer waits for it. What asked and is gone, runs in another network namespace, or is
/// another user's (without root) stays unknown. Time is bounded: beyond its share of a second it is not looked for.
struct ProcessAttribution: ~Copyable {
    private let diagnosis = clinux_open_socket_diagnosis()
    private var known: [Client: Found] = [:]
    /// Who asked last: most likely to ask again.
    private var recent: [pid_t] = []
    /// The last answer, which the next record of a busy client finds without a hash.
    private var last: (client: Client, found: Found)?
    private var windowStart: UInt64 = 0
    private var spent: UInt64 = 0

    private struct Client: Hashable {
        var address: SocketAddress
        var isStream: Bool
    }

    private struct Found {
        /// Of `ClientProcess`; 0: not found.
        var number: UInt32
        /// Microseconds, of the wall clock as records have it.
        var until: UInt64
    }

    /// How long a socket is taken to be the same process's, in microseconds.
    private static let memory: UInt64 = 2_000_000
    /// Microseconds of a second that looking may take.
    private static let share: UInt64 = 30_000
    private static let mostKnown = 4096

    deinit { if diagnosis >= 0 { close(diagnosis) } }

    /// Notes in the record who asked.
    mutating func attribute(_ record: LookupRecord) {
        let address = record.client
        guard address.isLoopback, diagnosis >= 0 else { return }
        let client = Client(address: address, isStream: record.transport != .udp)
        let now = record.time
        if let last, last.client == client, now < last.found.until { return record.setProcess(last.found.number) }
        if let found = known[client], now < found.until {
            last = (client, found)
            return record.setProcess(found.number)
        }
        if now &- windowStart > 1_000_000 {
            windowStart = now
            spent = 0
        }
        guard spent < Self.share else { return }
        let start = Self.microseconds()
        let number = look(for: client)
        spent += Self.microseconds() - start
        let found = Found(number: number, until: now + Self.memory)
        if known.count >= Self.mostKnown { known.removeAll(keepingCapacity: true) }
        known[client] = found
        last = (client, found)
        record.setProcess(number)
    }

    private mutating func look(for client: Client) -> UInt32 {
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        let address = client.address
        if address.isIPv6 {
            for index in 0..<8 {
                bytes[index] = UInt8(truncatingIfNeeded: address.high >> UInt64(56 - 8 * index))
                bytes[8 + index] = UInt8(truncatingIfNeeded: address.low >> UInt64(56 - 8 * index))
            }
        } else {
            for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: address.low >> UInt64(24 - 8 * index)) }
        }
        var user = uid_t()
        let inode = bytes.span.withUnsafeBufferPointer {
            clinux_socket_inode(
                diagnosis, address.isIPv6 ? 1 : 0, client.isStream ? 1 : 0, $0.baseAddress, address.port, &user)
        }
        guard inode != 0 else { return 0 }
        // Others' descriptors can't be read.
        let own = geteuid()
        guard own == 0 || own == user else { return 0 }
        let process = clinux_socket_holder(inode, user, recent, Int32(recent.count))
        guard process > 0, let command = Self.command(process) else { return 0 }
        recent.removeAll { $0 == process }
        recent.insert(process, at: 0)
        if recent.count > 8 { recent.removeLast() }
        return ClientProcess.number(of: ClientProcess(pid: process, command: command))
    }

    /// Its name, as proc(5) has it; nil when the process is gone.
    private static func command(_ process: pid_t) -> String? {
        let file = open("/proc/\(process)/comm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].prefix { $0 != 0x0A }, as: UTF8.self)
    }

    private static func microseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000
    }
}
