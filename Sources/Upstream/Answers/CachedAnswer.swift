public import DNSWire
import Glibc
public import Lookup

/// The cache's entry for one question, for display: a copy that leaves no trace in the cache.
public struct CachedAnswer: Sendable, Hashable {
    public let name: Name
    public let type: RecordType
    /// Whether it was asked with DO=1, and with CD=1.
    public let dnssecOK: Bool
    public let checkingDisabled: Bool
    public let responseCode: ResponseCode
    /// Records in the answer section.
    public let answers: Int
    /// The original TTL, in seconds.
    public let ttl: UInt32
    /// Seconds since it arrived, and until it is stale.
    public let age: UInt32
    public let remaining: UInt32
    /// Expired: used only while upstream is silent.
    public let isStale: Bool
    /// A lookup now would get it without asking upstream.
    public let isUsable: Bool
    /// It was refreshed before its expiry, or is being refreshed.
    public let isPrefetched: Bool
    public let hits: UInt32
    /// Bytes of memory.
    public let bytes: Int
    /// The server it came from, and how long that took (to a thousandth).
    public let origin: UpstreamAnswer.Origin
}

extension AnswerCache {
    /// The entry for `key`, however old, and the answer as it would be given now. Does not count as a hit.
    public func peek(_ key: FetchKey, now: UInt64) -> (entry: CachedAnswer, answer: UpstreamAnswer)? {
        var flags: Head.Flags = []
        if key.dnssecOK { flags.insert(.dnssecOK) }
        if key.checkingDisabled { flags.insert(.checkingDisabled) }
        return withShard(key.hash) { state in
            let found = key.name.withUnsafeBytes { wire in
                state.find(key.hash, type: key.type, key: flags, now: now) {
                    $1 == wire.count && memcmp($0, wire.baseAddress.unsafelyUnwrapped, $1) == 0
                }
            }
            guard let found else { return nil }
            let entry = entry(state.head(found), now: now)
            return (entry, Self.answer(state.head(found), key, entry))
        }
    }

    /// Whether `entry`, which has expired, may be given while upstream is silent.
    public func mayServeStale(_ entry: CachedAnswer) -> Bool {
        settings.serveStale && entry.responseCode != .serverFailure
            && UInt64(entry.age) < UInt64(entry.ttl) + UInt64(settings.staleWindow)
    }

    /// The entries whose names `isWanted` accepts, in no order, `limit` at most; and whether there are more.
    ///
    /// Locks are held for a few entries at a time, so that a page delays no lookup.
    public func entries(
        limit: Int, now: UInt64, where isWanted: (UnsafeRawBufferPointer) -> Bool
    ) -> (entries: [CachedAnswer], hasMore: Bool) {
        var found: [CachedAnswer] = []
        for shard in 0..<shardCount {
            var next = 0
            while next >= 0 {
                let start = next
                let part = withShard(number: shard) { state -> (entries: [CachedAnswer], next: Int) in
                    let end = min(start + Self.listedAtOnce, state.entries.count)
                    var part: [CachedAnswer] = []
                    for index in start..<max(start, end) {
                        guard let block = state.entries[index] else { continue }
                        let head = state.head(index)
                        let wire = UnsafeRawBufferPointer(
                            start: block + Head.size, count: Int(head.pointee.nameLength))
                        if isWanted(wire) { part.append(entry(head, now: now)) }
                    }
                    return (part, end < state.entries.count ? end : -1)
                }
                found += part.entries
                next = part.next
                if found.count > limit { return (Array(found.prefix(limit)), true) }
            }
        }
        return (found, false)
    }

    private static let listedAtOnce = 128

    func entry(_ pointer: UnsafeMutablePointer<Head>, now: UInt64) -> CachedAnswer {
        let head = pointer.pointee
        let wire = UnsafeRawBufferPointer(
            start: UnsafeRawPointer(pointer) + Head.size, count: Int(head.nameLength))
        let isStale = now >= head.expiry
        var origin = head.origin
        origin.place = AnswerCache.place(pointer)
        return CachedAnswer(
            name: Name(uncheckedWire: Array(wire)), type: head.type, dnssecOK: head.flags.contains(.dnssecOK),
            checkingDisabled: head.flags.contains(.checkingDisabled), responseCode: head.responseCode,
            answers: Int(head.answers), ttl: head.ttl,
            age: UInt32(clamping: (max(now, head.inserted) - head.inserted) / 1_000_000),
            remaining: isStale ? 0 : UInt32(clamping: (head.expiry - now + 999_999) / 1_000_000), isStale: isStale,
            isUsable: !isStale
                || settings.serveStale && now < head.retry && head.responseCode != .serverFailure,
            isPrefetched: head.flags.contains(.prefetched), hits: head.hits, bytes: head.blockSize,
            origin: origin)
    }

    /// The answer with TTLs reduced by its age.
    private static func answer(
        _ pointer: UnsafeMutablePointer<Head>, _ key: FetchKey, _ entry: CachedAnswer
    ) -> UpstreamAnswer {
        let head = pointer.pointee
        let block = UnsafeRawPointer(pointer)
        let ttlOffsets = (0..<Int(head.ttlCount)).map {
            block.load(fromByteOffset: head.ttlStart + 2 * $0, as: UInt16.self)
        }
        var message = [UInt8](
            UnsafeRawBufferPointer(start: block + head.messageStart, count: Int(head.messageLength)))
        message.withUnsafeMutableBytes { bytes in
            let base = bytes.baseAddress.unsafelyUnwrapped
            for offset in ttlOffsets {
                let ttl = UnsafeRawPointer(base).readUInt32(Int(offset))
                // RFC 8767 4: 30 seconds for stale data.
                base.write(entry.isStale ? 30 : ttl - min(ttl, entry.age), at: Int(offset))
            }
        }
        return UpstreamAnswer(
            key: key, responseCode: head.responseCode, authenticData: head.flags.contains(.authenticData),
            message: message, questionEnd: head.questionEnd, answers: head.answers, authority: head.authority,
            ttlOffsets: ttlOffsets, ttl: entry.remaining, hasAlias: head.flags.contains(.alias),
            isOpen: head.flags.contains(.open),
            extendedError: head.flags.contains(.hasError) ? ExtendedError(rawValue: head.extendedError) : nil,
            extendedText: Array(UnsafeRawBufferPointer(start: block + head.textStart, count: Int(head.textLength))),
            hasPrivateAddress: head.flags.contains(.privateAddress))
    }
}

/// A time span in two bytes: a 12-bit mantissa and an exponent. Exact below 4 ms, then to a four-thousandth.
struct ShortMicroseconds: BitwiseCopyable {
    private let bits: UInt16

    init(_ microseconds: UInt32) {
        let doublings = max(0, 20 - microseconds.leadingZeroBitCount)
        bits = doublings > 15 ? .max : UInt16(microseconds >> UInt32(doublings)) | UInt16(doublings) << 12
    }

    var value: UInt32 { UInt32(bits & 0xFFF) << UInt32(bits >> 12) }
}
