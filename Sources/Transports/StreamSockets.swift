import CLinux
import Glibc
import Platform

/// A listening TCP socket.
struct ListeningSocket: Sendable {
    let descriptor: Int32
    /// Inherited from a service manager, which keeps it open: several workers wait on it, and none closes it.
    let isInherited: Bool

    /// The most connections that may wait to be accepted.
    private static let backlog: Int32 = 512

    /// Sockets on `address`, one per worker; the kernel spreads clients over them (SO_REUSEPORT). For port 0, the
    /// result has the port that the system chose.
    ///
    /// With SO_REUSEPORT two daemons could share the port unnoticed. So the first socket is bound without it, which
    /// fails if the port is taken, and sets it afterwards.
    ///
    /// - Parameter early: the machine need not have the address yet; the sockets serve it once it has.
    static func bind(
        _ address: SocketAddress, count: Int, early: Bool = false
    ) throws(SystemError) -> (address: SocketAddress, sockets: [ListeningSocket]) {
        let first = try open(address, sharesPort: false, early: early)
        var sockets = [ListeningSocket(descriptor: first, isInherited: false)]
        do throws(SystemError) {
            let bound = address.withPort(try port(of: first))
            if count > 1 { try set(SOL_SOCKET, SO_REUSEPORT, first) }
            while sockets.count < count {
                sockets.append(
                    ListeningSocket(descriptor: try open(bound, sharesPort: true, early: early), isInherited: false))
            }
            return (bound, sockets)
        } catch {
            for socket in sockets { close(socket.descriptor) }
            throw error
        }
    }

    private static func open(
        _ address: SocketAddress, sharesPort: Bool, early: Bool
    ) throws(SystemError) -> Int32 {
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError("socket") }
        do throws(SystemError) {
            // Connections of an earlier run may still be in TIME_WAIT.
            try set(SOL_SOCKET, SO_REUSEADDR, descriptor)
            // Where the system can't do it, bind says that the address is not there.
            if early { try? set(address.freeBind.level, address.freeBind.option, descriptor) }
            if sharesPort { try set(SOL_SOCKET, SO_REUSEPORT, descriptor) }
            if address.isIPv6 { try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, descriptor) }
            setInherited(on: descriptor)
            guard address.withSockaddr({ Glibc.bind(descriptor, $0, $1) }) == 0 else { throw SystemError("bind") }
            guard listen(descriptor, backlog) == 0 else { throw SystemError("listen") }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// What accepted sockets inherit: answers leave at once, and the kernel keeps little of what a client does not take
    /// or we do not read. It would let each grow to megabytes.
    static let inherited: [(level: Int32, option: Int32, value: Int32)] = [
        (Int32(IPPROTO_TCP), TCP_NODELAY, 1), (Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, 65_536),
        (SOL_SOCKET, SO_RCVBUF, 65_536),
    ]

    static func setInherited(on descriptor: Int32) {
        for (level, option, value) in inherited { try? set(level, option, descriptor, to: value) }
    }

    private static func set(
        _ level: Int32, _ option: Int32, _ descriptor: Int32, to value: Int32 = 1
    ) throws(SystemError) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, level, option, &value, size) == 0 else { throw SystemError("setsockopt") }
    }

    private static func port(of descriptor: Int32) throws(SystemError) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let address = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? SocketAddress($0) : nil
            }
        }
        guard let address else { throw SystemError("getsockname") }
        return address.port
    }

    enum Accepted {
        case connection(Int32, SocketAddress)
        /// No connection is waiting.
        case none
        /// The waiting client has left, or its address is of a kind we don't serve.
        case gone
        /// The system is out of descriptors or memory.
        case exhausted
    }

    /// Accepts one connection.
    func accept() -> Accepted {
        var storage = sockaddr_storage()
        let connection = clinux_accept(descriptor, &storage)
        if connection >= 0 {
            let client = withUnsafePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0) }
            }
            guard let client else {
                close(connection)
                return .gone
            }
            return .connection(connection, client)
        }
        switch errno {
        case EAGAIN: return .none
        case let code where SystemError.isExhaustion(code): return .exhausted
        // Per accept(2), errors of the new connection are reported here too.
        default: return .gone
        }
    }
}
