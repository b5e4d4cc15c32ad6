import Glibc

extension SocketAddress {
    /// The addresses of this machine's interfaces, as they are now; port 0.
    public static func ofInterfaces() -> [(address: SocketAddress, prefixLength: Int)] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var addresses: [(SocketAddress, Int)] = []
        var next = list
        while let interface = next?.pointee {
            next = interface.ifa_next
            guard let raw = interface.ifa_addr, let rawMask = interface.ifa_netmask,
                let address = SocketAddress(raw), let mask = SocketAddress(rawMask)
            else { continue }
            addresses.append((address, mask.high.nonzeroBitCount + mask.low.nonzeroBitCount))
        }
        return addresses
    }

    /// Without the scope of a link-local address, which certificates can't express.
    public var unscopedIP: String { SocketAddress(high: high, low: low, port: 0, isIPv6: isIPv6).ip }
}
