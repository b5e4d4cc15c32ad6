import DNSWire
import Lookup
import LookupLog
import Platform

/// Answers stream messages; shared by all streams of one thread.
///
/// Not `Sendable`: handler, snapshot and output belong to that thread.
final class StreamResponder {
    /// No new queries are taken: their answers might come too late.
    var isEnding = false
    /// Collects the answers to one stream until they are sent.
    var output = StreamOutput()
    let ring: LookupRing?
    private let store: ServedDataStore
    private let forwarding: Forwarding
    private var snapshot: ServedDataStore.Snapshot
    private let handler: QueryHandler
    private var lookup = Lookup()

    init(store: ServedDataStore, forwarding: Forwarding, ring: LookupRing?) {
        self.store = store
        self.forwarding = forwarding
        self.ring = ring
        snapshot = store.current()
        handler = QueryHandler(ring: ring)
    }

    var limits: StreamLimits { snapshot.data.service.streams }

    /// Switches to the newest data.
    func refresh() {
        guard store.generation != snapshot.generation else { return }
        snapshot = store.current()
    }

    enum Answer {
        /// The answer is in `output`.
        case written
        /// The answer comes later, through the reply made by `replyLater`.
        case parked
        case transfer(ZoneTransfer)
        case nothing
        /// A rule closes the connection.
        case close
    }

    /// Answers one message that came to `local`; `output` must have room.
    func answer(
        _ message: UnsafeRawBufferPointer, _ request: Lookup.Request, at local: SocketAddress,
        replyLater: () -> ParkedQuery.Reply
    ) -> Answer {
        let served = snapshot.data.data(for: request.client, at: local)
        var request = request
        request.view = served.view
        switch handler.handle(message, request, &lookup, served, into: output.room) {
        case .reply(let length):
            output.commit(length)
            forwarding.renew(lookup.renewals, now: request.now)
            return .written
        case .impaired(let length, let faults):
            forwarding.renew(lookup.renewals, now: request.now)
            let answer = UnsafeRawBufferPointer(rebasing: output.room[..<length])
            switch forwarding.delayed.streamReply(answer, faults, to: request, replyLater()) {
            case .none: return .parked
            case .nothing: return .nothing
            case .close: return .close
            case .message(_, let rate):
                output.commit(length)
                output.slow(to: rate)
                return .written
            }
        case .needs(let key):
            forwarding.park(message, request, reply: replyLater(), key: key, draws: lookup.upstream.draws)
            return .parked
        case .transfer(let apex):
            guard let transfer = ZoneTransfer(of: apex, in: served, message, request) else { return .nothing }
            return .transfer(transfer)
        case .nothing: return .nothing
        }
    }
}

/// Messages with length prefixes, in one reused buffer.
///
/// - RFC: 1035 4.2.2; 7766 8: length and message are sent together.
struct StreamOutput: ~Copyable {
    /// The longest message, in bytes.
    static let messageCapacity = 65_535
    private static let capacity = 2 * (2 + messageCapacity)

    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
    private var count = 0
    /// How fast it is to be sent, in bytes a second; 0: at once.
    private(set) var rate: UInt32 = 0

    deinit { memory.deallocate() }

    var isEmpty: Bool { count == 0 }

    /// Whether the longest message fits.
    var hasRoom: Bool { memory.count - count >= 2 + Self.messageCapacity }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

    /// The buffer for the next message; valid while `hasRoom`.
    var room: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[(count + 2)..<(count + 2 + Self.messageCapacity)])
    }

    /// Adds the message of `length` bytes in `room`.
    mutating func commit(_ length: Int) {
        memory.baseAddress.unsafelyUnwrapped.write(UInt16(truncatingIfNeeded: length), at: count)
        count += 2 + length
    }

    /// Adds a message written elsewhere; only while `hasRoom`.
    mutating func append(_ message: UnsafeRawBufferPointer) {
        guard message.count <= Self.messageCapacity else { return }
        room.copyMemory(from: message)
        commit(message.count)
    }

    /// A rule slows down what has just been added; the messages before it wait for it.
    mutating func slow(to rate: UInt32) {
        if rate > 0 { self.rate = self.rate == 0 ? rate : min(self.rate, rate) }
    }

    mutating func removeAll() {
        count = 0
        rate = 0
    }
}
