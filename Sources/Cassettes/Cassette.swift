import DNSWire
package import Lookup
import Platform
import Synchronization
package import Upstream

/// A cassette in use: plays what a file has, or records what upstream says into one, or both.
///
/// The lane plays, and hands over what it hears. All else, to the writing of the file, is done by the thread that calls
/// `save`.
package final class Cassette: UpstreamCassette {
    /// What becomes of questions that the file has no reply to.
    package enum Unknown: String, Sendable, CaseIterable {
        /// SERVFAIL.
        case fail
        /// Upstream is asked.
        case forward
        /// Upstream is asked, and what it says is added to the file.
        case record
    }

    /// How long replies take.
    package enum Timing: String, Sendable, CaseIterable {
        /// Nothing.
        case none
        /// As long as upstream took.
        case real
    }

    private let path: String
    /// The file, and what is done with it.
    package let description: String
    private let plays: Bool
    private let unknown: Unknown
    private let timing: Timing
    private let player: Mutex<CassettePlayer>
    private let recorder: CassetteRecorder?

    /// Plays a file.
    ///
    /// - Parameter changed: called when there is something to `save`, on the lane's thread.
    package init(
        playing tape: CassetteTape, of path: String, unknown: Unknown, timing: Timing,
        changed: @escaping @Sendable () -> Void = {}
    ) {
        self.path = path
        let count = tape.replies.count
        let others =
            switch unknown {
            case .fail: "others fail"
            case .forward: "others are forwarded"
            case .record: "others are added"
            }
        description = "\(path) is replayed: \(count) \(count == 1 ? "question" : "questions"); \(others)"
        self.unknown = unknown
        self.timing = timing
        plays = true
        player = Mutex(CassettePlayer(tape, of: path))
        recorder = unknown == .record ? CassetteRecorder(adding: tape, to: path, changed: changed) : nil
    }

    /// Records a new file, in the place of one that may be there.
    package init(recording path: String, changed: @escaping @Sendable () -> Void = {}) {
        self.path = path
        description = "\(path) is recorded"
        unknown = .forward
        timing = .none
        plays = false
        player = Mutex(CassettePlayer(CassetteTape(), of: path))
        recorder = CassetteRecorder(adding: CassetteTape(), to: path, changed: changed)
    }

    package func play(_ key: FetchKey) -> CassettePlay {
        guard plays else { return .ask }
        let key = key.ofNoView
        return player.withLock { player in
            if var reply = player.next(key) {
                if timing == .real { reply.delay = UInt64(reply.microseconds) }
                return .reply(reply)
            }
            guard unknown == .fail else { return .ask }
            return .reply(player.unknown(key))
        }
    }

    /// The reply that a lookup would get now; it stays the next one.
    package func peek(_ key: FetchKey) -> RecordedReply? { player.withLock { $0.peek(key.ofNoView) } }

    package func record(_ key: FetchKey, _ message: UnsafeRawBufferPointer, from reply: UpstreamReply) {
        recorder?.note(key.ofNoView, Array(message), reply.microseconds, reply.transport)
    }

    package func recordSilence(_ key: FetchKey, after microseconds: UInt64) {
        recorder?.note(key.ofNoView, [], UInt32(clamping: microseconds), .udp)
    }

    /// Writes the file if it is due at `now`; returns when to call this again, nil if not before the next `changed`.
    /// Times are monotonic, in microseconds.
    package func save(at now: UInt64) -> UInt64? {
        guard let recorder else { return nil }
        let next = recorder.save(at: now)
        if plays { recorder.withTape { tape in player.withLock { $0.move(to: tape) } } }
        return next
    }

    /// Writes what is not written yet, and returns lines about what a user should know at the end.
    package func finish() -> [String] {
        (recorder?.finish() ?? []) + player.withLock { $0.unknownQuestions.lines(path) }
    }
}

extension FetchKey {
    /// Cassettes know no views: the same question is recorded once, whoever's servers are asked.
    fileprivate var ofNoView: FetchKey {
        partition == 0 ? self : with(dnssecOK: dnssecOK, checkingDisabled: checkingDisabled)
    }
}
