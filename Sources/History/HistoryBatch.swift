internal import LookupLog

/// Records on their way from the log thread to the history's thread, bounded in bytes.
///
/// `@unchecked`: one thread uses it at a time, and `HistoryMailbox` passes it on under a lock.
final class HistoryBatch: @unchecked Sendable {
    /// Records, each preceded by its number in the log (8 bytes). 8-aligned.
    private var memory: UnsafeMutableRawPointer?
    private var capacity = 0
    private(set) var count = 0
    private(set) var lookups = 0
    /// The positions where the list of servers, which records refer to, changes.
    private var upstreams: [(position: Int, names: [String])] = []

    var isEmpty: Bool { count == 0 }

    deinit { memory?.deallocate() }

    /// False if it would exceed `most` bytes.
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

    /// Appends all of `other`; false if it would exceed `most` bytes.
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

    /// Calls `body` with each record, its number and the servers valid for it, which are `names` at first.
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

    /// Whether it has neither records nor changes of servers.
    var isBlank: Bool { count == 0 && upstreams.isEmpty }

    /// - Parameter keepingUpstreams: keeps the last list of servers, for the records that follow.
    func removeAll(keepingUpstreams: Bool = false) {
        count = 0
        lookups = 0
        upstreams = keepingUpstreams ? upstreams.suffix(1).map { (0, $0.names) } : []
        // Memory that a burst needed is freed.
        guard capacity > Self.kept else { return }
        memory?.deallocate()
        memory = nil
        capacity = 0
    }

    /// The most memory that an empty batch keeps, in bytes.
    private static let kept = 512 * 1024
}
