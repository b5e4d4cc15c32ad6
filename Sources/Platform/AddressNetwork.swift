/// A network: address bits and a mask of them.
public struct AddressNetwork: Hashable, Sendable, BitwiseCopyable {
    var high: UInt64
    var low: UInt64
    var highMask: UInt64
    var lowMask: UInt64
    var isIPv6: Bool

    public init(_ address: SocketAddress, prefixLength: Int) {
        isIPv6 = address.isIPv6
        if isIPv6 {
            highMask = prefixLength == 0 ? 0 : ~0 << UInt64(64 - min(prefixLength, 64))
            lowMask = prefixLength <= 64 ? 0 : ~0 << UInt64(128 - prefixLength)
        } else {
            highMask = 0
            lowMask = prefixLength == 0 ? 0 : UInt64(UInt32.max << UInt32(32 - prefixLength))
        }
        high = address.high & highMask
        low = address.low & lowMask
    }

    public func contains(_ address: SocketAddress) -> Bool {
        address.isIPv6 == isIPv6 && address.high & highMask == high && address.low & lowMask == low
    }

    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or a single address; nil if `text` is neither.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = SocketAddress(ip: String(parts[0]), port: 0) else { return nil }
        let most = address.isIPv6 ? 128 : 32
        var length = most
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(parts[1]), number <= most
            else {
                return nil
            }
            length = number
        }
        self.init(address, prefixLength: length)
    }
}

extension AddressNetwork: CustomStringConvertible {
    /// `10.0.0.0/8`
    public var description: String {
        let length = isIPv6 ? highMask.nonzeroBitCount + lowMask.nonzeroBitCount : lowMask.nonzeroBitCount
        return "\(SocketAddress(high: high, low: low, port: 0, isIPv6: isIPv6).ip)/\(length)"
    }
}
