/// Finds numbers by an unpredictable 64-bit key: an open-addressed table without tombstones.
///
/// Different things may share a key; the caller says which one it means. (Swift's `Dictionary` would hash the key
/// again, which costs more than all the rest.)
struct NumberIndex {
    private struct Slot {
        var key: UInt64
        /// -1 for a free slot.
        var number: Int32
    }

    private var slots = [Slot](repeating: Slot(key: 0, number: -1), count: 64)
    private(set) var count = 0

    private static func home(_ key: UInt64, _ slotCount: Int) -> Int {
        // The upper bits of the product depend on all bits of the key.
        Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & (slotCount - 1)
    }

    /// The number under `key` that `isMeant` accepts.
    @inline(__always)
    func find(_ key: UInt64, where isMeant: (Int) -> Bool) -> Int? {
        var index = Self.home(key, slots.count)
        while slots[index].number >= 0 {
            if slots[index].key == key, isMeant(Int(slots[index].number)) { return Int(slots[index].number) }
            index = (index + 1) & (slots.count - 1)
        }
        return nil
    }

    mutating func insert(_ key: UInt64, _ number: Int) {
        if (count + 1) * 2 > slots.count { grow() }
        place(Slot(key: key, number: Int32(truncatingIfNeeded: number)))
        count += 1
    }

    /// Removes what `insert` added.
    mutating func remove(_ key: UInt64, _ number: Int) {
        let mask = slots.count - 1
        var hole = Self.home(key, slots.count)
        while slots[hole].number != Int32(truncatingIfNeeded: number) || slots[hole].key != key {
            guard slots[hole].number >= 0 else { return }
            hole = (hole + 1) & mask
        }
        // Move entries displaced past the hole back.
        var next = (hole + 1) & mask
        while slots[next].number >= 0 {
            let home = Self.home(slots[next].key, slots.count)
            if (next - home) & mask >= (next - hole) & mask {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        slots[hole].number = -1
        count -= 1
    }

    private mutating func place(_ slot: Slot) {
        var index = Self.home(slot.key, slots.count)
        while slots[index].number >= 0 { index = (index + 1) & (slots.count - 1) }
        slots[index] = slot
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(key: 0, number: -1), count: old.count * 2)
        for slot in old where slot.number >= 0 { place(slot) }
    }
}
