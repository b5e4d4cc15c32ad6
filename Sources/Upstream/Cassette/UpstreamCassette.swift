public import Lookup
public import Platform

/// What upstream said earlier, given in its place; and what it says now, kept for later. Used on the lane's thread.
///
/// It stands before the decisions of `ForwardCore`, not below them: a recorded reply is what came out of retries, other
/// servers and TCP, and must not go through these once more.
public protocol UpstreamCassette: Sendable {
    /// How `key` is answered. Each call counts as one lookup.
    func play(_ key: FetchKey) -> CassettePlay

    /// Keeps a server's answer to `key`; the bytes are valid during the call.
    func record(_ key: FetchKey, _ message: UnsafeRawBufferPointer, from reply: UpstreamReply)

    /// Keeps that no server gave a usable answer within `microseconds`.
    func recordSilence(_ key: FetchKey, after microseconds: UInt64)
}

/// How a cassette answers a question.
public enum CassettePlay: Sendable {
    /// Upstream is asked.
    case ask
    case reply(RecordedReply)
}

/// A reply from a cassette.
public struct RecordedReply: Sendable {
    /// As from the network, and as little trusted.
    public var message: [UInt8]
    public var place: Place
    /// How long upstream took, in microseconds.
    public var microseconds: UInt32
    /// How long the client waits, in microseconds.
    public var delay: UInt64
    /// A later lookup of the question gets another one.
    public var hasSuccessor: Bool

    public init(message: [UInt8], place: Place, microseconds: UInt32, delay: UInt64, hasSuccessor: Bool) {
        self.message = message
        self.place = place
        self.microseconds = microseconds
        self.delay = delay
        self.hasSuccessor = hasSuccessor
    }
}

extension UpstreamReply {
    init(_ recorded: RecordedReply) {
        self.init(
            server: -1, address: nil, transport: .replay, microseconds: recorded.microseconds, setup: .none,
            isReduced: false, place: recorded.place, hasSuccessor: recorded.hasSuccessor)
    }
}

/// Recorded replies whose time has not come, with those who wait for them.
struct ReplayQueue<Request> {
    /// Latest first.
    private var waiting: [(due: UInt64, request: Request, reply: RecordedReply)] = []

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.count }
    /// `UInt64.max` if there is none.
    var nextDue: UInt64 { waiting.last?.due ?? .max }

    mutating func insert(_ request: Request, _ reply: RecordedReply, due: UInt64) {
        // Equal times keep their order.
        var low = 0
        var high = waiting.count
        while low < high {
            let middle = (low + high) / 2
            if waiting[middle].due > due { low = middle + 1 } else { high = middle }
        }
        waiting.insert((due, request, reply), at: low)
    }

    mutating func takeDue(_ now: UInt64) -> (Request, RecordedReply)? {
        guard let last = waiting.last, last.due <= now else { return nil }
        waiting.removeLast()
        return (last.request, last.reply)
    }
}
