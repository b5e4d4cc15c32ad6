public import DNSWire
public import Lookup
public import Platform
internal import Synchronization
public import Upstream

/// The way of one serving thread's lookups to the log thread: bounded bytes, one producer, one consumer.
///
/// Appending copies and goes on: no allocation, no lock, no wait. When the log thread is behind by the whole ring, the
/// lookup is counted as lost instead.
public final class LookupRing: Sendable {
    /// Bytes of memory, a power of two. Positions count bytes since the start and never wrap; the low bits are the
    /// place in memory. A record is in one piece: where the end is too near, a gap fills it.
    let capacity: Int
    // Written by the producer between tail and head, read by the consumer from there: see `Positions`.
    private nonisolated(unsafe) let memory: UnsafeMutableRawPointer
    private nonisolated(unsafe) let positions: UnsafeMutablePointer<Positions>
    private let bell: Bell
    /// Where who asks is named; nil: nobody is to be.
    private let clients: ClientQueue?
    /// Carries messages to and from upstream, and no lookups.
    let isForExchanges: Bool

    /// Who writes what: `head`, `knownTail` and `lost` the producer; `tail` the consumer. On cache lines of their own.
    private struct Positions: ~Copyable {
        /// One past the last record; its release makes the record's bytes visible.
        let head = Atomic<Int>(0)
        /// What the producer last saw of `tail`: it looks again only when the ring seems full.
        var knownTail = 0
        let lost = Atomic<UInt64>(0)
        let spacer = InlineArray<16, UInt64>(repeating: 0)
        /// The first byte that is still to be read; its release gives the bytes before it back.
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

    /// Notes a lookup that was answered.
    ///
    /// - Parameters:
    ///   - time: microseconds since 1970 when the query came in.
    ///   - response: header, question and records as they were found: before a truncation, and before OPT. The header's
    ///     flags and counts say so.
    ///   - answers: how many records of `response` make the answer section.
    ///   - truncated: the client gets TC=1.
    public func append(
        time: UInt64, client: SocketAddress, transport: Transport, query: Query, decision: Decision,
        response: UnsafeRawBufferPointer, answers: Int, truncated: Bool = false, durationMicroseconds: UInt32
    ) {
        clients?.note(client, transport, time: time)
        let message = UnsafeRawBufferPointer(rebasing: response.prefix(LookupRecord.maximumMessageLength))
        let size = LookupRecord.size(decision, messageLength: message.count)
        guard let free = reserve(size) else { return }
        LookupRecord.write(
            to: free.memory, size: size, time: time, client: client, transport: transport, query: query,
            decision: decision, message: message, answers: answers, truncated: truncated,
            durationMicroseconds: durationMicroseconds)
        publish(free.head + size)
    }

    /// Notes a message that gets no answer.
    public func appendDropped(time: UInt64, client: SocketAddress, transport: Transport) {
        guard let free = reserve(LookupRecord.droppedSize) else { return }
        LookupRecord.writeDropped(to: free.memory, time: time, client: client, transport: transport)
        publish(free.head + LookupRecord.droppedSize)
    }

    /// Notes a message to or from upstream; only in a ring of `LookupLog.makeExchangeRing`.
    ///
    /// `clock` is what makes the message's times microseconds since 1970.
    public func append(_ message: UpstreamMessage, clock: UInt64) {
        let size = ForwardedExchange.size(
            messageLength: min(message.bytes.count, ForwardedExchange.maximumMessageLength))
        guard isForExchanges, let free = reserve(size) else { return }
        ForwardedExchange.write(to: free.memory, size: size, message, clock: clock)
        publish(free.head + size)
    }

    /// Finds `size` bytes in one piece; nil when there is no room, which is counted.
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
            // What is known of the tail may be old: look before waking someone who has long caught up.
            positions.pointee.knownTail = positions.pointee.tail.load(ordering: .acquiring)
            return head - positions.pointee.knownTail > capacity / 2
        }
    }

    // MARK: The log thread's side

    var head: Int { positions.pointee.head.load(ordering: .acquiring) }
    var lost: UInt64 { positions.pointee.lost.load(ordering: .relaxed) }

    /// The record at `position`, which is before `head`.
    func record(at position: Int) -> LookupRecord { LookupRecord(base: memory + position & (capacity - 1)) }

    /// Gives all bytes before `position` back.
    func release(_ position: Int) { positions.pointee.tail.store(position, ordering: .releasing) }
}
