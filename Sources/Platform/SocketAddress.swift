public import Glibc

/// An IP address and a port: 24 plain bytes, so that rings, tables and parked queries can hold one.
public struct SocketAddress: Hashable, Sendable, BitwiseCopyable {
    /// The 128 bits of the address, big-endian by value; an IPv4 address is the low 32 of them.
    public let high: UInt64
    public let low: UInt64
    /// The interface of a link-local IPv6 address, else 0.
    public let scope: UInt32
    public let port: UInt16
    public let isIPv6: Bool

    public init(high: UInt64, low: UInt64, scope: UInt32 = 0, port: UInt16, isIPv6: Bool) {
        self.high = high
        self.low = low
        self.scope = scope
        self.port = port
        self.isIPv6 = isIPv6
    }

    /// No address: 0.0.0.0, port 0.
    public static let none = SocketAddress(high: 0, low: 0, port: 0, isIPv6: false)

    /// Where a socket is bound; nil if it is none of IPv4 or IPv6.
    public init?(localEndOf descriptor: Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let found = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> SocketAddress? in
                getsockname(descriptor, address, &length) == 0 ? SocketAddress(address) : nil
            }
        }
        guard let found else { return nil }
        self = found
    }

    /// Nil for address families other than IPv4 and IPv6.
    @inlinable
    public init?(_ address: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(address)
        // Read by offset: the member may come from the Glibc module or from CLinux, whichever was loaded first.
        switch Int32(raw.load(as: sa_family_t.self)) {
        case AF_INET:
            self.init(
                high: 0, low: UInt64(UInt32(bigEndian: raw.load(fromByteOffset: 4, as: UInt32.self))),
                port: UInt16(bigEndian: raw.load(fromByteOffset: 2, as: UInt16.self)), isIPv6: false)
        case AF_INET6:
            self.init(
                high: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
                scope: raw.load(fromByteOffset: 24, as: UInt32.self),
                port: UInt16(bigEndian: raw.load(fromByteOffset: 2, as: UInt16.self)), isIPv6: true)
        default: return nil
        }
    }

    /// Reads `192.0.2.1`, `2001:db8::1` or `fe80::1%eth0`; nil for anything else.
    public init?(ip text: String, port: UInt16) {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(high: 0, low: UInt64(UInt32(bigEndian: four.s_addr)), port: port, isIPv6: false)
            return
        }
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        var scope: UInt32 = 0
        if parts.count == 2 {
            scope = UInt32(parts[1]) ?? if_nametoindex(String(parts[1]))
            guard scope != 0 else { return nil }
        }
        var six = in6_addr()
        guard inet_pton(AF_INET6, String(parts[0]), &six) == 1 else { return nil }
        let (high, low) = withUnsafeBytes(of: &six) {
            ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        self.init(
            high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), scope: scope, port: port, isIPv6: true)
    }

    public var isUnspecified: Bool { high == 0 && low == 0 }

    /// 127.0.0.0/8, ::1, or an IPv4-mapped loopback address.
    @inlinable
    public var isLoopback: Bool {
        isIPv6 ? high == 0 && (low == 1 || low >> 24 == 0xFFFF7F) : low >> 24 == 127
    }

    /// The IPv4 address if this is an IPv4-mapped one (RFC 4291 2.5.5.2), else itself.
    public var unmapped: SocketAddress {
        guard isIPv6, high == 0, low >> 32 == 0xFFFF else { return self }
        return SocketAddress(high: 0, low: low & 0xFFFF_FFFF, port: port, isIPv6: false)
    }

    /// What stands for one client: an IPv4 address, or the 64-bit network of an IPv6 address, which a host may have to
    /// itself. The port is 0.
    public var client: SocketAddress {
        let address = unmapped.withPort(0)
        // All hosts of a link share the network of link-local addresses.
        guard address.isIPv6, !address.isLinkLocal else { return address }
        return SocketAddress(high: address.high, low: 0, port: 0, isIPv6: true)
    }

    /// fe80::/10 (RFC 4291 2.5.6): valid on one interface only.
    public var isLinkLocal: Bool { isIPv6 && high >> 54 == 0x3FA }

    public func withScope(_ scope: UInt32) -> SocketAddress {
        SocketAddress(high: high, low: low, scope: scope, port: port, isIPv6: isIPv6)
    }

    public func withPort(_ port: UInt16) -> SocketAddress {
        SocketAddress(high: high, low: low, scope: scope, port: port, isIPv6: isIPv6)
    }

    /// Calls `body` with the address as a `sockaddr`.
    public func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        // Not a sockaddr_storage, which comes from the Glibc module or CLinux, whichever was loaded first.
        var storage = InlineArray<16, UInt64>(repeating: 0)
        return withUnsafeMutableBytes(of: &storage) { bytes in
            let length = write(to: bytes.baseAddress.unsafelyUnwrapped)
            return body(bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), length)
        }
    }

    /// Writes a `sockaddr` to zeroed memory of at least 28 bytes; returns its length.
    public func write(to raw: UnsafeMutableRawPointer) -> socklen_t {
        raw.storeBytes(of: sa_family_t(isIPv6 ? AF_INET6 : AF_INET), as: sa_family_t.self)
        raw.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
        guard isIPv6 else {
            raw.storeBytes(of: UInt32(truncatingIfNeeded: low).bigEndian, toByteOffset: 4, as: UInt32.self)
            return socklen_t(MemoryLayout<sockaddr_in>.size)
        }
        raw.storeBytes(of: high.bigEndian, toByteOffset: 8, as: UInt64.self)
        raw.storeBytes(of: low.bigEndian, toByteOffset: 16, as: UInt64.self)
        raw.storeBytes(of: scope, toByteOffset: 24, as: UInt32.self)
        return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }

    /// Makes `socket`, a UDP socket of this address family, send unfragmented packets only and ignore reported path
    /// MTUs: fragments can be forged, and our packets fit any path.
    ///
    /// It also saves the kernel an unpredictable fragment ID per packet.
    /// - RFC: 9715 3.1 (R2).
    public func forbidFragments(of socket: Int32) {
        var probe = isIPv6 ? Int32(IPV6_PMTUDISC_PROBE) : Int32(IP_PMTUDISC_PROBE)
        setsockopt(
            socket, Int32(isIPv6 ? IPPROTO_IPV6 : IPPROTO_IP), isIPv6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe,
            socklen_t(MemoryLayout<Int32>.size))
    }

    /// The address without port and brackets.
    public var ip: String {
        let plain = withIP { String(decoding: $0, as: UTF8.self) }
        return scope == 0 ? plain : "\(plain)%\(scope)"
    }

    /// Calls `body` with the text of `ip`, without a scope. Does not allocate.
    public func withIP<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            withSockaddr { address, _ in
                let raw = UnsafeRawPointer(address)
                _ = inet_ntop(
                    isIPv6 ? AF_INET6 : AF_INET, raw + (isIPv6 ? 8 : 4), text.baseAddress, socklen_t(text.count))
            }
            let length = strlen(text.baseAddress.unsafelyUnwrapped)
            return body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(text)[..<length]))
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    /// `192.0.2.1:53` or `[2001:db8::1]:53`.
    public var description: String { isIPv6 ? "[\(ip)]:\(port)" : "\(ip):\(port)" }
}
