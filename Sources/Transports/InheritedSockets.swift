import CLinux
import Glibc
package import Platform

/// Sockets opened by the service manager: they let us serve ports below 1024 without privileges.
///
/// sd_listen_fds(3): LISTEN_PID names this process, LISTEN_FDS is the number of descriptors from 3 on.
package struct InheritedSockets: Sendable {
    package struct Socket: Sendable {
        package var descriptor: Int32
        package var address: SocketAddress
    }

    package private(set) var datagrams: [Socket] = []
    package private(set) var streams: [Socket] = []

    static let none = InheritedSockets()
    private static let first: Int32 = 3
    private static let most: Int32 = 256

    /// Without duplicates.
    package var addresses: [SocketAddress] {
        var all: [SocketAddress] = []
        for socket in streams + datagrams where !all.contains(socket.address) { all.append(socket.address) }
        return all
    }

    /// Takes the sockets and keeps child processes from inheriting them.
    ///
    /// - Throws: if a descriptor is neither a UDP socket nor a listening TCP socket.
    package static func take() throws(ServiceFailure) -> InheritedSockets {
        let process = variable("LISTEN_PID")
        let number = variable("LISTEN_FDS")
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        guard let process, Int32(process) == getpid(), let number else { return .none }
        guard let count = Int32(number), (0...most).contains(count) else {
            throw ServiceFailure(
                .configuration, "LISTEN_FDS is \(quoted(number.utf8)), not a number from 0 to \(most)")
        }
        var sockets = InheritedSockets()
        for descriptor in first..<(first + count) {
            guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0, fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else {
                throw failure(descriptor, "can't be used: \(String(cString: strerror(errno)))")
            }
            guard let address = localAddress(descriptor) else {
                throw failure(descriptor, "is no socket with an IP address")
            }
            switch option(descriptor, SO_TYPE) {
            case Int32(SOCK_DGRAM.rawValue):
                if address.isUnspecified { DatagramSocket.askForLocalAddress(descriptor, isIPv6: address.isIPv6) }
                DatagramSocket.enlargeBuffer(descriptor)
                address.forbidFragments(of: descriptor)
                sockets.datagrams.append(Socket(descriptor: descriptor, address: address))
            case Int32(SOCK_STREAM.rawValue) where option(descriptor, SO_ACCEPTCONN) == 1:
                sockets.streams.append(Socket(descriptor: descriptor, address: address))
            default: throw failure(descriptor, "is neither a UDP socket nor a TCP socket that listens")
            }
        }
        return sockets
    }

    private static func failure(_ descriptor: Int32, _ why: String) -> ServiceFailure {
        ServiceFailure(
            .configuration,
            "descriptor \(descriptor), from the service manager, \(why); its socket unit has ListenDatagram=ADDR:PORT "
                + "and ListenStream=ADDR:PORT, with Accept=no")
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private static func option(_ descriptor: Int32, _ name: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }

    private static func localAddress(_ descriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? SocketAddress($0) : nil
            }
        }
    }
}
