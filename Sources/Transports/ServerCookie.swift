import DNSWire
import Platform

/// Server cookies, which prove that a client receives at its source address.
///
/// Stateless and equal on all workers: a keyed hash over the client's cookie, the time and its address.
/// - RFC: 7873 5.2; 9018 4.
package struct ServerCookie: Sendable, BitwiseCopyable {
    /// Length of client and server cookie together, in bytes.
    static let length = 24
    /// Length of the option including code and length, in bytes.
    static let optionLength = 4 + length

    private let key: (UInt64, UInt64)

    /// A key for the life of the process.
    package init() {
        self.init(key: (.random(in: 0...UInt64.max), .random(in: 0...UInt64.max)))
    }

    /// The server secret as two little-endian words.
    init(key: (UInt64, UInt64)) {
        self.key = key
    }

    /// Writes the client cookie and a new server cookie, 24 bytes in all, to `target`.
    ///
    /// `clientCookie` points to eight bytes; `time` is in seconds since 1970.
    func write(
        to target: UnsafeMutableRawPointer, clientCookie: UnsafeRawPointer, time: UInt32, client: SocketAddress
    ) {
        target.copyMemory(from: clientCookie, byteCount: 8)
        // Version 1 and three reserved bytes (RFC 9018 4.1, 4.2).
        target.write(UInt32(0x0100_0000), at: 8)
        target.write(time, at: 12)
        var hash = SipHash(key: key)
        hash.append(clientCookie.loadUnaligned(as: UInt64.self))
        hash.append(UnsafeRawPointer(target).loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        if client.isIPv6 {
            hash.append(client.high.bigEndian)
            hash.append(client.low.bigEndian)
            target.storeBytes(of: hash.finish(tail: 0, tailBytes: 0, total: 32), toByteOffset: 16, as: UInt64.self)
        } else {
            let address = UInt64(UInt32(truncatingIfNeeded: client.low).bigEndian)
            target.storeBytes(
                of: hash.finish(tail: address, tailBytes: 4, total: 20), toByteOffset: 16, as: UInt64.self)
        }
    }
}

/// SipHash-2-4 over whole 64-bit little-endian words and a short tail.
///
/// - RFC: 9018 4.4 prescribes it.
struct SipHash {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    init(key: (UInt64, UInt64)) {
        v0 = key.0 ^ 0x736f_6d65_7073_6575
        v1 = key.1 ^ 0x646f_7261_6e64_6f6d
        v2 = key.0 ^ 0x6c79_6765_6e65_7261
        v3 = key.1 ^ 0x7465_6462_7974_6573
    }

    mutating func append(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    /// `tail` holds the last `tailBytes` (0 to 7) bytes; `total` counts all bytes of the input.
    mutating func finish(tail: UInt64, tailBytes: Int, total: Int) -> UInt64 {
        append(tail | UInt64(total & 0xFF) << 56)
        v2 ^= 0xFF
        for _ in 0..<4 { round() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    private mutating func round() {
        v0 &+= v1
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 &+= v3
        v3 = rotate(v3, 16) ^ v2
        v0 &+= v3
        v3 = rotate(v3, 21) ^ v0
        v2 &+= v1
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)
    }

    private func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
}
