import DNSWire
import Platform

/// The address of an override: 16 bytes, because a file may have millions.
struct HostAddress: Hashable, Sendable, BitwiseCopyable {
    private let upper: UInt64
    private let lower: UInt64

    /// An IPv4 address is held as its IPv4-mapped IPv6 address, which no host uses (RFC 4291 2.5.5.2).
    private static let mapped: UInt64 = 0xFFFF_0000_0000

    init(ipv4 value: UInt32) {
        upper = 0
        lower = Self.mapped | UInt64(value)
    }

    /// ::ffff:192.0.2.1 becomes the IPv4 address.
    init(ipv6 high: UInt64, _ low: UInt64) {
        upper = high
        lower = low
    }

    var isIPv6: Bool { upper != 0 || lower >> 32 != Self.mapped >> 32 }
    var isUnspecified: Bool { upper == 0 && (lower == 0 || lower == Self.mapped) }
    /// 127.0.0.1 or ::1.
    var isLocalhost: Bool { upper == 0 && (lower == 1 || lower == Self.mapped | 0x7F00_0001) }

    /// Writes RDATA (4 or 16 bytes) to `target`; returns its length.
    func write(to target: UnsafeMutableRawPointer) -> Int {
        guard isIPv6 else {
            target.write(UInt32(truncatingIfNeeded: lower), at: 0)
            return 4
        }
        target.storeBytes(of: upper.bigEndian, as: UInt64.self)
        target.storeBytes(of: lower.bigEndian, toByteOffset: 8, as: UInt64.self)
        return 16
    }

    var text: String {
        SocketAddress(high: upper, low: isIPv6 ? lower : lower & 0xFFFF_FFFF, port: 0, isIPv6: isIPv6).ip
    }

    func hash(with key: NameHash) -> UInt64 { key.hash(upper, lower) }
}

/// The distinct addresses of all overrides, numbered and found by value.
struct AddressTable: Sendable {
    private(set) var addresses: [HostAddress] = []
    /// Address number + 1, at or after the slot given by the hash; at most two thirds of the slots are used. No HashIndex:
    /// its slots are twice as large, and a tag would save nothing, since addresses are compared where they lie.
    private var slots = [UInt32](repeating: 0, count: 16)
    private let key = NameHash.process

    var count: Int { addresses.count }

    subscript(number: UInt32) -> HostAddress {
        @inline(__always) get { addresses[Int(number)] }
    }

    func number(of address: HostAddress) -> UInt32? {
        let slot = slots[slot(for: address)]
        return slot == 0 ? nil : slot - 1
    }

    /// The number of `address`, which is added if it is new.
    mutating func intern(_ address: HostAddress) -> (number: UInt32, isNew: Bool) {
        let place = slot(for: address)
        if slots[place] > 0 { return (slots[place] - 1, false) }
        addresses.append(address)
        slots[place] = UInt32(addresses.count)
        if addresses.count * 3 > slots.count * 2 { grow() }
        return (UInt32(addresses.count - 1), true)
    }

    /// The slot that holds `address`, or the free one where it belongs.
    private func slot(for address: HostAddress) -> Int {
        var slot = Int(truncatingIfNeeded: address.hash(with: key)) & (slots.count - 1)
        while slots[slot] != 0, addresses[Int(slots[slot]) - 1] != address { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: slots.count * 2)
        for (number, address) in addresses.enumerated() { slots[slot(for: address)] = UInt32(number + 1) }
    }
}
