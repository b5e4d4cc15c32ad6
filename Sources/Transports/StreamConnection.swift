import CLinux
import Glibc
import LookupLog
import Platform

/// Identifies one connection of a worker, and never a later one in its slot: late answers from upstream, and remaining
/// events, don't reach a different client.
struct StreamHandle: Hashable, Sendable, BitwiseCopyable {
    var slot: UInt32
    /// How often the slot was freed.
    var generation: UInt32
}

/// One accepted TCP connection: its socket, its session, and unsent bytes.
///
/// Reused for the next client once it is closed.
final class StreamConnection {
    let slot: UInt32
    private(set) var generation: UInt32 = 0
    private(set) var descriptor: Int32 = -1
    var session = StreamSession(client: .none, local: .none, transport: .tcp)
    /// The events epoll watches; nil if it is not registered.
    var watched: UInt32?
    /// Monotonic microseconds.
    var lastActivity: UInt64 = 0
    /// The neighbouring slots in order of last activity.
    var older = -1
    var newer = -1
    private var share: StreamShare?
    private var unsent: [UInt8] = []
    /// How many bytes of `unsent` have been sent since.
    private var sent = 0
    /// Bytes a second that a rule lets through; 0: all.
    private var rate: UInt32 = 0
    /// When the last of them were sent.
    private var lastTrickle: UInt64 = 0

    init(slot: UInt32) { self.slot = slot }

    var isOpen: Bool { descriptor >= 0 }
    var handle: StreamHandle { StreamHandle(slot: slot, generation: generation) }

    /// What is unsent waits for its time.
    var isSlow: Bool { rate > 0 }

    /// The client does not read its answers.
    var isBlocked: Bool { !unsent.isEmpty }

    /// The client's system has received everything. Closing before that may destroy sent data: if the socket has unread
    /// queries, the connection is reset.
    var hasArrived: Bool {
        var waiting: Int32 = 0
        return !isBlocked && (ioctl(descriptor, UInt(TIOCOUTQ), &waiting) < 0 || waiting == 0)
    }

    func open(_ descriptor: Int32, client: SocketAddress, _ share: StreamShare) {
        self.descriptor = descriptor
        self.share = share
        session = StreamSession(client: client, local: SocketAddress(localEndOf: descriptor) ?? .none, transport: .tcp)
    }

    /// Closes the socket, which also removes it from epoll.
    func close(_ responder: StreamResponder) {
        session.end(responder)
        Glibc.close(descriptor)
        descriptor = -1
        watched = nil
        unsent = []
        sent = 0
        rate = 0
        share = nil
        generation &+= 1
    }

    /// Whether the client may hold what it holds now in unfinished queries and unread answers.
    func holdsLittle(_ limits: StreamLimits) -> Bool {
        share?.hold(session.heldBytes + unsent.capacity, limits) ?? true
    }

    enum Arrival {
        case bytes(Int)
        case end
        case nothing
        case broken
    }

    /// Reads once.
    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Arrival {
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .nothing
            default: return .broken
            }
        }
    }

    /// Sends `bytes`, keeping what the system does not take; false if the connection is broken.
    func send(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes
        if !isBlocked, !isSlow {
            guard let taken = transmit(bytes) else { return false }
            rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
        }
        unsent.append(contentsOf: rest)
        return true
    }

    /// Sends the kept bytes, as far as the system takes them; returns their number, or nil if the connection is broken.
    func sendUnsent() -> Int? {
        let start = sent
        guard let taken = unsent.withUnsafeBytes({ transmit(UnsafeRawBufferPointer(rebasing: $0[start...])) }) else {
            return nil
        }
        sent += taken
        if sent == unsent.count {
            unsent = []
            sent = 0
        }
        return taken
    }

    func slow(to rate: UInt32) {
        if !isSlow { lastTrickle = SystemClock.monotonic() }
        self.rate = isSlow ? min(self.rate, rate) : rate
    }

    /// Sends as much as is due by `now`; returns how many bytes the client took, nil if the connection is broken.
    func trickle(_ now: UInt64) -> Int? {
        let due = Int(clamping: UInt64(rate) * (now - lastTrickle) / 1_000_000)
        guard due > 0 else { return 0 }
        lastTrickle = now
        let (start, end) = (sent, min(sent + due, unsent.count))
        guard let taken = unsent.withUnsafeBytes({ transmit(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }) else {
            return nil
        }
        sent += taken
        if sent == unsent.count {
            unsent = []
            sent = 0
            rate = 0
        }
        return taken
    }

    /// Returns how many bytes the system took; nil if the connection is broken.
    private func transmit(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var taken = 0
        while taken < bytes.count, let base = bytes.baseAddress {
            let count = Glibc.send(descriptor, base + taken, bytes.count - taken, Int32(MSG_NOSIGNAL))
            if count >= 0 {
                taken += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: return taken
            default: return nil
            }
        }
        return taken
    }
}
