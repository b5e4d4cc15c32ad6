import Lookup
import Platform
import Synchronization

/// Records what upstream says into a file, which is always whole: it is replaced, at most once a second.
final class CassetteRecorder: Sendable {
    private struct Heard: Sendable {
        var key: FetchKey
        var message: [UInt8]
        var microseconds: UInt32
        var transport: UpstreamTransport
    }

    /// What the lane has heard and the saving thread has not taken yet.
    private struct Inbox: Sendable {
        var heard: [Heard] = []
        var bytes = 0
        var lost = 0
    }

    /// What the file has or is to have.
    private struct Content: Sendable {
        var tape: CassetteTape
        var isChanged = false
        /// When it may be written next.
        var due: UInt64 = 0
        var isFull = false
        var isFailing = false
        var recorded = 0
    }

    private let path: String
    private let changed: @Sendable () -> Void
    private let inbox = Mutex(Inbox())
    private let content: Mutex<Content>

    private static let pause: UInt64 = 1_000_000
    /// After a failure.
    private static let longPause: UInt64 = 5_000_000
    /// A big file takes longer to write: that is done a part of the time only, one in this many.
    private static let share: UInt64 = 20

    init(adding tape: CassetteTape, to path: String, changed: @escaping @Sendable () -> Void) {
        self.path = path
        self.changed = changed
        content = Mutex(Content(tape: tape))
    }

    /// On the lane's thread: costs a copy.
    func note(_ key: FetchKey, _ message: [UInt8], _ microseconds: UInt32, _ transport: UpstreamTransport) {
        let isFirst = inbox.withLock { inbox in
            guard inbox.bytes < CassetteTape.maximumSize else {
                inbox.lost += 1
                return false
            }
            inbox.bytes += message.count + 256
            inbox.heard.append(
                Heard(key: key, message: message, microseconds: microseconds, transport: transport))
            return inbox.heard.count == 1
        }
        if isFirst { changed() }
    }

    func withTape(_ body: (CassetteTape) -> Void) { content.withLock { body($0.tape) } }

    /// Returns when to save again; nil if there is nothing to write.
    func save(at now: UInt64) -> UInt64? {
        content.withLock { content in
            // What the lane hears meanwhile waits, so that it need not wake this thread again.
            guard now >= content.due else { return content.due }
            take(&content)
            guard content.isChanged else { return nil }
            let start = SystemClock.monotonic()
            write(&content)
            let spent = SystemClock.monotonic() - start
            content.due = now + max(content.isChanged ? Self.longPause : Self.pause, spent * Self.share)
            return content.isChanged ? content.due : nil
        }
    }

    /// Writes what is left; a recording without any reply is a file, too.
    func finish() -> [String] {
        content.withLock { content in
            take(&content)
            if content.isChanged || content.tape.isEmpty { write(&content) }
            if content.isChanged {
                return ["\(path): the last replies are not in the cassette, since it can't be written"]
            }
            let count = content.recorded == 1 ? "one reply" : "\(content.recorded) replies"
            return ["\(path): \(count) recorded"]
        }
    }

    private func take(_ content: inout Content) {
        let (heard, lost) = inbox.withLock { inbox in
            defer { inbox = Inbox() }
            return (inbox.heard, inbox.lost)
        }
        var isFull = lost > 0
        for one in heard {
            var message: [UInt8] = []
            if !one.message.isEmpty {
                guard let kept = one.message.withUnsafeBytes({ RecordedMessage.normalize($0, one.key) }) else {
                    continue
                }
                message = kept
            }
            let reply = CassetteReply(message: message, microseconds: one.microseconds, transport: one.transport)
            guard content.tape.append(reply, to: one.key) else {
                isFull = true
                continue
            }
            content.recorded += 1
            content.isChanged = true
        }
        if isFull, !content.isFull {
            content.isFull = true
            Report.problem(
                "\(path): the cassette is full: it holds \(CassetteTape.maximumSize >> 20) MiB; further replies are not "
                    + "recorded; record a shorter run, or several files")
        }
    }

    private func write(_ content: inout Content) {
        let bytes = CassetteText.write(&content.tape)
        do throws(SystemError) {
            try WholeFile.write(bytes, to: path)
            if content.isFailing { Report.problem("\(path): the cassette is written again") }
            content.isFailing = false
            content.isChanged = false
        } catch {
            if !content.isFailing {
                Report.problem(
                    "\(path): the cassette can't be written: \(error.reason); lookups go on, and it is tried again; make "
                        + "room, or let this user write to its folder")
            }
            content.isFailing = true
            content.isChanged = true
        }
    }
}
