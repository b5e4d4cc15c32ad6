import DNSWire
import Glibc
import Lookup
import Platform
import Synchronization

/// Answers that rules hold back: each leaves when its time has come. They hold memory, bounded, but no thread.
///
/// One thread serves all of them; it starts with the first.
final class DelayedAnswers: Sendable {
    fileprivate struct Entry: Sendable {
        /// Microseconds, monotonic.
        var due: UInt64
        /// Equal times keep their order.
        var number: UInt64
        var client: SocketAddress
        var reply: ParkedQuery.Reply
        var message: [UInt8]
        var faults: Faults

        func precedes(_ other: Entry) -> Bool { (due, number) < (other.due, other.number) }
    }

    fileprivate struct State {
        /// A binary heap: none precedes its parent.
        var heap: [Entry] = []
        var number: UInt64 = 0
        var bytes = 0
        var lost: UInt64 = 0
        var isRunning = false
        var isStopping = false
    }

    private let state = Mutex(State())
    private let timer: WakeTimer

    /// Bytes; beyond them answers get lost, as in a network that is full.
    private static let most = 16 << 20
    /// Bytes of an answer besides its message.
    fileprivate static let overhead = 256
    /// How long a client over HTTPS waits for an answer that is dropped, in microseconds: it would not wait longer.
    private static let longestSilence: UInt64 = 60_000_000

    init() throws(SystemError) { timer = try WakeTimer() }

    /// What a stream's client gets now for an answer that rules have changed; nil: `reply` passes it on later.
    func streamReply(
        _ answer: UnsafeRawBufferPointer, _ faults: Faults, to request: Lookup.Request,
        _ reply: @autoclosure () -> ParkedQuery.Reply
    ) -> StreamReply? {
        if faults.actions.contains(.drop), !faults.actions.contains(.close) {
            // Over other streams, further queries may come.
            guard request.transport == .doh else { return .nothing }
            hold([], faults, to: request.client, reply(), for: Self.longestSilence)
            return nil
        }
        guard faults.delay > 0 else { return StreamReply(answer, faults) }
        hold(Array(answer), faults, to: request.client, reply(), for: UInt64(faults.delay))
        return nil
    }

    /// Whether a datagram that rules have changed leaves now; else it is held, or dropped.
    func sendsNow(
        _ answer: UnsafeRawBufferPointer, _ faults: Faults, to client: SocketAddress,
        _ reply: @autoclosure () -> ParkedQuery.Reply
    ) -> Bool {
        guard !faults.hidesAnswer(over: .udp), faults.delay > 0 else { return !faults.hidesAnswer(over: .udp) }
        hold(Array(answer), faults, to: client, reply(), for: UInt64(faults.delay))
        return false
    }

    private func hold(
        _ message: [UInt8], _ faults: Faults, to client: SocketAddress, _ reply: ParkedQuery.Reply, for delay: UInt64
    ) {
        let due = SystemClock.monotonic() + delay
        let (isHeld, isFirst) = state.withLock { state in
            if state.isStopping { return (false, false) }
            guard state.bytes + message.count + Self.overhead <= Self.most else {
                state.lost += 1
                return (false, state.lost == 1)
            }
            state.bytes += message.count + Self.overhead
            state.number += 1
            state.insert(
                Entry(
                    due: due, number: state.number, client: client, reply: reply, message: message, faults: faults))
            if state.heap[0].number == state.number { timer.set(due) }
            defer { state.isRunning = true }
            return (true, !state.isRunning)
        }
        if isHeld {
            if isFirst { _ = WorkerThread("delays") { [self] in run() } }
            return
        }
        reply.deliver(.nothing)
        if isFirst { Report.line("rules      \(Self.most >> 20) MB of delayed answers wait: further ones are dropped") }
    }

    /// The thread ends; what still waits is dropped.
    func stop() {
        let dropped = state.withLock { state in
            state.isStopping = true
            timer.set(1)
            defer { state.heap = [] }
            return state.heap
        }
        for entry in dropped { entry.reply.deliver(.nothing) }
    }

    private func run() {
        var outbox = DatagramOutbox(capacity: 64)
        while true {
            let (due, isStopping) = state.withLock { state -> ([Entry], Bool) in
                let now = SystemClock.monotonic()
                var due: [Entry] = []
                while due.count < 64, let first = state.heap.first, first.due <= now { due.append(state.removeFirst()) }
                if due.isEmpty { timer.set(state.heap.first?.due) }
                return (due, state.isStopping)
            }
            if isStopping { return }
            guard due.isEmpty else {
                for entry in due { Self.send(entry, &outbox) }
                outbox.flush()
                continue
            }
            var wait = pollfd(fd: timer.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&wait, 1, -1)
        }
    }

    private static func send(_ entry: Entry, _ outbox: inout DatagramOutbox) {
        entry.message.withUnsafeBytes { message in
            guard case .datagram(let socket, let source) = entry.reply else {
                return entry.reply.deliver(StreamReply(message, entry.faults))
            }
            guard !message.isEmpty, message.count <= outbox.room.count else { return }
            outbox.room.copyMemory(from: message)
            outbox.commit(message.count, on: socket, to: entry.client, from: source)
        }
    }
}

extension DelayedAnswers.State {
    fileprivate mutating func insert(_ entry: DelayedAnswers.Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    fileprivate mutating func removeFirst() -> DelayedAnswers.Entry {
        heap.swapAt(0, heap.count - 1)
        let first = heap.removeLast()
        bytes -= first.message.count + DelayedAnswers.overhead
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].precedes(heap[least]) { least = child }
            guard least != parent else { break }
            heap.swapAt(parent, least)
            parent = least
        }
        return first
    }
}

/// What a stream's client gets for one of its queries.
enum StreamReply {
    /// `rate`: in bytes a second; 0: at once.
    case message(UnsafeRawBufferPointer, rate: UInt32)
    case nothing
    /// Its connection is closed.
    case close

    /// As rules' faults say.
    init(_ message: UnsafeRawBufferPointer, _ faults: Faults) {
        if faults.actions.contains(.close) {
            self = .close
        } else if message.isEmpty || faults.actions.contains(.drop) {
            self = .nothing
        } else {
            self = .message(message, rate: faults.rate)
        }
    }
}

/// A reply on its way to another thread.
struct StreamReplyCopy: Sendable {
    private let message: [UInt8]
    private let rate: UInt32
    private let closes: Bool

    init(_ reply: StreamReply) {
        switch reply {
        case .message(let bytes, let rate): (message, self.rate, closes) = (Array(bytes), rate, false)
        case .nothing: (message, rate, closes) = ([], 0, false)
        case .close: (message, rate, closes) = ([], 0, true)
        }
    }

    func withReply(_ body: (StreamReply) -> Void) {
        message.withUnsafeBytes { bytes in
            body(closes ? .close : bytes.isEmpty ? .nothing : .message(bytes, rate: rate))
        }
    }
}

extension ParkedQuery.Reply {
    /// Passes it on to a stream.
    func deliver(_ reply: StreamReply) {
        if case .stream(let send) = self { send(reply) }
    }
}
