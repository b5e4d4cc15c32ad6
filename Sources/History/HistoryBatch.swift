internal import LookupLog

/// Records on their way from the log thread to the history's own: bytes, within a bound.
///
/// Unchecked: it is one thread's at a time, and changes hands under the lock of `HistoryMailbox`.
final class HistoryBatch: @unchecked Sendable {
    /// Records one after the other, each behind its number in the log (8 bytes). 8-aligned.
    private var memory: UnsafeMutableRawPointer?
    private var capacity = 0
    private(set) var count = 0
    private(set) var lookups = 0
    /// Where the servers change that the records' indexes mean.
    private var upstreams: [(position: Int, names: [String])] = []

    var isEmpty: Bool { count == 0 }

    deinit { memory?.deallocate() }

    /// False where it would be more than `most` bytes.
    func append(_ record: LookupRecord, number: UInt64, most: Int) -> Bool {
        let bytes = record.bytes
        let size = 8 + bytes.count
        if capacity - count < size {
            guard count + size <= most else { return false }
            grow(to: min(max(2 * capacity, count + size, 16 * 1024), most))
        }
        guard let memory, let source = bytes.baseAddress else { return false }
        memory.storeBytes(of: number, toByteOffset: count, as: UInt64.self)
        (memory + count + 8).copyMemory(from: source, byteCount: bytes.count)
        count += size
        lookups += 1
        return true
    }

    /// Adds all of `other`; false where it would be more than `most` bytes.
    func append(_ other: HistoryBatch, most: Int) -> Bool {
        guard count + other.count <= most else { return false }
        if capacity - count < other.count { grow(to: min(max(2 * capacity, count + other.count), most)) }
        for change in other.upstreams { upstreams.append((count + change.position, change.names)) }
        if let memory, let source = other.memory { (memory + count).copyMemory(from: source, byteCount: other.count) }
        count += other.count
        lookups += other.lookups
        return true
    }

    private func grow(to capacity: Int) {
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        if let memory {
            larger.copyMemory(from: memory, byteCount: count)
            memory.deallocate()
        }
        memory = larger
        self.capacity = capacity
    }

    func setUpstreams(_ names: [String]) { upstreams.append((count, names)) }

    /// Calls `body` with each record, its number and the servers of its time, which start with `names`.
    func forEach(
        _ names: inout [String], _ body: (LookupRecord, _ number: UInt64, _ upstreams: [String]) throws -> Void
    ) rethrows {
        var changes = upstreams[...]
        var position = 0
        while true {
            while let change = changes.first, change.position <= position {
                names = change.names
                changes.removeFirst()
            }
            guard let memory, position + 8 < count else { return }
            let number = memory.load(fromByteOffset: position, as: UInt64.self)
            let rest = UnsafeRawBufferPointer(start: memory + position + 8, count: count - position - 8)
            guard let record = LookupRecord(copiedTo: rest) else { return }
            try body(record, number, names)
            position += 8 + record.bytes.count
        }
    }

    /// Nothing in it, and no word of the servers either.
    var isBlank: Bool { count == 0 && upstreams.isEmpty }

    /// - Parameter keepingUpstreams: the servers that are named last are those of what comes next.
    func removeAll(keepingUpstreams: Bool = false) {
        count = 0
        lookups = 0
        upstreams = keepingUpstreams ? upstreams.suffix(1).map { (0, $0.names) } : []
        // What a burst has needed is given back.
        guard capacity > Self.kept else { return }
        memory?.deallocate()
        memory = nil
        capacity = 0
    }

    /// Bytes of memory that an empty batch holds on to.
    private static let kept = 512 * 1024
}
