import Glibc

/// Unpredictable random numbers, fetched from the kernel in blocks.
struct RandomPool {
    private var words = [UInt64](repeating: 0, count: 32)
    private var used = 32

    mutating func next() -> UInt64 {
        if used == words.count {
            words.withUnsafeMutableBytes { bytes in
                // Fails only if the kernel has no random numbers at all; Swift's own source is used then.
                guard getentropy(bytes.baseAddress.unsafelyUnwrapped, bytes.count) != 0 else { return }
                var system = SystemRandomNumberGenerator()
                for offset in stride(from: 0, to: bytes.count, by: 8) {
                    bytes.storeBytes(of: system.next(), toByteOffset: offset, as: UInt64.self)
                }
            }
            used = 0
        }
        defer { used += 1 }
        // Each number is used once and then erased.
        let word = words[used]
        words[used] = 0
        return word
    }
}
