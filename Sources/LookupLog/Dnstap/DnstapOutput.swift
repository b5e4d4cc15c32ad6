internal import Glibc
internal import Platform
internal import Synchronization

/// One destination at work, on a thread of its own: takes frames from the queue and brings them to where they belong.
///
/// Nobody waits for it. What can't be brought there is kept within the queue's bound, and lost and counted beyond it.
///
/// Unchecked: what is not in `queue` or atomic belongs to the thread alone once it runs.
final class DnstapOutput: @unchecked Sendable {
    let queue: FrameQueue
    let destination: DnstapDestination
    private let report: @Sendable (String) -> Void
    private let thread = Mutex<WorkerThread?>(nil)
    private let written = Atomic<UInt64>(0)
    private let isWorking = Atomic<Bool>(false)

    /// The file, where it is one.
    private var file: FrameFile?
    private var frames = FrameBuffer()
    private var condition = Condition()

    /// What was reported, so that it is said once.
    private struct Condition {
        /// Nothing can be brought there.
        var hasFailed = false
        /// Frames are being lost.
        var isLosing = false
        /// Lost since it began.
        var lost: UInt64 = 0
        /// When the last were, in milliseconds of the monotonic clock.
        var lostAt: UInt64 = 0
    }

    /// How long until a file is written again, in milliseconds.
    private static let retry: Int32 = 500
    /// How long until a collector is tried again: doubled each time, up to the second; in milliseconds.
    private static let backOff: (first: Int32, longest: Int32) = (100, 2000)
    /// It keeps up again when nothing was lost for this long, in milliseconds.
    private static let calm: UInt64 = 2000
    /// How long the end may take, in milliseconds.
    private static let lastWords: UInt64 = 1000

    /// Opens the file; a collector is looked for later, as often as it takes.
    init(
        _ destination: DnstapDestination, _ limits: FrameFile.Limits, report: @escaping @Sendable (String) -> Void
    ) throws(LookupSink.Failure) {
        self.destination = destination
        self.report = report
        do { queue = try FrameQueue() } catch { throw LookupSink.Failure(description: error.description) }
        guard case .file(let path) = destination else { return }
        do { file = try FrameFile(path, limits) } catch { throw LookupSink.Failure(description: error.description) }
        isWorking.store(true, ordering: .relaxed)
    }

    var statistics: DnstapWriter.Statistics {
        DnstapWriter.Statistics(
            destination: destination, frames: written.load(ordering: .relaxed), lost: queue.lost,
            isWorking: isWorking.load(ordering: .relaxed))
    }

    // MARK: The thread

    func start() {
        thread.withLock { thread in
            thread = WorkerThread("dnstap", .batch) { [self] in
                if file != nil { writeFile() } else { feedCollector() }
            }
        }
    }

    /// Waits for the thread to have written what there was; `queue.stop` comes first.
    func join() {
        thread.withLock { $0.take() }?.join()
    }

    /// Waits to be woken, milliseconds at most (-1: for ever).
    private func rest(_ milliseconds: Int32) { queue.signal.wait(milliseconds: milliseconds) }

    /// Waits, and takes no new frames meanwhile; ends early when it is to stop.
    private func pause(_ milliseconds: Int32) {
        let end = Self.now + UInt64(milliseconds)
        while !queue.isStopping {
            let now = Self.now
            guard now < end else { return }
            rest(Int32(clamping: end - now))
            queue.hush()
        }
    }

    /// Waits for `events` on a descriptor, for so many milliseconds; while the daemon ends, only for the last second.
    private func waits(_ descriptor: Int32, _ events: Int32, _ milliseconds: Int32) -> Bool {
        var end = Self.now + UInt64(milliseconds)
        while true {
            let now = Self.now
            if queue.isStopping { end = min(end, now + Self.lastWords) }
            var wait = [
                pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0),
                pollfd(fd: queue.signal.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&wait, 2, now < end ? Int32(clamping: end - now) : 0)
            if wait[0].revents != 0 { return true }
            if now >= end { return false }
            queue.hush()
        }
    }

    private static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
    }

    // MARK: Files

    private func writeFile() {
        while true {
            let orders = queue.take(&frames)
            note(lost: orders.lost)
            do throws(FrameFile.Failure) {
                if orders.isReopening { try file?.reopen(&frames) }
                written.add(try file?.write(&frames) ?? 0, ordering: .relaxed)
                noteWorking()
            } catch {
                noteFailing(error.description)
            }
            if orders.isStopping, condition.hasFailed || (frames.isEmpty && queue.isEmpty) {
                file?.finish(&frames)
                return noteLeft()
            }
            if frames.isEmpty, !queue.isEmpty { continue }
            // Not the signal, when writing fails: it comes for each frame.
            if condition.hasFailed { pause(Self.retry) } else { rest(condition.isLosing ? Int32(Self.calm) : -1) }
        }
    }

    // MARK: Collectors

    private func feedCollector() {
        var pauses = Self.backOff.first
        while true {
            let isLast = queue.isStopping
            var since = UInt64.max
            do throws(FrameConnection.Failure) {
                var connection = try FrameConnection.open(destination, waits: waits)
                frames.rewind()
                noteWorking()
                since = Self.now
                try feed(&connection)
                return noteLeft()
            } catch {
                noteFailing(error.description)
            }
            note(lost: queue.take(&frames).lost)
            // Who hangs up at once is not called at once.
            if since < .max, Self.now >= since + UInt64(Self.backOff.longest) { pauses = Self.backOff.first }
            if isLast || (queue.isStopping && frames.isEmpty && queue.isEmpty) { return noteLeft() }
            pause(pauses)
            pauses = min(pauses * 2, Self.backOff.longest)
        }
    }

    /// Sends frames until it is to stop; then ends the stream in order.
    private func feed(_ connection: inout FrameConnection) throws(FrameConnection.Failure) {
        var end = UInt64.max
        while true {
            let orders = queue.take(&frames)
            note(lost: orders.lost)
            written.add(try connection.send(&frames), ordering: .relaxed)
            noteWorking()
            if orders.isStopping {
                if end == .max { end = Self.now + Self.lastWords }
                if (frames.isEmpty && queue.isEmpty) || Self.now >= end {
                    // Half a frame would be none, and no STOP would be seen behind it.
                    guard frames.begun == 0 else { throw FrameConnection.Failure("takes nothing") }
                    return try connection.finish(waits)
                }
            }
            if frames.isEmpty, !queue.isEmpty { continue }
            let events = frames.isEmpty ? FrameConnection.idle : FrameConnection.full
            var wait = [
                pollfd(fd: queue.signal.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: connection.descriptor, events: Int16(truncatingIfNeeded: events), revents: 0),
            ]
            // With frames in hand the signal has nothing to say that can be done now, but to stop.
            let milliseconds: Int32 = orders.isStopping ? 20 : condition.isLosing ? Int32(Self.calm) : -1
            _ = poll(&wait, 2, milliseconds)
            if Int32(wait[1].revents) & ~Int32(POLLOUT) != 0 { try connection.checkAlive() }
        }
    }

    // MARK: What the operator is told

    private func say(_ text: String) { report("dnstap \(destination): \(text)") }

    private func noteFailing(_ why: String) {
        isWorking.store(false, ordering: .relaxed)
        guard !condition.hasFailed else { return }
        condition.hasFailed = true
        say("\(why); frames wait until it works again, \(2 * FrameQueue.maximumSize >> 20) MiB of them at most")
    }

    private func note(lost count: UInt64) {
        guard count > 0 else { return }
        condition.lost += count
        condition.lostAt = Self.now
        guard !condition.isLosing else { return }
        condition.isLosing = true
        say("\(condition.hasFailed ? "does not work yet" : "does not keep up"); frames are lost until it does")
    }

    /// Something could be written.
    private func noteWorking() {
        isWorking.store(true, ordering: .relaxed)
        let isCalm = condition.hasFailed || Self.now >= condition.lostAt + Self.calm
        guard condition.hasFailed || (condition.isLosing && isCalm && frames.isEmpty) else { return }
        say("works again" + (condition.lost > 0 ? "; \(Self.words(condition.lost)) lost" : ""))
        condition = Condition()
    }

    /// The end: what is left gets nowhere.
    private func noteLeft() {
        let orders = queue.take(&frames)
        var left = frames.count
        frames = FrameBuffer()
        _ = queue.take(&frames)
        left += frames.count
        queue.note(lost: left)
        let lost = condition.lost + orders.lost + left
        if lost > 0 { say("\(Self.words(lost)) lost") }
        isWorking.store(false, ordering: .relaxed)
    }

    private static func words(_ count: UInt64) -> String { count == 1 ? "1 frame was" : "\(count) frames were" }
}
