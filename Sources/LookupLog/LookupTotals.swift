public import DNSWire
public import Lookup
public import Platform
internal import Synchronization

/// Counts of all lookups since the start, by source, type and response code, with their durations.
public final class LookupTotals: LookupObserver {
    /// The count of one combination.
    public struct Count: Sendable {
        public var source: SourceKind
        /// Nil: one of the rare types.
        public var type: RecordType?
        /// Nil: not answered.
        public var responseCode: ResponseCode?
        public var transport: Transport
        public var lookups: UInt64
    }

    /// A histogram of durations. The last bucket has no upper bound.
    public struct Durations: Sendable {
        /// Upper bounds of the buckets, in microseconds.
        public static let bounds: [UInt32] = [
            10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
            1_000_000, 2_500_000, 5_000_000,
        ]
        /// One more than there are bounds.
        public static let bucketCount = bounds.count + 1
        public internal(set) var buckets = [UInt64](repeating: 0, count: bucketCount)
        /// Microseconds.
        public internal(set) var sum: UInt64 = 0

        public var count: UInt64 { buckets.reduce(0, +) }

        static func bucket(_ microseconds: UInt32) -> Int {
            var index = 0
            while index < bounds.count, microseconds > bounds[index] { index += 1 }
            return index
        }

        mutating func note(_ microseconds: UInt32) {
            buckets[Self.bucket(microseconds)] += 1
            sum += UInt64(microseconds)
        }

        /// An estimate of a quantile, in microseconds: the bound of the bucket where `share` is reached.
        public func quantile(_ share: Double) -> UInt32 {
            let wanted = Double(count) * share
            var seen: UInt64 = 0
            for (index, bucket) in buckets.enumerated() {
                seen += bucket
                if Double(seen) >= wanted { return index < Self.bounds.count ? Self.bounds[index] : .max }
            }
            return 0
        }
    }

    /// The counts of one second.
    public struct Second: Sendable {
        /// Seconds since 1970.
        public internal(set) var time: UInt64 = 0
        public internal(set) var bySource = BySource<UInt32>(repeating: 0)
        public internal(set) var failures: UInt32 = 0
        public internal(set) var absent: UInt32 = 0
        /// In the buckets of `Durations`.
        public internal(set) var durations = [UInt32](repeating: 0, count: Durations.bucketCount)
    }

    public struct Snapshot: Sendable {
        public internal(set) var counts: [Count] = []
        /// By source; nil for sources that never answered.
        public internal(set) var durations: [SourceKind: Durations] = [:]
        /// Round trips by server, `ADDR:PORT`.
        public internal(set) var upstreams: [(server: String, roundTrips: Durations)] = []
        /// Lookups that never reached the log thread.
        public internal(set) var lost: UInt64 = 0
        public internal(set) var lookups: UInt64 = 0
        /// With a private address for a public name, by what became of it.
        public internal(set) var privateAnswers: [Decision.PrivateAnswer: UInt64] = [.passed: 0, .refused: 0]
    }

    private struct State {
        var counts: [UInt64: UInt64] = [:]
        var durations = BySource(repeating: Durations())
        var upstreamNames: [String] = []
        var upstreams: [Durations] = []
        var lost: UInt64 = 0
        var lookups: UInt64 = 0
        var privateAnswers: [Decision.PrivateAnswer: UInt64] = [.passed: 0, .refused: 0]
        var seconds = [Second](repeating: Second(), count: LookupTotals.remembered)
    }

    /// The number of seconds that `seconds` covers.
    public static let remembered = 900

    private let state = Mutex(State())

    public init() {}

    // MARK: On the log thread

    public func note(_ record: LookupRecord, id: UInt64) {
        let source = record.source
        let code = record.responseCode
        let type = record.hasQuestion && Self.named.contains(record.type) ? record.type.rawValue : 0
        let key =
            UInt64(type) << 32 | UInt64(code?.rawValue ?? 0xFFFF) << 16 | UInt64(source.rawValue) << 8
            | UInt64(record.transport.rawValue)
        let duration = record.durationMicroseconds
        let privateAnswer = record.privateAnswer
        let time = record.time / 1_000_000
        state.withLock { state in
            state.lookups += 1
            if privateAnswer != .none { state.privateAnswers[privateAnswer, default: 0] += 1 }
            state.counts[key, default: 0] += 1
            state.durations[source].note(duration)
            if let upstream = record.upstream, state.upstreams.indices.contains(upstream) {
                state.upstreams[upstream].note(record.upstreamMicroseconds)
            }
            let slot = Int(time % UInt64(Self.remembered))
            if state.seconds[slot].time != time {
                state.seconds[slot] = Second()
                state.seconds[slot].time = time
            }
            state.seconds[slot].bySource[source] += 1
            if code == .serverFailure || code == nil { state.seconds[slot].failures += 1 }
            if code == .nxDomain { state.seconds[slot].absent += 1 }
            state.seconds[slot].durations[Durations.bucket(duration)] += 1
        }
    }

    public func note(lost count: UInt64, time: UInt64) { state.withLock { $0.lost += count } }

    public func setUpstreams(_ names: [String]) {
        state.withLock { state in
            state.upstreamNames = names
            while state.upstreams.count < names.count { state.upstreams.append(Durations()) }
        }
    }

    /// A hostile client may query all 65536 types; metrics have one line for each of these only.
    private static let named: Set<RecordType> = [
        .a, .aaaa, .https, .svcb, .cname, .ptr, .ns, .soa, .mx, .txt, .srv, .ds, .dnskey, .any, .axfr,
        .caa,
    ]

    // MARK: From any thread

    public var snapshot: Snapshot {
        state.withLock { state in
            var snapshot = Snapshot()
            snapshot.lookups = state.lookups
            snapshot.lost = state.lost
            snapshot.privateAnswers = state.privateAnswers
            snapshot.counts = state.counts.map { key, count in
                let type = UInt16(truncatingIfNeeded: key >> 32)
                let code = UInt16(truncatingIfNeeded: key >> 16)
                return Count(
                    source: SourceKind(rawValue: UInt8(truncatingIfNeeded: key >> 8)) ?? .none,
                    type: type == 0 ? nil : RecordType(rawValue: type),
                    responseCode: code == 0xFFFF ? nil : ResponseCode(rawValue: code),
                    transport: Transport(rawValue: UInt8(truncatingIfNeeded: key)) ?? .udp, lookups: count)
            }
            for source in SourceKind.allCases where state.durations[source].count > 0 {
                snapshot.durations[source] = state.durations[source]
            }
            snapshot.upstreams = zip(state.upstreamNames, state.upstreams).map { ($0, $1) }
            return snapshot
        }
    }

    /// The last seconds that had lookups, oldest first; `now` is in seconds since 1970.
    public func seconds(_ count: Int, now: UInt64) -> [Second] {
        // An unset clock starts at 1970.
        let before = now - min(now, UInt64(min(count, Self.remembered)))
        return state.withLock { state in state.seconds.filter { $0.time > before && $0.time <= now } }
            .sorted { $0.time < $1.time }
    }
}
