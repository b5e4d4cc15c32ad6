internal import GRDB
internal import LookupLog
internal import Platform

/// The work of the history's thread: takes batches, writes them, and enforces the limits.
///
/// Unchecked: all of it but the mailbox belongs to that thread alone.
final class HistoryWork: @unchecked Sendable {
    private let store: HistoryStore
    private let mailbox: HistoryMailbox
    private let report: @Sendable (String) -> Void
    private var retention: HistoryRetention
    private var clock: HistoryClock
    /// The time last believed that is stored, in microseconds since 1970.
    private var clockWritten: UInt64 = 0
    /// Nil: must be made again, from the database.
    private var insertion: HistoryInsertion?
    /// SQLite's data_version: changes when another connection has written.
    private var version: Int64 = 0
    private var upstreams: [String] = []
    private var batch = HistoryBatch()
    /// Lookups lost before the current run of write failures.
    private var lostBefore = 0
    /// Nanoseconds of `SystemClock.coarse`.
    private var lossesWritten: UInt64 = 0
    private var looked: UInt64 = 0
    /// There is more to delete.
    private var hasMore = false

    /// Milliseconds between two transactions.
    private static let pause: Int32 = 250
    /// Milliseconds until writing is tried again.
    private static let retry: Int32 = 1000
    /// How often to look for old lookups when nothing arrives, in milliseconds.
    private static let rest: Int32 = 60_000
    /// Losses of one kind within this time share a row, in nanoseconds.
    private static let lossPause: UInt64 = 1_000_000_000
    /// How often the time last believed is stored, in microseconds.
    private static let clockPause: UInt64 = 3_600_000_000
    /// Steps of deletion between two batches.
    private static let steps = 8

    init(
        store: HistoryStore, limits: HistoryLimits, mailbox: HistoryMailbox,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.store = store
        self.mailbox = mailbox
        self.report = report
        retention = HistoryRetention(limits)
        // Before the first lookup of this daemon.
        clock = HistoryClock(believed: (try? store.read(retention.believed)) ?? nil)
    }

    func run() {
        try? store.writeWithoutTransaction(retention.prepare)
        while true {
            let isLast = mailbox.isStopping
            if batch.isBlank { mailbox.take(&batch) }
            let now = SystemClock.coarse()
            let losses = isLast || now - lossesWritten >= Self.lossPause ? mailbox.takeLosses() : []
            if !batch.isBlank || !losses.isEmpty {
                guard write(losses, at: now) else {
                    if isLast { return giveUp() }
                    mailbox.nap(milliseconds: Self.retry)
                    continue
                }
                keepLimits()
                if isLast { continue }
                mailbox.nap(milliseconds: Self.pause)
                continue
            }
            if isLast { return }
            if hasMore || now - looked >= UInt64(Self.rest) * 1_000_000 { keepLimits() }
            mailbox.sleep(milliseconds: hasMore ? 0 : Self.rest, withLosses: Self.pause)
        }
    }

    /// Writes batch and losses; returns whether that succeeded, and then the batch is empty.
    private func write(_ losses: [HistoryLoss], at now: UInt64) -> Bool {
        do {
            if store.isReplaced { try openAgain() }
            let names = try store.write { database in
                let insertion = try currentInsertion(database)
                var names = upstreams
                try batch.forEach(&names) { record, number, upstreams in
                    try insertion.append(record, number: number, upstreams: upstreams)
                }
                for loss in losses { try insertion.append(loss) }
                return names
            }
            upstreams = names
            mailbox.noteWritten(batch.lookups)
            batch.removeAll()
            if !losses.isEmpty { lossesWritten = now }
            if mailbox.isFailing {
                mailbox.setFailing(false)
                let lost = (mailbox.lost[.disk] ?? 0) - lostBefore
                report("history \(store.path): writing again\(lost > 0 ? "; \(lost) lookups are missing" : "")")
            }
            return true
        } catch {
            insertion = nil
            mailbox.putBack(losses)
            fail(error)
            return false
        }
    }

    /// The cached state, unless another connection has written: another daemon may share the database.
    private func currentInsertion(_ database: Database) throws -> HistoryInsertion {
        let statement = try SQLStatement(cached: "PRAGMA data_version", database)
        defer { statement.reset() }
        let found = try statement.step() ? statement.integer(0) : 0
        if let insertion, found == version { return insertion }
        version = found
        let new = try HistoryInsertion(database)
        insertion = new
        return new
    }

    private func openAgain() throws {
        insertion = nil
        try store.openAgain()
        try store.writeWithoutTransaction(retention.prepare)
        report("history \(store.path): the file was taken away or replaced; lookups go to the new file")
    }

    private func fail(_ error: any Error) {
        if let error = error as? DatabaseError, HistoryStore.isDamage(error) {
            if (try? store.replaceDamagedFile(error, report: report)) != nil {
                try? store.writeWithoutTransaction(retention.prepare)
                return
            }
        }
        guard !mailbox.isFailing else { return }
        lostBefore = mailbox.lost[.disk] ?? 0
        mailbox.setFailing(true)
        report(
            "history \(store.path): can't be written: \(HistoryStore.reason(error)); "
                + "lookups are answered, but those that come now will be missing in it")
    }

    private func giveUp() {
        let count = batch.lookups
        guard count > 0 else { return }
        let now = SystemClock.wall()
        mailbox.add(HistoryLoss(time: now, until: now, count: count, reason: .disk))
        report("history \(store.path): the last \(count) lookups could not be written")
    }

    /// Deletes what exceeds the limits, but only some of it if lookups are waiting.
    private func keepLimits() {
        looked = SystemClock.coarse()
        hasMore = false
        do {
            var steps = 0
            let wall = SystemClock.wall()
            let now = clock.believes(wall: wall, monotonic: SystemClock.monotonic()) ? wall : nil
            if let now, now < clockWritten || now - clockWritten >= Self.clockPause {
                try store.write { try retention.setBelieved($0, now) }
                clockWritten = now
            }
            while steps < Self.steps, try store.write({ try retention.step($0, now: now) }) {
                steps += 1
            }
            if steps < Self.steps, try store.read(retention.wantsCleaning) {
                try store.write { database in
                    let insertion = try currentInsertion(database)
                    insertion.forgetNumbers()
                    try retention.clean(database, insertion.tailColumns)
                }
            }
            while steps < Self.steps, try store.writeWithoutTransaction(retention.returnFreePages) { steps += 1 }
            hasMore = steps == Self.steps
            if !hasMore, store.logSize > retention.logLimit || store.fileSize > retention.limits.maximumSize {
                try store.writeWithoutTransaction(retention.truncateLog)
            }
        } catch {
            insertion = nil
            fail(error)
        }
    }
}
