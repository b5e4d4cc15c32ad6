public import Platform

/// What rules do to an answer on its way to the client, on top of whatever answers.
///
/// Fixed size, no references: a lookup owns one.
public struct Faults: Sendable, BitwiseCopyable {
    /// Records and histories store the raw values: a new action takes the next bit.
    public struct Actions: OptionSet, Sendable, Hashable, BitwiseCopyable {
        public let rawValue: UInt16
        @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

        /// The answer leaves later.
        public static let delay = Actions(rawValue: 1 << 0)
        /// There is no answer.
        public static let drop = Actions(rawValue: 1 << 1)
        /// TC=1 and no records; over UDP only.
        public static let truncate = Actions(rawValue: 1 << 2)
        /// Records have another TTL.
        public static let ttl = Actions(rawValue: 1 << 3)
        /// IPv6 addresses are left out, or IPv4 ones.
        public static let onlyIPv4 = Actions(rawValue: 1 << 4)
        public static let onlyIPv6 = Actions(rawValue: 1 << 5)
        /// Addresses are in another order.
        public static let shuffle = Actions(rawValue: 1 << 6)
        /// Only the first addresses are given.
        public static let keep = Actions(rawValue: 1 << 7)
        /// HTTPS and SVCB records are left out, or some of their parameters.
        public static let stripHTTPS = Actions(rawValue: 1 << 8)
        public static let stripECH = Actions(rawValue: 1 << 9)
        public static let stripHints = Actions(rawValue: 1 << 10)
        /// The response has another ID than the query.
        public static let wrongID = Actions(rawValue: 1 << 11)
        /// What follows the header is no DNS.
        public static let garbage = Actions(rawValue: 1 << 12)
        /// The answer trickles; over TCP and TLS only.
        public static let slow = Actions(rawValue: 1 << 13)
        /// The connection is closed instead of an answer; over TCP, TLS and HTTPS only.
        public static let close = Actions(rawValue: 1 << 14)

        /// Those that change records.
        static let rewriting: Actions = [
            .ttl, .onlyIPv4, .onlyIPv6, .shuffle, .keep, .stripHTTPS, .stripECH, .stripHints,
        ]
        /// Each action with its word in rules, log and page.
        public static let words: [(action: Actions, word: StaticString)] = [
            (.delay, "delay"), (.drop, "drop"), (.truncate, "truncate"), (.ttl, "ttl"), (.onlyIPv4, "only=4"),
            (.onlyIPv6, "only=6"), (.shuffle, "shuffle"), (.keep, "keep"), (.stripHTTPS, "strip=https"),
            (.stripECH, "strip=ech"), (.stripHints, "strip=hints"), (.wrongID, "wrong-id"), (.garbage, "garbage"),
            (.slow, "slow"), (.close, "close"),
        ]
    }

    /// Some of the actions, and the rule that says so.
    public struct Entry: Sendable, Hashable, BitwiseCopyable {
        public var actions: Actions
        public var place: Place

        public init(actions: Actions, place: Place) {
            self.actions = actions
            self.place = place
        }
    }

    /// All of them.
    public private(set) var actions: Actions = []
    /// Microseconds; delays of several rules add up.
    public private(set) var delay: UInt32 = 0
    /// Seconds.
    public private(set) var ttl: UInt32 = 0
    /// How many addresses are given.
    public private(set) var kept: UInt16 = 0
    /// Bytes a second.
    public private(set) var rate: UInt32 = 0
    /// What `shuffle`, `garbage` and `wrong-id` are drawn from.
    public private(set) var seed: UInt64 = 0
    public private(set) var count = 0
    private var entries = InlineArray<4, Entry>(repeating: Entry(actions: [], place: .nowhere))

    /// The most rules whose places are known; further ones take effect, too.
    public static let mostEntries = 4
    /// The longest delay, in microseconds.
    public static let longestDelay: UInt32 = 600_000_000

    public init() {}

    @inlinable public var isEmpty: Bool { actions.isEmpty }
    public var rewrites: Bool { !actions.isDisjoint(with: .rewriting) }

    /// Whether nobody sees an answer.
    @inlinable
    public func hidesAnswer(over transport: Transport) -> Bool {
        !actions.isEmpty && (actions.contains(.drop) || actions.contains(.close) && transport != .udp)
    }

    @inline(__always)
    mutating func reset() {
        if !actions.isEmpty { self = Faults() }
    }

    /// What one rule adds.
    public struct Addition: Sendable, Hashable, BitwiseCopyable {
        public var actions: Actions = []
        /// Microseconds.
        public var delay: UInt32 = 0
        public var ttl: UInt32 = 0
        public var kept: UInt16 = 0
        public var rate: UInt32 = 0
        public init() {}
    }

    /// Adds what the rule at `place` does. Of values that can't add up, the first rule's stays.
    public mutating func add(_ new: Addition, seed: UInt64, _ place: Place) {
        let fresh = new.actions.subtracting(actions)
        delay = min(delay + min(new.delay, Self.longestDelay), Self.longestDelay)
        if fresh.contains(.ttl) { ttl = new.ttl }
        if fresh.contains(.keep) { kept = new.kept }
        if fresh.contains(.slow) { rate = new.rate }
        if actions.isEmpty { self.seed = seed }
        actions.formUnion(new.actions)
        guard count < Self.mostEntries else { return }
        entries[count] = Entry(actions: new.actions, place: place)
        count += 1
    }

    public func entry(_ index: Int) -> Entry { entries[index] }

    /// Whether the rule at `place` has taken effect.
    public func has(_ place: Place) -> Bool {
        for index in 0..<count where entries[index].place == place { return true }
        return false
    }
}
