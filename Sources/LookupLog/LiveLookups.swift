internal import Synchronization

/// Lookups as they happen, for subscribers: lines of text, JSON or CSV, each subscriber with its own filter.
///
/// Without subscribers it costs one atomic read per lookup. A subscriber that does not keep up loses lines, and is told
/// how many.
public final class LiveLookups: LookupObserver {
    /// Whole lines with newlines, and each line's number in the log; 0 for a line that reports a loss.
    public struct Lines: Sendable {
        public let bytes: [UInt8]
        public let ids: [UInt64]
        private let hold: Hold

        fileprivate init(bytes: [UInt8], ids: [UInt64], _ waiting: Waiting) {
            self.bytes = bytes
            self.ids = ids
            hold = Hold(waiting, bytes.count + Waiting.overhead)
        }

        /// Only lines after number `last`; earlier ones are known from the history.
        public func after(_ last: UInt64) -> [UInt8] {
            guard let first = ids.first(where: { $0 > 0 }), first <= last else { return bytes }
            var kept: [UInt8] = []
            for (id, line) in zip(ids, bytes.split(separator: 0x0A)) where id == 0 || id > last {
                kept += line + [0x0A]
            }
            return kept
        }
    }

    /// Bytes that wait for one subscriber.
    fileprivate final class Waiting: Sendable {
        let bytes = Atomic<Int>(0)
        /// Added for each piece, however small.
        static let overhead = 256
    }

    /// Counts a piece's bytes as waiting until the subscriber has released it.
    private final class Hold: Sendable {
        private let waiting: Waiting
        private let bytes: Int

        init(_ waiting: Waiting, _ bytes: Int) {
            self.waiting = waiting
            self.bytes = bytes
            waiting.bytes.add(bytes, ordering: .relaxed)
        }

        deinit { waiting.bytes.subtract(bytes, ordering: .relaxed) }
    }

    /// Ends the subscription when it is released.
    public typealias Subscription = AsyncStream<Lines>

    /// `@unchecked`: accessed under the lock only.
    private final class Subscriber: @unchecked Sendable {
        let wants: @Sendable (LookupRecord) -> Bool
        /// The most lines per second; further ones are counted as lost.
        let rate: Int
        let continuation: AsyncStream<Lines>.Continuation
        let waiting = Waiting()
        var lines: LookupFormatter
        var ids: [UInt64] = []
        /// Lost lines not yet reported.
        var lost: UInt64 = 0
        /// Lost lines reported in the current piece, which may itself get lost.
        var told: UInt64 = 0
        var second: UInt64 = 0
        var inSecond = 0

        // Never inlined: the optimizer of Swift 6.3 crashes on the inlined code in `subscribe`.
        @inline(never)
        init(
            _ form: LookupFormatter.Form, colors: Bool, rate: Int,
            wants: @escaping @Sendable (LookupRecord) -> Bool, _ continuation: AsyncStream<Lines>.Continuation
        ) {
            lines = LookupFormatter(form, colors: colors)
            self.wants = wants
            self.rate = rate
            self.continuation = continuation
        }
    }

    private struct State: ~Copyable {
        var subscribers: [Int: Subscriber] = [:]
        var next = 0
        var upstreams: [String] = []
    }

    private let state = Mutex(State())
    private let watchers = Atomic<Int>(0)

    /// The most bytes waiting for a subscriber, who may still be reading the history.
    private static let mostWaiting = 2 << 20
    private static let pieceSize = 64 * 1024
    /// The most subscribers.
    public static let most = 64

    public init() {}

    /// Subscribes to lookups that `wants` accepts, which is called on the log thread; nil if there are too many
    /// subscribers.
    ///
    /// - Parameters:
    ///   - rate: the most lines per second; further ones are counted as lost.
    public func subscribe(
        _ form: LookupFormatter.Form, colors: Bool = false, rate: Int = 100_000,
        where wants: @escaping @Sendable (LookupRecord) -> Bool
    ) -> Subscription? {
        // Bounded by `mostWaiting`.
        let (stream, continuation) = AsyncStream.makeStream(of: Lines.self)
        let number = state.withLock { state -> Int? in
            guard state.subscribers.count < Self.most else { return nil }
            let subscriber = Subscriber(form, colors: colors, rate: rate, wants: wants, continuation)
            subscriber.lines.setUpstreams(state.upstreams)
            state.next += 1
            state.subscribers[state.next] = subscriber
            return state.next
        }
        guard let number else { return nil }
        watchers.add(1, ordering: .relaxed)
        continuation.onTermination = { [weak self] _ in
            guard let self else { return }
            if state.withLock({ $0.subscribers.removeValue(forKey: number) != nil }) {
                watchers.subtract(1, ordering: .relaxed)
            }
        }
        return stream
    }

    public func note(_ record: LookupRecord, id: UInt64) {
        guard watchers.load(ordering: .relaxed) > 0 else { return }
        // Used under the lock only, not stored.
        nonisolated(unsafe) let record = record
        state.withLock { state in
            for subscriber in state.subscribers.values where subscriber.wants(record) {
                let second = record.time / 1_000_000
                if second != subscriber.second {
                    subscriber.second = second
                    subscriber.inSecond = 0
                }
                subscriber.inSecond += 1
                if subscriber.inSecond > subscriber.rate {
                    subscriber.lost += 1
                    continue
                }
                if subscriber.lost > 0 { Self.reportLost(subscriber, time: record.time) }
                subscriber.lines.append(record, id: id)
                subscriber.ids.append(id)
                if subscriber.lines.count >= Self.pieceSize { Self.send(subscriber) }
            }
        }
    }

    public func note(lost count: UInt64, time: UInt64) {
        guard watchers.load(ordering: .relaxed) > 0 else { return }
        state.withLock { state in
            for subscriber in state.subscribers.values {
                subscriber.lost += count
                Self.reportLost(subscriber, time: time)
            }
        }
    }

    public func setUpstreams(_ names: [String]) {
        state.withLock { state in
            state.upstreams = names
            for subscriber in state.subscribers.values { subscriber.lines.setUpstreams(names) }
        }
    }

    public func flush() {
        guard watchers.load(ordering: .relaxed) > 0 else { return }
        state.withLock { state in
            for subscriber in state.subscribers.values where subscriber.lines.count > 0 { Self.send(subscriber) }
        }
    }

    public func finish() {
        flush()
        for subscriber in state.withLock({ Array($0.subscribers.values) }) { subscriber.continuation.finish() }
    }

    private static func reportLost(_ subscriber: Subscriber, time: UInt64) {
        subscriber.lines.append(lost: subscriber.lost, time: time)
        if subscriber.lines.form != .csv { subscriber.ids.append(0) }
        subscriber.told += subscriber.lost
        subscriber.lost = 0
    }

    private static func send(_ subscriber: Subscriber) {
        if subscriber.waiting.bytes.load(ordering: .relaxed) < mostWaiting {
            let lines = Lines(bytes: subscriber.lines.take(), ids: subscriber.ids, subscriber.waiting)
            subscriber.continuation.yield(lines)
        } else {
            subscriber.lost += UInt64(subscriber.ids.count { $0 > 0 }) + subscriber.told
            subscriber.lines.take { _ in }
        }
        subscriber.ids.removeAll(keepingCapacity: true)
        subscriber.told = 0
    }
}
