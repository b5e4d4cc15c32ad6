import Platform

/// Finds numbers by an unpredictable 64-bit key, and grows as needed.
struct NumberIndex: ~Copyable {
    private var index = HashIndex(slots: 64)
    private(set) var count = 0

    deinit { index.deallocate() }

    /// The upper bits of the product depend on all bits of the key.
    private static func tag(_ key: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32)
    }

    /// The number under `key` that `isMeant` accepts. Other keys may come before it.
    @inline(__always)
    func find(_ key: UInt64, where isMeant: (Int) -> Bool) -> Int? {
        index.find(Self.tag(key)) { isMeant(Int($0)) }.map { Int($0) }
    }

    mutating func insert(_ key: UInt64, _ number: Int) {
        if (count + 1) * 2 > index.capacity { index = index.resized(slots: index.capacity * 2) }
        index.insert(Self.tag(key), UInt32(number))
        count += 1
    }

    /// Removes what `insert` added.
    mutating func remove(_ key: UInt64, _ number: Int) {
        index.remove(Self.tag(key), UInt32(number))
        count -= 1
    }
}
