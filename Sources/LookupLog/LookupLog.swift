internal import Glibc
public import Platform
internal import Synchronization

/// Every lookup with the reason for its answer, written to sinks on a thread of its own.
///
/// Each serving thread fills a ring (`makeRing`) and never formats, writes or waits. The log thread drains the rings,
/// merges their records by time, numbers them from 1, and passes them to the sinks. Lookups that don't fit into a ring,
/// or whose line a sink can't take, are counted in `lost`; a line of the log reports the count.
public final class LookupLog: Sendable {
    /// State shared by the log thread and others.
    private let shared: Shared
    private let ringCapacity: Int
    private let thread = Mutex(ThreadState())

    private struct ThreadState: ~Copyable {
        var isReady = true
        /// Nil before the start and after the end.
        var running: WorkerThread?
    }

    /// Opens the sinks, so that errors are known before serving starts.
    ///
    /// - Parameters:
    ///   - observers: get each lookup too, on the log thread.
    ///   - ringCapacity: bytes per serving thread, rounded up to a power of two. Half of it should hold the lookups
    ///     of a few milliseconds; a lookup takes 120 to 300 bytes.
    ///   - report: called with a sentence for the operator when a sink fails, and when it works again.
    public init(
        sinks: [LookupSink], observers: [any LookupObserver] = [], ringCapacity: Int = 1 << 20,
        report: @escaping @Sendable (String) -> Void = Report.problem
    ) throws(LookupSink.Failure) {
        self.ringCapacity = ringCapacity
        let writers = try Writers(sinks, observers, report: report)
        do { shared = try Shared(writers: writers) } catch { throw LookupSink.Failure(description: error.description) }
    }

    deinit { stop() }

    /// Makes a ring for a serving thread; only that thread may append to it. From any thread.
    public func makeRing() -> LookupRing {
        let ring = LookupRing(
            capacity: ringCapacity, bell: shared.bell, clients: shared.attribution?.makeQueue())
        shared.rings.withLock { $0.append(ring) }
        shared.ringsMade.add(1, ordering: .releasing)
        return ring
    }

    /// Makes a ring for the forwarding thread; nil if no observer wants exchanges with upstream.
    public func makeExchangeRing() -> LookupRing? {
        guard shared.wantsExchanges else { return nil }
        let ring = LookupRing(capacity: ringCapacity, bell: shared.bell, isForExchanges: true)
        shared.rings.withLock { $0.append(ring) }
        shared.ringsMade.add(1, ordering: .releasing)
        return ring
    }

    /// Names the upstream servers, in the order of `Decision.upstream`: `ADDR:PORT` each.
    public func setUpstreams(_ names: [String]) {
        shared.upstreams.withLock { $0 = names }
        shared.upstreamsSet.add(1, ordering: .releasing)
    }

    /// Starts the log thread; records appended before are kept. Call it once.
    public func start() {
        thread.withLock { state in
            guard state.isReady else { return }
            state.isReady = false
            let shared = shared
            state.running = WorkerThread("lookup-log", .batch) { shared.run() }
            guard let attribution = shared.attribution else { return }
            _ = WorkerThread("who-asked", .hurried) { attribution.run() }
        }
    }

    /// Writes everything that was appended, waiting a second at most for readers, and ends the log thread.
    public func stop() {
        let running = thread.withLock { state in
            state.isReady = false
            return state.running.take()
        }
        guard let running else { return }
        shared.attribution?.stop()
        shared.stopping.store(true, ordering: .releasing)
        shared.bell.poke()
        running.join()
    }

    /// Makes sinks and observers reopen their files by path, after a log rotation has renamed them.
    public func reopen() {
        shared.reopening.store(true, ordering: .releasing)
        shared.bell.poke()
    }

    /// Lookups missing from at least one sink, since the start.
    public var lost: UInt64 { shared.lost.load(ordering: .relaxed) }

    /// Lookups passed to the sinks, since the start.
    public var count: UInt64 { shared.count.load(ordering: .relaxed) }

    /// Returns once everything appended before this call has been passed on; after a second at the latest.
    public func catchUp() async {
        let start = shared.rounds.load(ordering: .acquiring)
        for _ in 0..<500 {
            // The current round may already have read the rings; the next one has not.
            if shared.rounds.load(ordering: .acquiring) >= start + 2 { return }
            shared.bell.poke()
            do { try await Task.sleep(for: .milliseconds(2)) } catch { return }
        }
    }
}

/// The log thread's work, and what other threads tell it.
///
/// `@unchecked`: `writers` and `lanes` belong to the log thread once it runs; nothing uses them before.
private final class Shared: @unchecked Sendable {
    let bell: Bell
    let rings = Mutex<[LookupRing]>([])
    let ringsMade = Atomic<Int>(0)
    let upstreams = Mutex<[String]>([])
    let upstreamsSet = Atomic<Int>(0)
    let stopping = Atomic<Bool>(false)
    let reopening = Atomic<Bool>(false)
    let lost = Atomic<UInt64>(0)
    let count = Atomic<UInt64>(0)
    /// How often all rings were read and their records passed on.
    let rounds = Atomic<Int>(0)
    let wantsExchanges: Bool
    private var writers: Writers
    let attribution: ProcessAttribution?

    /// How long lines collect under load, in milliseconds.
    private static let nap: Int32 = 4
    /// How long until a failed sink is tried again, in milliseconds.
    private static let retry: Int32 = 500

    init(writers: consuming Writers) throws(SystemError) {
        bell = try Bell()
        attribution = try ProcessAttribution()
        wantsExchanges = writers.wantExchanges
        self.writers = writers
    }

    func run() {
        var lanes: [Lane] = []
        var knownUpstreams = 0
        var id: UInt64 = 0
        while true {
            // Read this first: whatever was appended before is drained below.
            let isLast = stopping.load(ordering: .acquiring)
            let isReopening = reopening.exchange(false, ordering: .acquiringAndReleasing)
            if lanes.count != ringsMade.load(ordering: .acquiring) {
                rings.withLock { all in for ring in all[lanes.count...] { lanes.append(Lane(ring)) } }
            }
            for index in lanes.indices { lanes[index].refresh() }
            // After reading the rings: the names that their records need are set by now.
            if knownUpstreams != upstreamsSet.load(ordering: .acquiring) {
                knownUpstreams = upstreamsSet.load(ordering: .acquiring)
                writers.setUpstreams(upstreams.withLock { $0 })
            }
            let some = drain(&lanes, &id)
            noteLost(&lanes)
            writers.flush()
            rounds.add(1, ordering: .releasing)
            if isReopening { writers.reopen() }
            if isLast {
                lost.add(writers.finish(), ordering: .relaxed)
                return
            }
            if some {
                bell.prepareToNap()
                writers.wait(bell, milliseconds: Self.nap)
            } else {
                bell.prepareToSleep()
                let isIdle = lanes.allSatisfy { $0.isEmpty } && lanes.count == ringsMade.load(ordering: .relaxed)
                writers.wait(bell, milliseconds: isIdle ? (writers.wantRetry ? Self.retry : -1) : 0)
            }
            bell.riseAfterWait()
        }
    }

    /// Passes all records that the lanes have seen to the sinks, by time; returns whether there were any.
    private func drain(_ lanes: inout [Lane], _ id: inout UInt64) -> Bool {
        if lanes.contains(where: \.hasRecord) { attribution?.settle() }
        var some = false
        var lostLines: UInt64 = 0
        while true {
            var earliest = -1
            var time = UInt64.max
            for index in lanes.indices where lanes[index].hasRecord && (earliest < 0 || lanes[index].time < time) {
                earliest = index
                time = lanes[index].time
            }
            guard earliest >= 0 else { break }
            some = true
            let record = lanes[earliest].record
            if record.isExchange {
                writers.append(ForwardedExchange(record))
            } else {
                id += 1
                attribution?.attribute(record)
                lostLines += writers.append(record, id: id)
            }
            lanes[earliest].advance()
        }
        if lostLines > 0 { lost.add(lostLines, ordering: .relaxed) }
        count.store(id, ordering: .relaxed)
        return some
    }

    private func noteLost(_ lanes: inout [Lane]) {
        var more: UInt64 = 0
        var exchanges: UInt64 = 0
        for index in lanes.indices {
            let lost = lanes[index].newlyLost()
            if lanes[index].isForExchanges { exchanges += lost } else { more += lost }
        }
        if exchanges > 0 { writers.append(lostExchanges: exchanges) }
        guard more > 0 else { return }
        lost.add(more, ordering: .relaxed)
        writers.append(lost: more, time: SystemClock.wall())
    }
}

/// The log thread's view of one ring.
private struct Lane {
    private let ring: LookupRing
    private var position = 0
    private var limit = 0
    private var lost: UInt64 = 0
    /// The time of `record`, read once.
    private(set) var time: UInt64 = 0

    init(_ ring: LookupRing) { self.ring = ring }

    var isForExchanges: Bool { ring.isForExchanges }
    var hasRecord: Bool { position < limit }
    /// Nothing was appended since the last drain.
    var isEmpty: Bool { position == ring.head && lost == ring.lost }
    var record: LookupRecord { ring.record(at: position) }

    mutating func refresh() {
        limit = ring.head
        settle()
    }

    mutating func advance() {
        position += record.size
        ring.release(position)
        settle()
    }

    /// Skips the gap before the ring's end.
    private mutating func settle() {
        while position < limit, record.isGap { position += record.size }
        if position < limit { time = record.time }
    }

    mutating func newlyLost() -> UInt64 {
        let all = ring.lost
        defer { lost = all }
        return all - lost
    }
}

/// All sinks, and all observers.
private struct Writers: ~Copyable {
    private var all: [WriterBox] = []
    private let observers: [any LookupObserver]

    /// Boxes a writer, because an array can't hold noncopyable values.
    private final class WriterBox {
        var writer: SinkWriter
        init(_ writer: consuming SinkWriter) { self.writer = writer }
    }

    init(
        _ sinks: [LookupSink], _ observers: [any LookupObserver], report: @escaping @Sendable (String) -> Void
    ) throws(LookupSink.Failure) {
        self.observers = observers
        for sink in sinks { all.append(WriterBox(try SinkWriter(sink, report: report))) }
    }

    /// Returns the number of lines lost.
    mutating func append(_ record: LookupRecord, id: UInt64) -> UInt64 {
        var lost: UInt64 = 0
        for box in all { lost += box.writer.append(record, id: id) }
        for observer in observers { observer.note(record, id: id) }
        return lost
    }

    mutating func append(lost count: UInt64, time: UInt64) {
        for box in all { box.writer.append(lost: count, time: time) }
        for observer in observers { observer.note(lost: count, time: time) }
    }

    var wantExchanges: Bool { observers.contains { $0.wantsExchanges } }

    func append(_ exchange: ForwardedExchange) {
        for observer in observers where observer.wantsExchanges { observer.noteExchange(exchange) }
    }

    func append(lostExchanges count: UInt64) {
        for observer in observers { observer.noteExchanges(lost: count) }
    }

    mutating func setUpstreams(_ names: [String]) {
        for box in all { box.writer.setUpstreams(names) }
        for observer in observers { observer.setUpstreams(names) }
    }

    mutating func flush() {
        for box in all { box.writer.flush() }
        for observer in observers { observer.flush() }
    }

    mutating func reopen() {
        for box in all { box.writer.reopen() }
        for observer in observers { observer.reopen() }
    }

    mutating func finish() -> UInt64 {
        var lost: UInt64 = 0
        for box in all { lost += box.writer.finish(milliseconds: 1000) }
        for observer in observers { observer.finish() }
        return lost
    }

    var wantRetry: Bool { all.contains { $0.writer.wantsRetry } }

    /// Waits for the bell, for a slow reader, or for the timeout; -1 waits for ever.
    func wait(_ bell: Bell, milliseconds: Int32) {
        var waits = [pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)]
        for box in all where box.writer.waitsFor >= 0 {
            waits.append(pollfd(fd: box.writer.waitsFor, events: Int16(POLLOUT), revents: 0))
        }
        _ = poll(&waits, nfds_t(waits.count), milliseconds)
    }
}
