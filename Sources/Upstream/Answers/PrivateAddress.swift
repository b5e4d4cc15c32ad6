package import DNSWire
package import Platform

/// Addresses that lead to this machine, its link or its site, where a public name has no business.
///
/// The special-purpose addresses that are not globally reachable (RFC 6890) and that something near may listen on. Not
/// among them: documentation, benchmarking (where proxies put names they resolve later), multicast.
package enum PrivateAddress {
    /// - RFC: 4291 2.5 and 3879 for IPv6; 4193; 6052 2.1 for addresses that embed an IPv4 address.
    package static func contains(_ address: SocketAddress) -> Bool {
        guard address.isIPv6 else { return contains(ipv4: UInt32(truncatingIfNeeded: address.low)) }
        let upper = address.low >> 32
        // ::, ::1 and ::ffff:0:0/96 are this machine's IPv4 addresses in another form, and so are ::/96 and
        // ::ffff:0:0:0/96.
        let isMapped = address.high == 0 && (upper == 0 || upper == 0xFFFF || upper == 0xFFFF_0000)
        let isTranslated = upper == 0 && (address.high == nat64 || address.high >> 16 == localNAT64)
        let embedsIPv4 = isMapped || isTranslated
        if embedsIPv4 { return contains(ipv4: UInt32(truncatingIfNeeded: address.low)) }
        let first = address.high >> 48
        // fc00::/7, fe80::/10, and fec0::/10, which some systems still use.
        return first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFE80 || first & 0xFFC0 == 0xFEC0
    }

    /// 64:ff9b::/96.
    private static let nat64: UInt64 = 0x0064_FF9B_0000_0000
    /// 64:ff9b:1::/48, of which a network's own prefix of 96 bits is usual (RFC 8215).
    private static let localNAT64: UInt64 = 0x0064_FF9B_0001

    /// - RFC: 791 3.2 and 1122 3.2.1.3 (0/8, 127/8); 1918 3; 3927 2.1; 6598 7; 7335 (192.0.0.0/29).
    private static func contains(ipv4 address: UInt32) -> Bool {
        switch address >> 24 {
        case 0, 10, 127: true
        case 100: address >> 22 == 100 << 2 | 1
        case 169: address >> 16 == 169 << 8 | 254
        case 172: address >> 20 == 172 << 4 | 1
        case 192: address >> 16 == 192 << 8 | 168 || address >> 3 == 192 << 21
        default: false
        }
    }

    /// The first private address in the RDATA of A, AAAA, HTTPS or SVCB; nil for other types.
    ///
    /// - RFC: 1035 3.4.1; 3596 2.2; 9460 2.2 and 7.3 for `ipv4hint` and `ipv6hint`.
    package static func first(in rdata: UnsafeRawBufferPointer, _ type: RecordType) -> SocketAddress? {
        switch type {
        case .a: return first(in: rdata, isIPv6: false)
        case .aaaa: return first(in: rdata, isIPv6: true)
        case .https, .svcb: break
        default: return nil
        }
        // SvcPriority and TargetName, which is not compressed.
        var cursor = 2
        while cursor < rdata.count, rdata[cursor] != 0 { cursor += 1 + Int(rdata[cursor]) }
        cursor += 1
        while cursor + 4 <= rdata.count, let base = rdata.baseAddress {
            let key = base.readUInt16(cursor)
            let start = cursor + 4
            cursor = start + Int(base.readUInt16(cursor + 2))
            guard cursor <= rdata.count else { return nil }
            if key == 4 || key == 6,
                let found = first(in: UnsafeRawBufferPointer(rebasing: rdata[start..<cursor]), isIPv6: key == 6)
            {
                return found
            }
        }
        return nil
    }

    /// `bytes` are addresses, one after the other.
    private static func first(in bytes: UnsafeRawBufferPointer, isIPv6: Bool) -> SocketAddress? {
        guard let base = bytes.baseAddress else { return nil }
        let length = isIPv6 ? 16 : 4
        for start in stride(from: 0, through: bytes.count - length, by: length) {
            func half(_ offset: Int) -> UInt64 {
                UInt64(base.readUInt32(start + offset)) << 32 | UInt64(base.readUInt32(start + offset + 4))
            }
            let address =
                isIPv6
                ? SocketAddress(high: half(0), low: half(8), port: 0, isIPv6: true)
                : SocketAddress(high: 0, low: UInt64(base.readUInt32(start)), port: 0, isIPv6: false)
            if contains(address) { return address }
        }
        return nil
    }
}
