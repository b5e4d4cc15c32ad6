import DNSWire
public import Platform

/// An encrypted transport of this resolver, as announced to clients that query `_dns.resolver.arpa`.
///
/// - RFC: 9462 4; 9461 3 to 5; 9460 7.
public struct DesignatedResolver: Sendable, Hashable {
    public enum Service: Sendable, Hashable {
        /// DNS over TLS.
        case dot
        /// DNS over HTTPS, with this URI template's path.
        case doh(path: String)
    }

    let rdata: [UInt8]

    /// `addresses`: where it can be reached, all on `port`; at most 20 per address family are announced.
    public init(_ service: Service, addresses: [SocketAddress], port: UInt16, priority: UInt16) {
        var rdata = Self.bytes(priority)
        // It has no name of its own: clients use the address hints, and its certificate is for addresses.
        rdata += Name("resolver.arpa.")?.wire ?? [0]
        let protocols: [String]
        switch service {
        case .dot: protocols = ["dot"]
        case .doh: protocols = ["h2", "http/1.1"]
        }
        rdata += Self.parameter(1, protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) })
        rdata += Self.parameter(3, Self.bytes(port))
        for (key, isIPv6) in [(UInt16(4), false), (6, true)] {
            var hints: [UInt8] = []
            for address in addresses.filter({ $0.isIPv6 == isIPv6 }).prefix(20) {
                if isIPv6 { withUnsafeBytes(of: address.high.bigEndian) { hints += $0 } }
                withUnsafeBytes(of: address.low.bigEndian) { hints += $0.suffix(isIPv6 ? 8 : 4) }
            }
            if !hints.isEmpty { rdata += Self.parameter(key, hints) }
        }
        if case .doh(let path) = service { rdata += Self.parameter(7, Array((path + "{?dns}").utf8)) }
        self.rdata = rdata
    }

    private static func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

    private static func parameter(_ key: UInt16, _ value: [UInt8]) -> [UInt8] {
        bytes(key) + bytes(UInt16(clamping: value.count)) + value
    }
}
