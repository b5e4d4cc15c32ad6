public import DNSWire
public import Lookup
public import Platform
internal import Synchronization
public import Upstream

/// Carries one serving thread's lookups to the log thread: bounded bytes, one producer, one consumer.
///
/// Appending only copies: no allocation, no lock, no wait. If the ring is full, the lookup is counted as lost.
public final class LookupRing: Sendable {
    /// Bytes of memory, a power of two. Positions count bytes since the start and never wrap; their low bits are the
    /// offset in memory. A record is contiguous: if it does not fit before the end, a gap fills the rest.
    let capacity: Int
    // The producer writes between tail and head, the consumer reads there; see `Positions`.
    private nonisolated(unsafe) let memory: UnsafeMutableRawPointer
    private nonisolated(unsafe) let positions: UnsafeMutablePointer<Positions>
    private let bell: Bell
    /// Gets each client, to find its process; nil if processes are not looked up.
    private let clients: ClientQueue?
    /// Carries messages to and from upstream instead of lookups.
    let isForExchanges: Bool

    /// The producer writes `head`, `knownTail` and `lost`, the consumer `tail`; on separate cache lines.
    private struct Positions: ~Copyable {
        /// One past the last record; its release store publishes the record's bytes.
        let head = Atomic<Int>(0)
        /// The producer's last view of `tail`, refreshed only when the ring seems full.
        var knownTail = 0
        let lost = Atomic<UInt64>(0)
        let spacer = InlineArray<16, UInt64>(repeating: 0)
        /// The first unread byte; its release store frees the bytes before it.
        let tail = Atomic<Int>(0)
    }

    init(capacity wanted: Int, bell: Bell, clients: ClientQueue? = nil, isForExchanges: Bool = false) {
        self.clients = clients
        self.isForExchanges = isForExchanges
        var capacity = 64 * 1024
        while capacity < min(wanted, 1 << 30) { capacity <<= 1 }
        self.capacity = capacity
        self.bell = bell
        memory = .allocate(byteCount: capacity, alignment: 64)
        positions = .allocate(capacity: 1)
        positions.initialize(to: Positions())
    }

    deinit {
        positions.deinitialize(count: 1)
        positions.deallocate()
        memory.deallocate()
    }

    // MARK: The serving thread's side

    /// Appends an answered lookup.
    ///
    /// - Parameters:
    ///   - time: when the query arrived, in microseconds since 1970.
    ///   - response: header, question and records as found, before truncation and OPT; the header's flags and counts
    ///     match that.
    ///   - answers: the number of records in the answer section of `response`.
    ///   - truncated: the client gets TC=1.
    public func append(
        time: UInt64, client: SocketAddress, transport: Transport, query: Query, decision: borrowing Decision,
        faults: borrowing Faults = Faults(), response: UnsafeRawBufferPointer, answers: Int, truncated: Bool = false,
        durationMicroseconds: UInt32,
        view: UInt16 = 0
    ) {
        clients?.note(client, transport, time: time)
        let message = UnsafeRawBufferPointer(rebasing: response.prefix(LookupRecord.maximumMessageLength))
        let size = LookupRecord.size(decision, faults, messageLength: message.count)
        guard let free = reserve(size) else { return }
        LookupRecord.write(
            to: free.memory, size: size, time: time, client: client, transport: transport, query: query,
            decision: decision, faults: faults, message: message, answers: answers, truncated: truncated,
            durationMicroseconds: durationMicroseconds, view: view)
        publish(free.head + size)
    }

    /// Appends a message that gets no answer.
    public func appendDropped(time: UInt64, client: SocketAddress, transport: Transport) {
        guard let free = reserve(LookupRecord.droppedSize) else { return }
        LookupRecord.writeDropped(to: free.memory, time: time, client: client, transport: transport)
        publish(free.head + LookupRecord.droppedSize)
    }

    /// Appends a message to or from upstream; only in a ring of `LookupLog.makeExchangeRing`.
    ///
    /// `clock` is added to the message's times to get microseconds since 1970.
    public func append(_ message: UpstreamMessage, clock: UInt64) {
        let size = ForwardedExchange.size(
            messageLength: min(message.bytes.count, ForwardedExchange.maximumMessageLength))
        guard isForExchanges, let free = reserve(size) else { return }
        ForwardedExchange.write(to: free.memory, size: size, message, clock: clock)
        publish(free.head + size)
    }

    /// Reserves `size` contiguous bytes; nil, and counted as lost, if there is no room.
    @inline(__always)
    private func reserve(_ size: Int) -> (memory: UnsafeMutableRawPointer, head: Int)? {
        let head = positions.pointee.head.load(ordering: .relaxed)
        let offset = head & (capacity - 1)
        let gap = size > capacity - offset ? capacity - offset : 0
        if head + gap + size - positions.pointee.knownTail > capacity {
            positions.pointee.knownTail = positions.pointee.tail.load(ordering: .acquiring)
            guard head + gap + size - positions.pointee.knownTail <= capacity else {
                positions.pointee.lost.add(1, ordering: .relaxed)
                return nil
            }
        }
        if gap > 0 {
            LookupRecord.writeGap(to: memory + offset, size: gap)
            return (memory, head + gap)
        }
        return (memory + offset, head)
    }

    @inline(__always)
    private func publish(_ head: Int) {
        positions.pointee.head.store(head, ordering: .releasing)
        bell.ring(urgent: head - positions.pointee.knownTail > capacity / 2) {
            // `knownTail` may be old: refresh it before waking a log thread that has long caught up.
            positions.pointee.knownTail = positions.pointee.tail.load(ordering: .acquiring)
            return head - positions.pointee.knownTail > capacity / 2
        }
    }

    // MARK: The log thread's side

    var head: Int { positions.pointee.head.load(ordering: .acquiring) }
    var lost: UInt64 { positions.pointee.lost.load(ordering: .relaxed) }

    /// The record at `position`, which is before `head`.
    func record(at position: Int) -> LookupRecord { LookupRecord(base: memory + position & (capacity - 1)) }

    /// Frees all bytes before `position`.
    func release(_ position: Int) { positions.pointee.tail.store(position, ordering: .releasing) }
}
