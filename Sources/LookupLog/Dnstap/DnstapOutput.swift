internal import Glibc
internal import Platform
internal import Synchronization

/// Writes to one destination, on its own thread: takes frames from the queue and delivers them.
///
/// Nothing waits for it. Frames that can't be delivered stay in the queue up to its limit; more are lost and counted.
///
/// `@unchecked`: apart from `queue` and atomics, all state belongs to the thread once it runs.
final class DnstapOutput: @unchecked Sendable {
    let queue: FrameQueue
    let destination: DnstapDestination
    private let report: @Sendable (String) -> Void
    private let thread = Mutex<WorkerThread?>(nil)
    private let written = Atomic<UInt64>(0)
    private let isWorking = Atomic<Bool>(false)

    /// The file, if the destination is one.
    private var file: FrameFile?
    private var frames = FrameBuffer()
    private var condition = Condition()

    /// What has been reported already, so that it is reported once.
    private struct Condition {
        /// Delivery fails.
        var hasFailed = false
        /// Frames are being lost.
        var isLosing = false
        /// Frames lost since `isLosing` was set.
        var lost: UInt64 = 0
        /// When frames were last lost, in milliseconds of the monotonic clock.
        var lostAt: UInt64 = 0
    }

    /// How long to wait before writing to a file again, in milliseconds.
    private static let retry: Int32 = 500
    /// How long to wait before trying a collector again: doubles from the first to the longest, in milliseconds.
    private static let backOff: (first: Int32, longest: Int32) = (100, 2000)
    /// Losing counts as over after this time without loss, in milliseconds.
    private static let calm: UInt64 = 2000
    /// How long the shutdown may take, in milliseconds.
    private static let drainTimeout: UInt64 = 1000

    /// Opens the file. A collector is connected to later, and as often as needed.
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

    /// Waits to be woken, `milliseconds` at most (-1: for ever).
    private func rest(_ milliseconds: Int32) { queue.signal.wait(milliseconds: milliseconds) }

    /// Waits without taking frames; ends early if the queue is stopping.
    private func pause(_ milliseconds: Int32) {
        let end = Self.now + UInt64(milliseconds)
        while !queue.isStopping {
            let now = Self.now
            guard now < end else { return }
            rest(Int32(clamping: end - now))
            queue.clearSignal()
        }
    }

    /// Waits for `events` on a descriptor, for at most `milliseconds`; during shutdown, only until its end.
    private func waits(_ descriptor: Int32, _ events: Int32, _ milliseconds: Int32) -> Bool {
        var end = Self.now + UInt64(milliseconds)
        while true {
            let now = Self.now
            if queue.isStopping { end = min(end, now + Self.drainTimeout) }
            var wait = [
                pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0),
                pollfd(fd: queue.signal.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&wait, 2, now < end ? Int32(clamping: end - now) : 0)
            if wait[0].revents != 0 { return true }
            if now >= end { return false }
            queue.clearSignal()
        }
    }

    private static var now: UInt64 { SystemClock.monotonic() / 1000 }

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
            // After a failed write, don't wait for the signal: each new frame sets it.
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
            // A collector that hangs up at once is tried less often.
            if since < .max, Self.now >= since + UInt64(Self.backOff.longest) { pauses = Self.backOff.first }
            if isLast || (queue.isStopping && frames.isEmpty && queue.isEmpty) { return noteLeft() }
            pause(pauses)
            pauses = min(pauses * 2, Self.backOff.longest)
        }
    }

    /// Sends frames until the queue stops, then ends the stream properly.
    private func feed(_ connection: inout FrameConnection) throws(FrameConnection.Failure) {
        var end = UInt64.max
        while true {
            let orders = queue.take(&frames)
            note(lost: orders.lost)
            written.add(try connection.send(&frames), ordering: .relaxed)
            noteWorking()
            if orders.isStopping {
                if end == .max { end = Self.now + Self.drainTimeout }
                if (frames.isEmpty && queue.isEmpty) || Self.now >= end {
                    // The collector could not read an incomplete frame, nor a STOP after it.
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
            // While frames are left to send, only a stop order matters, and the signal is not waited for.
            let milliseconds: Int32 = orders.isStopping ? 20 : condition.isLosing ? Int32(Self.calm) : -1
            _ = poll(&wait, 2, milliseconds)
            if Int32(wait[1].revents) & ~Int32(POLLOUT) != 0 { try connection.checkAlive() }
        }
    }

    // MARK: Messages for the operator

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

    /// Something was written.
    private func noteWorking() {
        isWorking.store(true, ordering: .relaxed)
        let isCalm = condition.hasFailed || Self.now >= condition.lostAt + Self.calm
        guard condition.hasFailed || (condition.isLosing && isCalm && frames.isEmpty) else { return }
        say("works again" + (condition.lost > 0 ? "; \(Self.words(condition.lost)) lost" : ""))
        condition = Condition()
    }

    /// Shutdown: the remaining frames are lost.
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
