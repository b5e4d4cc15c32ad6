internal import LookupLog
internal import Platform
internal import Synchronization

/// Between the log thread and the history thread: one waiting batch, and the counts of lost lookups.
final class HistoryMailbox: Sendable {
    private struct Contents {
        var batch = HistoryBatch()
        /// By reason, not yet written.
        var losses: [HistoryLoss.Reason: HistoryLoss] = [:]
        /// Since the start.
        var lost: [HistoryLoss.Reason: Int] = [:]
    }

    private let contents = Mutex(Contents())
    private let writtenCount = Atomic<Int>(0)
    private let failing = Atomic<Bool>(false)
    private let stopping = Atomic<Bool>(false)
    private let bell: Bell

    /// A batch of this size is written early.
    private static let urgentSize = 1 << 20

    init() throws(SystemError) { bell = try Bell() }

    // MARK: The log thread's side

    /// Takes what is in `batch`, which is blank afterwards; returns the number of lookups for which there was no room.
    func handOver(_ batch: inout HistoryBatch, most: Int) -> Int {
        let (size, lost) = contents.withLock { contents in
            var lost = 0
            if contents.batch.isBlank {
                swap(&contents.batch, &batch)
            } else {
                if !contents.batch.append(batch, most: most) { lost = batch.lookups }
                batch.removeAll(keepingUpstreams: lost > 0)
            }
            return (contents.batch.count, lost)
        }
        bell.ring(urgent: size >= Self.urgentSize)
        return lost
    }

    func add(_ loss: HistoryLoss) {
        contents.withLock { contents in
            contents.lost[loss.reason, default: 0] += loss.count
            contents.losses[loss.reason] = contents.losses[loss.reason]?.joined(with: loss) ?? loss
        }
        bell.ring(urgent: false)
    }

    func stop() {
        stopping.store(true, ordering: .releasing)
        bell.poke()
    }

    // MARK: The writer's side

    var isStopping: Bool { stopping.load(ordering: .acquiring) }

    /// Exchanges an empty batch for the waiting one.
    func take(_ batch: inout HistoryBatch) { contents.withLock { swap(&$0.batch, &batch) } }

    func takeLosses() -> [HistoryLoss] {
        contents.withLock { contents in
            defer { contents.losses = [:] }
            return contents.losses.values.sorted { $0.time < $1.time }
        }
    }

    /// Puts back losses that could not be written, to be reported later.
    func putBack(_ losses: [HistoryLoss]) {
        contents.withLock { contents in
            for loss in losses {
                contents.losses[loss.reason] = contents.losses[loss.reason]?.joined(with: loss) ?? loss
            }
        }
    }

    private var waiting: (batch: Bool, losses: Bool) {
        contents.withLock { (!$0.batch.isBlank, !$0.losses.isEmpty) }
    }

    func noteWritten(_ lookups: Int) { writtenCount.add(lookups, ordering: .relaxed) }
    func setFailing(_ isFailing: Bool) { failing.store(isFailing, ordering: .relaxed) }

    /// Lets lookups accumulate: only many of them, or the end, wake the thread.
    func nap(milliseconds: Int32) {
        bell.prepareToNap()
        if !isStopping { bell.wait(milliseconds: milliseconds) }
        bell.riseAfterWait()
    }

    /// Waits for a lookup; not as long while there are losses to report (`withLosses`).
    func sleep(milliseconds: Int32, withLosses: Int32) {
        bell.prepareToSleep()
        let waiting = waiting
        if !isStopping, !waiting.batch {
            bell.wait(milliseconds: waiting.losses ? min(withLosses, milliseconds) : milliseconds)
        }
        bell.riseAfterWait()
    }

    // MARK: For all

    var written: Int { writtenCount.load(ordering: .relaxed) }
    var isFailing: Bool { failing.load(ordering: .relaxed) }
    var lost: [HistoryLoss.Reason: Int] { contents.withLock { $0.lost } }
}

extension HistoryLoss {
    func joined(with other: HistoryLoss) -> HistoryLoss {
        HistoryLoss(
            time: min(time, other.time), until: max(until, other.until), count: count + other.count, reason: reason)
    }
}
