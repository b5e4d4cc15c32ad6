public import DNSWire
import Glibc
public import Lookup
import Platform
import Synchronization

/// Upstream's answers until their TTL runs out. Shared by all serving threads; its size in bytes is bounded.
///
/// Shards keep threads apart: a lock is held for one probe and one copy. Each shard evicts by second chance (CLOCK), so
/// that popular entries stay. Overrides and zones are never cached here.
///
/// `@unchecked`: the pointer to the shards never changes, and each shard is accessed under its own lock.
/// - RFC: 2308 5; 8767; 9520; 2181 8.
public final class AnswerCache: @unchecked Sendable {
    public struct Settings: Sendable, Hashable {
        /// Bytes, overhead included.
        public var capacity = 64 << 20
        public var ttls = UpstreamAnswer.TTLs()
        public var serveStale = true
        /// How long after its expiry an answer may be used while upstream is silent, in seconds (RFC 8767 5: 1 to 3
        /// days).
        public var staleWindow: UInt32 = 86_400
        public var prefetch = true
        /// Passes on upstream's AD bit: only if the path to upstream is trusted.
        public var trustAuthenticData = false
        public init() {}
    }

    /// Counters since the start.
    public struct Statistics: Sendable, Hashable {
        public var entries = 0
        public var bytes = 0
        public var hits: UInt64 = 0
        public var misses: UInt64 = 0
        public var evictions: UInt64 = 0
        public var stale: UInt64 = 0
        public var prefetches: UInt64 = 0
    }

    public let settings: Settings
    // Not an array of objects: each hit would count references, and threads on one shard would contend for the counter.
    private let shards: UnsafeMutablePointer<Mutex<ShardState>>
    let shardCount: Int
    private static let mostShards = 64
    /// A smaller shard, in bytes, would refuse answers of ordinary size.
    private static let leastShardCapacity = 256 << 10

    public init(_ settings: Settings = Settings()) {
        self.settings = settings
        var count = Self.mostShards
        while count > 1, settings.capacity / count < Self.leastShardCapacity { count /= 2 }
        shardCount = count
        shards = .allocate(capacity: count)
        for index in 0..<count {
            (shards + index).initialize(to: Mutex(ShardState(capacity: settings.capacity / count)))
        }
    }

    deinit {
        shards.deinitialize(count: shardCount)
        shards.deallocate()
    }

    /// An entry's memory: this head, then name, TTL offsets, message, upstream's words about its extended error, and the
    /// place in a cassette, if it comes from one.
    struct Head: BitwiseCopyable {
        var hash: UInt64
        /// Microseconds.
        var inserted: UInt64
        /// Microseconds; afterwards the entry is stale.
        var expiry: UInt64
        /// Microseconds; after a failure of upstream, a stale entry is used until then without asking again.
        var retry: UInt64
        var ttl: UInt32
        var hits: UInt32
        var messageLength: UInt16
        var flags: Flags
        var answers: UInt16
        var authority: UInt16
        var ttlCount: UInt16
        var type: RecordType
        var responseCode: ResponseCode
        var extendedError: UInt16
        var nameLength: UInt8
        var textLength: UInt8
        // The origin; these fields fit into padding.
        var upstream: Int16
        var roundTrip: ShortMicroseconds
        var transport: UpstreamTransport

        var origin: UpstreamAnswer.Origin {
            UpstreamAnswer.Origin(
                upstream: upstream, microseconds: roundTrip.value, transport: transport)
        }

        struct Flags: OptionSet, BitwiseCopyable {
            let rawValue: UInt16
            static let dnssecOK = Flags(rawValue: 1)
            static let checkingDisabled = Flags(rawValue: 2)
            static let alias = Flags(rawValue: 4)
            static let authenticData = Flags(rawValue: 8)
            static let prefetched = Flags(rawValue: 16)
            static let hasError = Flags(rawValue: 32)
            static let used = Flags(rawValue: 64)
            static let privateAddress = Flags(rawValue: 128)
            /// See `UpstreamAnswer.deniesName` and `isOpen`.
            static let deniesName = Flags(rawValue: 256)
            static let open = Flags(rawValue: 512)
            /// It comes from a cassette.
            static let recorded = Flags(rawValue: 1024)
            static let key: Flags = [.dnssecOK, .checkingDisabled]
        }

        static let size = MemoryLayout<Head>.stride
        var questionEnd: Int { Header.length + Int(nameLength) + 4 }
        var ttlStart: Int { Self.size + (Int(nameLength) + 1) / 2 * 2 }
        var messageStart: Int { ttlStart + Int(ttlCount) * 2 }
        var textStart: Int { messageStart + Int(messageLength) }
        var placeStart: Int { textStart + Int(textLength) }
        var blockSize: Int { placeStart + (flags.contains(.recorded) ? MemoryLayout<Place>.size : 0) }
    }

    /// Runs `body` under the lock of the shard that `hash` belongs to.
    func withShard<R: Sendable>(_ hash: UInt64, _ body: (inout ShardState) -> R) -> R {
        shard(hash).pointee.withLock { body(&$0) }
    }

    func withShard<R: Sendable>(number: Int, _ body: (inout ShardState) -> R) -> R {
        shards[number].withLock { body(&$0) }
    }

    private func shard(_ hash: UInt64) -> UnsafeMutablePointer<Mutex<ShardState>> {
        shards + (Int(truncatingIfNeeded: hash >> 58) & (shardCount - 1))
    }

    /// Caches `answer` if its TTL allows. `now` is monotonic, in microseconds; `origin` is only for display.
    public func insert(_ answer: UpstreamAnswer, now: UInt64, from origin: UpstreamAnswer.Origin = .init()) {
        guard answer.ttl > 0 else { return }
        let key = answer.key
        var flags: Head.Flags = []
        if key.dnssecOK { flags.insert(.dnssecOK) }
        if key.checkingDisabled { flags.insert(.checkingDisabled) }
        if answer.hasAlias { flags.insert(.alias) }
        if answer.authenticData { flags.insert(.authenticData) }
        if answer.extendedError != nil { flags.insert(.hasError) }
        if answer.hasPrivateAddress { flags.insert(.privateAddress) }
        if answer.deniesName { flags.insert(.deniesName) }
        if answer.isOpen { flags.insert(.open) }
        if !origin.place.isNowhere { flags.insert(.recorded) }
        let head = Head(
            hash: key.hash, inserted: now, expiry: now + UInt64(answer.ttl) * 1_000_000, retry: 0, ttl: answer.ttl,
            hits: 0, messageLength: UInt16(answer.message.count), flags: flags,
            answers: answer.answers, authority: answer.authority, ttlCount: UInt16(answer.ttlOffsets.count),
            type: key.type, responseCode: answer.responseCode,
            extendedError: answer.extendedError?.rawValue ?? 0, nameLength: UInt8(key.name.count),
            textLength: UInt8(answer.extendedText.count),
            upstream: origin.upstream, roundTrip: ShortMicroseconds(origin.microseconds),
            transport: origin.transport)
        let staleWindow = settings.serveStale ? UInt64(settings.staleWindow) * 1_000_000 : 0
        shard(key.hash).pointee.withLock { state in
            // A denial of the name goes when something is found there.
            while let old = state.find(key, flags: flags, orDenial: true) {
                let existing = state.head(old)
                // A failure must not replace an answer that can still be served (RFC 8767 5).
                if answer.responseCode == .serverFailure, existing.pointee.responseCode != .serverFailure,
                    now < existing.pointee.expiry + staleWindow
                {
                    existing.pointee.retry = now + UInt64(answer.ttl) * 1_000_000
                    return
                }
                state.remove(old)
            }
            state.insert(head, answer, at: origin.place)
        }
    }

    /// Answers for the lookup's current name from a live entry (or, if allowed, a stale one), up to an alias that leads
    /// beyond it.
    public func answer(
        _ lookup: inout Lookup, allowStale: Bool, upTo isBoundary: AnswerWriter.Boundary
    ) -> Outcome {
        let now = lookup.request.now
        var key: Head.Flags = []
        if lookup.question.dnssecOK { key.insert(.dnssecOK) }
        if lookup.question.checkingDisabled { key.insert(.checkingDisabled) }
        let staleWindow = settings.serveStale ? UInt64(settings.staleWindow) * 1_000_000 : 0
        return shard(lookup.name.hash).pointee.withLock { state in
            let found = state.find(lookup.name.hash, type: lookup.question.type, key: key, now: now) {
                lookup.name.suffixEquals(0, $0, length: $1)
            }
            guard let index = found else {
                state.statistics.misses += 1
                return .pass
            }
            let block = state.entries[index].unsafelyUnwrapped
            let head = block.assumingMemoryBound(to: Head.self)
            let isStale = now >= head.pointee.expiry
            if isStale {
                let isUseless = now >= head.pointee.expiry + staleWindow || head.pointee.responseCode == .serverFailure
                if isUseless || !(allowStale || now < head.pointee.retry) {
                    if isUseless { state.remove(index) }
                    state.statistics.misses += 1
                    return .pass
                }
            }
            return hit(head, isStale: isStale, now: now, state: &state, &lookup, upTo: isBoundary)
        }
    }

    /// The place in a cassette.
    @inline(__always)
    static func place(_ head: UnsafeMutablePointer<Head>) -> Place {
        guard head.pointee.flags.contains(.recorded) else { return .nowhere }
        return UnsafeRawPointer(head).loadUnaligned(fromByteOffset: head.pointee.placeStart, as: Place.self)
    }

    @inline(__always)
    private func hit(
        _ head: UnsafeMutablePointer<Head>, isStale: Bool, now: UInt64, state: inout ShardState,
        _ lookup: inout Lookup, upTo isBoundary: AnswerWriter.Boundary
    ) -> Outcome {
        head.pointee.flags.insert(.used)
        head.pointee.hits &+= 1
        // Another thread may have inserted the entry after this one read the clock.
        let age = UInt32(clamping: (max(now, head.pointee.inserted) - head.pointee.inserted) / 1_000_000)
        lookup.decision.source = isStale ? .stale : .cache
        lookup.decision.place = Self.place(head)
        lookup.decision.authoritative = false
        lookup.decision.responseCode = head.pointee.responseCode
        lookup.decision.privateAnswer = head.pointee.flags.contains(.privateAddress) ? .passed : .none
        // AD covers the whole response (RFC 4035 3.2.3), and an alias of ours in front is not signed.
        lookup.decision.authenticData =
            settings.trustAuthenticData && head.pointee.flags.contains(.authenticData)
            && lookup.nameOffset == Header.length
        if isStale {
            state.statistics.stale += 1
            lookup.decision.explain(
                head.pointee.responseCode == .nxDomain ? .staleNXDomainAnswer : .staleAnswer,
                "upstream did not answer in time")
        } else {
            state.statistics.hits += 1
            if head.pointee.flags.contains(.hasError) {
                let words = UnsafeRawBufferPointer(
                    start: UnsafeRawPointer(head) + head.pointee.textStart, count: Int(head.pointee.textLength))
                lookup.decision.explain(
                    ExtendedError(rawValue: head.pointee.extendedError), said: words, or: "as upstream said")
            } else if head.pointee.responseCode == .serverFailure {
                lookup.decision.explain(.cachedError, "upstream failed a moment ago")
            }
            // Popular and about to expire: refreshed before a client has to wait.
            if settings.prefetch, head.pointee.hits >= 3, head.pointee.ttl >= 10,
                !head.pointee.flags.contains(.prefetched), age >= head.pointee.ttl - head.pointee.ttl / 10
            {
                head.pointee.flags.insert(.prefetched)
                state.statistics.prefetches += 1
                lookup.renew(head.pointee.type)
            }
        }
        let base = UnsafeRawPointer(head)
        return AnswerWriter(
            message: UnsafeRawBufferPointer(
                start: base + head.pointee.messageStart, count: Int(head.pointee.messageLength)),
            questionEnd: head.pointee.questionEnd, answers: head.pointee.answers,
            authority: head.pointee.authority, hasAlias: head.pointee.flags.contains(.alias),
            isOpen: head.pointee.flags.contains(.open),
            ttlOffsets: UnsafeBufferPointer(
                start: (base + head.pointee.ttlStart).assumingMemoryBound(to: UInt16.self),
                count: Int(head.pointee.ttlCount)),
            age: age, fixedTTL: isStale ? 30 : nil
        ).write(&lookup, upTo: isBoundary).resetting(&lookup.decision)
    }

    // MARK: Flush, statistics

    /// Removes everything; returns the number of entries.
    @discardableResult
    public func flush() -> Int { flush { _ in true } }

    /// Removes all types of `name`; with `tree`, of every name below it too.
    @discardableResult
    public func flush(_ name: Name, tree: Bool = false) -> Int {
        flush { tree ? $0.isAtOrBelow(name) : $0 == name }
    }

    private func flush(where matches: (Name) -> Bool) -> Int {
        var count = 0
        for shard in 0..<shardCount {
            shards[shard].withLock { state in
                for index in state.entries.indices {
                    guard let block = state.entries[index] else { continue }
                    let head = state.head(index)
                    let wire = UnsafeRawBufferPointer(start: block + Head.size, count: Int(head.pointee.nameLength))
                    if matches(Name(uncheckedWire: Array(wire))) {
                        state.remove(index)
                        count += 1
                    }
                }
            }
        }
        return count
    }

    public var statistics: Statistics {
        var sum = Statistics()
        for shard in 0..<shardCount {
            let one = shards[shard].withLock { state in
                var statistics = state.statistics
                statistics.entries = state.count
                statistics.bytes = state.bytes
                return statistics
            }
            sum.entries += one.entries
            sum.bytes += one.bytes
            sum.hits += one.hits
            sum.misses += one.misses
            sum.evictions += one.evictions
            sum.stale += one.stale
            sum.prefetches += one.prefetches
        }
        return sum
    }
}
