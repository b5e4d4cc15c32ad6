import DNSWire
import Glibc
import Lookup
import Platform

/// One shard: blocks of memory, an open-addressed index over them, and the CLOCK hand.
///
/// `@unchecked`: the shard owns the blocks and accesses them under its lock only.
struct ShardState: ~Copyable, @unchecked Sendable {
    typealias Head = AnswerCache.Head

    private(set) var entries: [UnsafeMutableRawPointer?] = []
    private var free: [UInt32] = []
    /// Entries by their names.
    private var index = HashIndex(slots: 0)
    private var hand = 0
    private(set) var count = 0
    private(set) var bytes = 0
    private let capacity: Int
    var statistics = AnswerCache.Statistics()

    /// Bytes per entry besides its block and slot: the allocator's, and the entry's places in the two lists.
    private static let overhead = 40

    init(capacity: Int) {
        self.capacity = capacity
    }

    deinit {
        for block in entries { Glibc.free(block) }
        index.deallocate()
    }

    func head(_ entry: Int) -> UnsafeMutablePointer<Head> {
        entries[entry].unsafelyUnwrapped.assumingMemoryBound(to: Head.self)
    }

    /// The lower half of the hash: the upper bits chose the shard.
    private func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash) }

    /// The entry for the name that satisfies `isName`, which gets the name's bytes and their number: that of `type`, or,
    /// unless it is live, a live denial of the name (RFC 2308 5).
    @inline(__always)
    func find(
        _ hash: UInt64, type: RecordType, key: Head.Flags, now: UInt64, isName: (UnsafeRawPointer, Int) -> Bool
    ) -> Int? {
        guard count > 0 else { return nil }
        let own = find(hash, key, isName) { $0.pointee.type == type }
        if let own, now < head(own).pointee.expiry { return own }
        let denial = find(hash, key, isName) { $0.pointee.flags.contains(.deniesName) }
        guard let denial, own == nil || now < head(denial).pointee.expiry else { return own }
        return denial
    }

    /// The entry for `key`; or, with `orDenial`, a denial of its name.
    func find(_ key: FetchKey, flags: Head.Flags, orDenial: Bool) -> Int? {
        guard count > 0 else { return nil }
        return key.name.withUnsafeBytes { wire in
            func isName(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
                count == wire.count && memcmp(bytes, wire.baseAddress.unsafelyUnwrapped, count) == 0
            }
            return find(key.hash, flags.intersection(.key), isName) {
                $0.pointee.type == key.type || orDenial && $0.pointee.flags.contains(.deniesName)
            }
        }
    }

    @inline(__always)
    private func find(
        _ hash: UInt64, _ key: Head.Flags, _ isName: (UnsafeRawPointer, Int) -> Bool,
        where isWanted: (UnsafePointer<Head>) -> Bool
    ) -> Int? {
        index.find(tag(hash)) { entry in
            let block = entries[Int(entry)].unsafelyUnwrapped
            let head = block.assumingMemoryBound(to: Head.self)
            return isWanted(head) && head.pointee.flags.intersection(.key) == key
                && isName(block + Head.size, Int(head.pointee.nameLength))
        }.map { Int($0) }
    }

    mutating func insert(_ head: Head, _ answer: UpstreamAnswer, at place: Place) {
        let size = head.blockSize
        // One answer must not evict a whole shard.
        guard size <= capacity / 8 else { return }
        while true {
            let growth = needsGrowth ? (grownIndexCount - index.capacity) * 8 : 0
            if bytes + size + Self.overhead + growth <= capacity { break }
            guard count > 0 else { return }
            evict()
        }
        guard let block = malloc(size) else { return }
        block.storeBytes(of: head, as: Head.self)
        answer.key.name.withUnsafeBytes {
            (block + Head.size).copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count)
        }
        answer.ttlOffsets.withUnsafeBytes {
            if let base = $0.baseAddress { (block + head.ttlStart).copyMemory(from: base, byteCount: $0.count) }
        }
        answer.message.withUnsafeBytes {
            (block + head.messageStart).copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count)
        }
        answer.extendedText.withUnsafeBytes {
            if let base = $0.baseAddress { (block + head.textStart).copyMemory(from: base, byteCount: $0.count) }
        }
        if head.flags.contains(.recorded) {
            block.storeBytes(of: place, toByteOffset: head.placeStart, as: Place.self)
        }
        // Grow before the new entry is listed: growing links all listed entries.
        if needsGrowth { growIndex() }
        let entry: Int
        if let reused = free.popLast() {
            entry = Int(reused)
            entries[entry] = block
        } else {
            entry = entries.count
            entries.append(block)
        }
        count += 1
        bytes += size + Self.overhead
        index.insert(tag(head.hash), UInt32(entry))
    }

    /// Grow at half full, which keeps probes short.
    private var needsGrowth: Bool { (count + 1) * 2 > index.capacity }
    private var grownIndexCount: Int { max(16, index.capacity * 2) }

    private mutating func growIndex() {
        bytes += (grownIndexCount - index.capacity) * 8
        index = index.resized(slots: grownIndexCount)
    }

    mutating func remove(_ entry: Int) {
        guard let block = entries[entry] else { return }
        let head = block.load(as: Head.self)
        index.remove(tag(head.hash), UInt32(entry))
        Glibc.free(block)
        entries[entry] = nil
        free.append(UInt32(entry))
        count -= 1
        bytes -= head.blockSize + Self.overhead
    }

    /// Second chance: evicts the first entry that was not used since the hand last passed it.
    private mutating func evict() {
        for _ in 0..<(entries.count * 2) {
            hand = hand + 1 < entries.count ? hand + 1 : 0
            guard let block = entries[hand] else { continue }
            let head = block.assumingMemoryBound(to: Head.self)
            if head.pointee.flags.contains(.used) {
                head.pointee.flags.remove(.used)
                continue
            }
            remove(hand)
            statistics.evictions += 1
            return
        }
    }
}
