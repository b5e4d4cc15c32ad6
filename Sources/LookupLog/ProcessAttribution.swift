internal import CLinux
internal import Glibc
import Platform
internal import Synchronization

/// Finds the process behind a local client, from the owner of its socket; best effort.
///
/// A browser closes its socket as soon as it has the answer, so this is a race: a separate thread starts while the
/// answer is being made. Serving threads only pass on the client (`ClientQueue`); the log thread uses the result. A
/// process that has ended, is in another network namespace, or belongs to another user (without root) stays unknown.
/// Searching has a limited share of each second; beyond that it stops.
final class ProcessAttribution: @unchecked Sendable {
    // Unchecked: the following is used on this thread only, unless it is locked or atomic.
    private var windowStart: UInt64 = 0
    private var spent: UInt64 = 0

    private let bell: Bell
    private let queues = Mutex<[ClientQueue]>([])
    private let queuesMade = Atomic<Int>(0)
    private let known = Mutex<[Client: Found]>([:])
    private let stopping = Atomic<Bool>(false)
    /// No search takes place: the thread has not started, or its share of this second is used up.
    private let resting = Atomic<Bool>(true)

    struct Client: Hashable, BitwiseCopyable {
        var address: SocketAddress
        var isStream: Bool
    }

    private struct Found {
        /// The number in `ClientProcess`; 0: not found.
        var number: UInt32
        /// Microseconds of the monotonic clock.
        var until: UInt64
    }

    /// How long a socket is assumed to belong to the same process, in microseconds.
    private static let memory: UInt64 = 2_000_000
    /// CPU time per window that searching may take, in microseconds.
    private static let share: UInt64 = 30_000
    /// The window, in microseconds.
    private static let window: UInt64 = 1_000_000
    private static let mostKnown = 4096
    /// How long a line waits for its client's process, in microseconds.
    private static let patience: UInt64 = 3000

    /// Nil if the kernel offers no socket diagnostics.
    init?() throws(SystemError) {
        bell = try Bell()
        guard SocketHolder.shared.isAvailable else { return nil }
    }

    /// Makes the queue by which one serving thread passes its clients.
    func makeQueue() -> ClientQueue {
        let queue = ClientQueue(bell: bell)
        queues.withLock { $0.append(queue) }
        queuesMade.add(1, ordering: .releasing)
        return queue
    }

    // MARK: The log thread's side

    /// Sets the client's process in the record.
    func attribute(_ record: LookupRecord) {
        let address = record.client
        guard address.isLoopback else { return }
        let client = Client(address: address, isStream: record.transport != .udp)
        let found = known.withLock { $0[client] }
        // Ports are reused, so an old entry may name the former owner.
        guard let found, found.number != 0, SystemClock.monotonic() < found.until + ClientQueue.again else { return }
        record.setProcess(found.number)
    }

    /// Waits, very briefly, until all clients passed on so far have been looked up.
    func settle() {
        let queues = queues.withLock { $0 }
        let end = SystemClock.monotonic() + Self.patience
        while !resting.load(ordering: .relaxed), queues.contains(where: { !$0.isEmpty }), SystemClock.monotonic() < end
        {
            usleep(100)
        }
    }

    func stop() {
        stopping.store(true, ordering: .releasing)
        bell.poke()
    }

    // MARK: The thread

    func run() {
        var queues: [ClientQueue] = []
        resting.store(false, ordering: .relaxed)
        defer { resting.store(true, ordering: .relaxed) }
        while !stopping.load(ordering: .acquiring) {
            if queues.count != queuesMade.load(ordering: .acquiring) { queues = self.queues.withLock { $0 } }
            var some = false
            for queue in queues {
                while let client = queue.first {
                    look(client)
                    queue.removeFirst()
                    some = true
                }
            }
            if spent >= Self.share { rest(queues) }
            guard !some else { continue }
            bell.prepareToSleep()
            if queues.allSatisfy(\.isEmpty), queues.count == queuesMade.load(ordering: .acquiring) {
                bell.wait(milliseconds: -1)
            }
            bell.riseAfterWait()
        }
    }

    /// Sleeps until the next window. Meanwhile no serving thread wakes this one and no thread waits for it; clients
    /// that ask during this time would be gone afterwards.
    private func rest(_ queues: [ClientQueue]) {
        resting.store(true, ordering: .relaxed)
        bell.prepareToNap()
        let end = windowStart + Self.window
        bell.wait(milliseconds: Int32(clamping: (end - min(end, SystemClock.monotonic())) / 1000 + 1))
        bell.riseAfterWait()
        for queue in queues { queue.removeAll() }
        spent = 0
        windowStart = SystemClock.monotonic()
        resting.store(false, ordering: .relaxed)
    }

    private func look(_ client: Client) {
        let now = SystemClock.monotonic()
        if known.withLock({ $0[client].map { now < $0.until } ?? false }) { return }
        if now &- windowStart > Self.window {
            windowStart = now
            spent = 0
        }
        guard spent < Self.share else { return }
        let start = SystemClock.threadTime()
        let number = find(client)
        spent += SystemClock.threadTime() - start
        known.withLock { known in
            if known.count >= Self.mostKnown { known.removeAll(keepingCapacity: true) }
            known[client] = Found(number: number, until: now + Self.memory)
        }
    }

    private func find(_ client: Client) -> UInt32 {
        guard let found = SocketHolder.shared.find(client.address, isStream: client.isStream) else { return 0 }
        return ClientProcess.number(of: ClientProcess(pid: found.process, command: found.command))
    }
}

/// Passes clients from one serving thread to `ProcessAttribution`: one producer, one consumer.
///
/// Costs one look into a small table per lookup. A client already passed on within the last second is skipped; if the
/// queue is full, so is everyone.
final class ClientQueue: Sendable {
    private static let capacity = 256
    private static let remembered = 64
    /// Microseconds until a client is passed on again.
    static let again: UInt64 = 1_000_000

    // The consumer owns the slots between tail and head, the producer the other slots and `named`.
    private nonisolated(unsafe) let slots: UnsafeMutablePointer<ProcessAttribution.Client>
    private nonisolated(unsafe) let named: UnsafeMutablePointer<Named>
    private let head = Atomic<Int>(0)
    private let tail = Atomic<Int>(0)
    private let bell: Bell

    /// A client that was passed on, in words that compare quickly.
    private struct Named: BitwiseCopyable {
        var high: UInt64 = 0
        var low: UInt64 = 0
        /// Port and address family.
        var rest: UInt64 = 0
        /// Microseconds since 1970, as in records.
        var time: UInt64 = 0
    }

    init(bell: Bell) {
        self.bell = bell
        let nobody = ProcessAttribution.Client(
            address: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), isStream: false)
        slots = .allocate(capacity: Self.capacity)
        slots.initialize(repeating: nobody, count: Self.capacity)
        named = .allocate(capacity: Self.remembered)
        named.initialize(repeating: Named(), count: Self.remembered)
    }

    deinit {
        slots.deallocate()
        named.deallocate()
    }

    /// Passes on a local client; on the serving thread.
    @inline(__always)
    func note(_ address: SocketAddress, _ transport: Transport, time: UInt64) {
        let slot = named + (Int(address.port) & (Self.remembered - 1))
        let isStream = transport != .udp
        let rest = UInt64(address.port) << 2 | (address.isIPv6 ? 2 : 0) | (isStream ? 1 : 0)
        if slot.pointee.rest == rest, slot.pointee.low == address.low, slot.pointee.high == address.high,
            time &- slot.pointee.time < Self.again
        {
            return
        }
        guard address.isLoopback else { return }
        append(
            ProcessAttribution.Client(address: address, isStream: isStream),
            Named(high: address.high, low: address.low, rest: rest, time: time), to: slot)
    }

    private func append(
        _ client: ProcessAttribution.Client, _ name: Named, to slot: UnsafeMutablePointer<Named>
    ) {
        let end = head.load(ordering: .relaxed)
        guard end - tail.load(ordering: .acquiring) < Self.capacity else { return }
        slot.pointee = name
        slots[end % Self.capacity] = client
        head.store(end + 1, ordering: .releasing)
        bell.ring(urgent: false) { false }
    }

    // MARK: The consumer's side

    var isEmpty: Bool { head.load(ordering: .acquiring) == tail.load(ordering: .acquiring) }

    var first: ProcessAttribution.Client? {
        let start = tail.load(ordering: .relaxed)
        return start == head.load(ordering: .acquiring) ? nil : slots[start % Self.capacity]
    }

    func removeAll() { tail.store(head.load(ordering: .acquiring), ordering: .releasing) }

    /// Call it when `first` has been handled.
    func removeFirst() { tail.store(tail.load(ordering: .relaxed) + 1, ordering: .releasing) }
}
