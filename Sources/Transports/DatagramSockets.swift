import CLinux
import Glibc
package import Platform

extension DatagramSocket {
    /// Sockets on `address`, one per worker; the kernel spreads clients over them (SO_REUSEPORT).
    ///
    /// With SO_REUSEPORT two daemons could share the port unnoticed, each answering some of the queries. So the first
    /// socket is bound without it, which fails if the port is taken, and shares it afterwards.
    ///
    /// - Parameter early: the machine need not have the address yet; the sockets serve it once it has.
    package static func bind(_ address: SocketAddress, count: Int, early: Bool = false) throws(SystemError)
        -> [DatagramSocket]
    {
        var sockets: [DatagramSocket] = []
        for number in 0..<count {
            do {
                let descriptor = try open(address, sharesPort: number > 0, early: early)
                if number == 0, count > 1 { set(SOL_SOCKET, SO_REUSEPORT, descriptor) }
                sockets.append(DatagramSocket(descriptor: descriptor, at: address, isShared: false))
            } catch {
                for socket in sockets { close(socket.descriptor) }
                throw error
            }
        }
        return sockets
    }

    private static func open(
        _ address: SocketAddress, sharesPort: Bool, early: Bool
    ) throws(SystemError) -> Int32 {
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError("socket") }
        if sharesPort { set(SOL_SOCKET, SO_REUSEPORT, descriptor) }
        if early { set(address.freeBind.level, address.freeBind.option, descriptor) }
        if address.isIPv6 { set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, descriptor) }
        if address.isUnspecified { askForLocalAddress(descriptor, isIPv6: address.isIPv6) }
        enlargeBuffer(descriptor)
        address.forbidFragments(of: descriptor)
        let bound = address.withSockaddr { Glibc.bind(descriptor, $0, $1) }
        guard bound == 0 else {
            let code = errno
            close(descriptor)
            throw SystemError("bind", code: code)
        }
        return descriptor
    }

    private static func set(_ level: Int32, _ option: Int32, _ descriptor: Int32) {
        var one: Int32 = 1
        setsockopt(descriptor, level, option, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Each answer must leave from the address that the query was sent to.
    static func askForLocalAddress(_ descriptor: Int32, isIPv6: Bool) {
        if isIPv6 {
            set(Int32(IPPROTO_IPV6), IPV6_RECVPKTINFO, descriptor)
        } else {
            set(Int32(IPPROTO_IP), IP_PKTINFO, descriptor)
        }
    }

    /// Lets a burst of queries wait instead of being lost.
    static func enlargeBuffer(_ descriptor: Int32) { ReceiveBuffer.enlarge(of: descriptor, to: 4 << 20) }
}
