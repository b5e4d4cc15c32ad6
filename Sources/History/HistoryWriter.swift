package import LookupLog
import Platform
internal import Synchronization

/// Stores every lookup in the history.
///
/// On the log thread it only copies, and above the rate limit it only counts. Its own thread writes the collected
/// lookups in one transaction, at most every quarter of a second. Lookups that can't be stored are counted by reason;
/// the count becomes a row.
///
/// `@unchecked`: `intake` belongs to the log thread.
package final class HistoryWriter: LookupObserver, @unchecked Sendable {
    private let mailbox: HistoryMailbox
    /// Behind a pointer, so that skipping a lookup costs no more than counting it.
    private let intake: UnsafeMutablePointer<Intake>
    /// Nil once the thread has been joined, or given up on.
    private let thread: Mutex<WorkerThread?>
    private let missesEnd = Atomic<Bool>(false)

    /// - Parameter report: told once when writing fails and once when it works again; a sentence for the operator.
    /// - Throws: if the system has no descriptor left.
    package init(
        store: HistoryStore, limits: HistoryLimits = HistoryLimits(),
        report: @escaping @Sendable (String) -> Void = Report.problem
    ) throws(HistoryStore.Problem) {
        do { mailbox = try HistoryMailbox() } catch {
            throw HistoryStore.noRoom(store.path, error)
        }
        intake = .allocate(capacity: 1)
        intake.initialize(to: Intake(rate: limits.maximumRate))
        let work = HistoryWork(store: store, limits: limits, mailbox: mailbox, report: report)
        thread = Mutex(WorkerThread("history", .batch) { work.run() })
    }

    deinit {
        mailbox.stop()
        intake.deinitialize(count: 1)
        intake.deallocate()
    }

    // MARK: On the log thread

    /// What the log thread has collected and not yet passed on.
    private struct Intake {
        var batch = HistoryBatch()
        /// How many more lookups may be stored now; refilled over time.
        var tokens: Int
        let rate: Int
        /// A fraction of a token, in billionths.
        var partOfToken: UInt64 = 0
        /// When tokens were last added, in nanoseconds.
        var refilled = SystemClock.coarse()
        /// Skipped lookups, and the time of the first.
        var skipped = 0
        var skippedSince: UInt64 = 0
        var missed = 0
        var missedSince: UInt64 = 0

        /// The bucket holds this many seconds' worth of the rate.
        static let depth = 2

        init(rate: Int) {
            self.rate = max(rate, 1)
            tokens = self.rate * Self.depth
        }

        mutating func refill() {
            let now = SystemClock.coarse()
            let elapsed = min(now - refilled, UInt64(Self.depth) * 1_000_000_000)
            refilled = now
            if tokens >= rate * Self.depth { return }
            let earned = partOfToken + elapsed * UInt64(rate)
            partOfToken = earned % 1_000_000_000
            tokens = min(tokens + Int(earned / 1_000_000_000), rate * Self.depth)
        }
    }

    /// The most bytes waiting for the writer.
    private static let mostBytes = 4 << 20

    package func note(_ record: LookupRecord, id: UInt64) {
        guard intake.pointee.tokens > 0 else {
            if intake.pointee.skipped == 0 { intake.pointee.skippedSince = record.time }
            intake.pointee.skipped += 1
            return
        }
        intake.pointee.tokens -= 1
        if !intake.pointee.batch.append(record, number: id, most: Self.mostBytes) {
            if intake.pointee.missed == 0 { intake.pointee.missedSince = record.time }
            intake.pointee.missed += 1
        }
    }

    package func note(lost count: UInt64, time: UInt64) {
        mailbox.add(HistoryLoss(time: time, until: time, count: Int(clamping: count), reason: .log))
    }

    package func setUpstreams(_ names: [String]) { intake.pointee.batch.setUpstreams(names) }

    package func flush() {
        intake.pointee.refill()
        if !intake.pointee.batch.isBlank {
            let since = intake.pointee.batch.isEmpty ? 0 : SystemClock.wall()
            let lost = mailbox.handOver(&intake.pointee.batch, most: Self.mostBytes)
            if lost > 0 {
                if intake.pointee.missed == 0 { intake.pointee.missedSince = since }
                intake.pointee.missed += lost
            }
        }
        guard intake.pointee.skipped > 0 || intake.pointee.missed > 0 else { return }
        let now = SystemClock.wall()
        func add(_ count: inout Int, since: UInt64, _ reason: HistoryLoss.Reason) {
            if count > 0 {
                mailbox.add(HistoryLoss(time: min(since, now), until: now, count: count, reason: reason))
            }
            count = 0
        }
        add(&intake.pointee.skipped, since: intake.pointee.skippedSince, .rate)
        add(&intake.pointee.missed, since: intake.pointee.missedSince, mailbox.isFailing ? .disk : .behind)
    }

    /// Writes the rest, for two seconds at most, and ends the thread.
    package func finish() {
        flush()
        mailbox.stop()
        if thread.withLock({ $0.take() })?.join(milliseconds: 2000) == false {
            missesEnd.store(true, ordering: .relaxed)
        }
        if !mailbox.takeLosses().isEmpty { missesEnd.store(true, ordering: .relaxed) }
    }

    /// Whether it ended before all lookups, or the number of missing ones, were written.
    package var isCutOff: Bool { missesEnd.load(ordering: .relaxed) }

    // MARK: Statistics

    package struct Statistics: Sendable, Hashable {
        /// Lookups written since the start.
        package var written: Int
        /// Lookups not stored since the start, by reason.
        package var lost: [HistoryLoss.Reason: Int]
        /// Writing fails at the moment.
        package var isFailing: Bool
    }

    package var statistics: Statistics {
        Statistics(written: mailbox.written, lost: mailbox.lost, isFailing: mailbox.isFailing)
    }
}
