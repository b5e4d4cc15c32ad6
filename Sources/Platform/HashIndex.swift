import Glibc

/// Finds numbers by the hash of what they stand for: an open-addressed table without tombstones.
///
/// It holds no keys: the caller compares. A slot has 64 bits: a tag, which rejects nearly all others without a look at
/// their keys and is enough to grow and to remove, and the number + 1. Tags must be unpredictable for whoever chooses the
/// keys, and evenly spread over all 32 bits. Plain memory, so that views can copy it: the owner deallocates it, and
/// whoever shares it does not write it any more (unchecked for that).
public struct HashIndex: @unchecked Sendable, BitwiseCopyable {
    @usableFromInline let slots: UnsafeMutablePointer<UInt64>
    @usableFromInline let slotCount: UInt64

    /// - Parameter count: slots of 8 bytes; more than the numbers that will be in it, half as many again for short probes.
    public init(slots count: Int) {
        precondition(count >= 0 && count < 1 << 31, "an index of \(count) slots")
        // Zeroed pages that nobody touches cost no memory.
        guard let memory = calloc(max(count, 1), 8) else { fatalError("no memory for an index of \(count) slots") }
        slots = memory.assumingMemoryBound(to: UInt64.self)
        slotCount = UInt64(count)
    }

    public func deallocate() { free(slots) }

    public var capacity: Int { Int(slotCount) }

    /// Where the probe for `tag` begins, to be prefetched.
    @inlinable
    public func start(_ tag: UInt32) -> UnsafePointer<UInt64> { UnsafePointer(slots + Int(home(UInt64(tag)))) }

    /// The number in a slot of `start`, if it is one with this tag.
    @inlinable
    public static func number(in slot: UInt64, _ tag: UInt32) -> UInt32? {
        slot >> 32 == UInt64(tag) && UInt32(truncatingIfNeeded: slot) != 0 ? UInt32(truncatingIfNeeded: slot) &- 1 : nil
    }

    /// The first number with this tag that `isMeant` accepts.
    @inlinable
    @inline(__always)
    public func find(_ tag: UInt32, where isMeant: (UInt32) -> Bool) -> UInt32? {
        let tag = UInt64(tag)
        var slot = home(tag)
        while true {
            let value = slots[Int(slot)]
            if value == 0 { return nil }
            if value >> 32 == tag {
                let number = UInt32(truncatingIfNeeded: value) &- 1
                if isMeant(number) { return number }
            }
            slot = after(slot)
        }
    }

    /// Adds a number below 2^32 - 1. The caller keeps at least one slot free: without one, no search would end.
    @inlinable
    public func insert(_ tag: UInt32, _ number: UInt32) {
        var slot = home(UInt64(tag))
        while slots[Int(slot)] != 0 { slot = after(slot) }
        slots[Int(slot)] = UInt64(tag) << 32 | (UInt64(number) + 1)
    }

    /// Removes what `insert` added; moves back what others had displaced.
    public func remove(_ tag: UInt32, _ number: UInt32) {
        let value = UInt64(tag) << 32 | (UInt64(number) + 1)
        var hole = home(UInt64(tag))
        while slots[Int(hole)] != value {
            if slots[Int(hole)] == 0 { return }
            hole = after(hole)
        }
        slots[Int(hole)] = 0
        var next = after(hole)
        while slots[Int(next)] != 0 {
            let home = home(slots[Int(next)] >> 32)
            if distance(home, next) >= distance(hole, next) {
                slots[Int(hole)] = slots[Int(next)]
                slots[Int(next)] = 0
                hole = next
            }
            next = after(next)
        }
    }

    /// The same numbers in another number of slots; this one is deallocated.
    public consuming func resized(slots count: Int) -> HashIndex {
        let other = HashIndex(slots: count)
        for slot in 0..<Int(slotCount) where slots[slot] != 0 {
            other.insert(UInt32(truncatingIfNeeded: slots[slot] >> 32), UInt32(truncatingIfNeeded: slots[slot]) &- 1)
        }
        deallocate()
        return other
    }

    /// Scaled, so that any number of slots will do.
    @inlinable
    func home(_ tag: UInt64) -> UInt64 { (tag &* slotCount) >> 32 }

    @inlinable
    func after(_ slot: UInt64) -> UInt64 { slot + 1 == slotCount ? 0 : slot + 1 }

    private func distance(_ from: UInt64, _ to: UInt64) -> UInt64 { to >= from ? to - from : to + slotCount - from }
}
