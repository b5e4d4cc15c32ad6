internal import CLinux
internal import Glibc
internal import Synchronization

/// Between the log thread and the history's thread: one batch that waits, and what was lost.
final class HistoryMailbox: Sendable {
    private struct Contents {
        var batch = HistoryBatch()
        /// By reason, not written yet.
        var losses: [HistoryLoss.Reason: HistoryLoss] = [:]
        /// Since the start.
        var lost: [HistoryLoss.Reason: Int] = [:]
    }

    private let contents = Mutex(Contents())
    private let writtenCount = Atomic<Int>(0)
    private let failing = Atomic<Bool>(false)
    private let stopping = Atomic<Bool>(false)
    /// What the writer sleeps through: nothing, or all but much.
    private let sleep = Atomic<UInt8>(awake)
    private let bell = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))

    private static let awake: UInt8 = 0
    private static let napping: UInt8 = 1
    private static let asleep: UInt8 = 2
    /// Bytes that are worth a transaction before its time.
    private static let much = 1 << 20

    deinit { close(bell) }

    // MARK: The log thread's side

    /// Takes what is in `batch`, which is blank then; returns how many lookups there was no room for.
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
        // The batch first, then the look at the writer: it goes to sleep first and then looks for a batch.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        wake(evenFromNap: size >= Self.much)
        return lost
    }

    func add(_ loss: HistoryLoss) {
        contents.withLock { contents in
            contents.lost[loss.reason, default: 0] += loss.count
            contents.losses[loss.reason] = contents.losses[loss.reason]?.joined(with: loss) ?? loss
        }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        wake(evenFromNap: false)
    }

    private func wake(evenFromNap: Bool) {
        let state = sleep.load(ordering: .relaxed)
        guard state == Self.asleep || evenFromNap && state == Self.napping,
            sleep.exchange(Self.awake, ordering: .acquiringAndReleasing) != Self.awake
        else { return }
        poke()
    }

    private func poke() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    func stop() {
        stopping.store(true, ordering: .releasing)
        poke()
    }

    // MARK: The writer's side

    var isStopping: Bool { stopping.load(ordering: .acquiring) }

    /// Exchanges an empty batch for the one that waits.
    func take(_ batch: inout HistoryBatch) { contents.withLock { swap(&$0.batch, &batch) } }

    func takeLosses() -> [HistoryLoss] {
        contents.withLock { contents in
            defer { contents.losses = [:] }
            return contents.losses.values.sorted { $0.time < $1.time }
        }
    }

    /// Losses that could not be written: they are told later.
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

    /// Lets lookups gather: only many of them, or the end, are worth being woken for.
    func nap(milliseconds: Int32) { wait(Self.napping, milliseconds) }

    /// Waits for a lookup; not as long where there are losses to be told (`withLosses`).
    func sleep(milliseconds: Int32, withLosses: Int32) {
        wait(Self.asleep, milliseconds, withLosses: min(withLosses, milliseconds))
    }

    private func wait(_ state: UInt8, _ milliseconds: Int32, withLosses: Int32? = nil) {
        sleep.store(state, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let waiting = waiting
        if !isStopping, state == Self.napping || !waiting.batch {
            var wait = pollfd(fd: bell, events: Int16(POLLIN), revents: 0)
            _ = poll(&wait, 1, waiting.losses ? withLosses ?? milliseconds : milliseconds)
        }
        sleep.store(Self.awake, ordering: .relaxed)
        var count: UInt64 = 0
        _ = read(bell, &count, 8)
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
