import DNSWire
import Lookup
import Platform

/// All rules of a list, compiled: immutable, with one index of their names.
///
/// A name without a rule costs a probe of itself, and one for each number of labels that names of rules for whole
/// domains have.
package final class RuleTable: Sendable {
    /// The most rules of a table, and of one name.
    package static let mostRules = 1_000_000
    package static let mostOfName = 256

    /// In the order of their lines.
    package let rules: [Rule]
    /// A name's rules, as indexes of `rules`.
    private struct Entry {
        var name: [UInt8]
        var own: [UInt32] = []
        var below: [UInt32] = []
    }
    private let entries: [Entry]
    private let index: HashIndex
    /// Tells nearly all names without a rule; see `Filter`.
    package let filter: Filter
    /// Rules for each name that is asked for.
    private let all: [UInt32]

    package static let empty = RuleTable([])

    /// - Parameter full: called with each rule that is left out, because its name has too many.
    package init(_ rules: [Rule], full: (Rule) -> Void = { _ in }) {
        var kept: [Rule] = []
        var entries: [Entry] = []
        var numbers: [[UInt8]: Int] = [:]
        var (own, below, all) = (UInt64(0), UInt64(0), [UInt32]())
        for rule in rules.prefix(Self.mostRules) {
            let number = UInt32(kept.count)
            if rule.name.isRoot, rule.reach != .exact {
                guard all.count < Self.mostOfName else {
                    full(rule)
                    continue
                }
                all.append(number)
                kept.append(rule)
                continue
            }
            let wire = rule.name.canonicalWire
            let entry = numbers[wire] ?? entries.count
            if entry == entries.count {
                entries.append(Entry(name: wire))
                numbers[wire] = entry
            }
            guard max(entries[entry].own.count, entries[entry].below.count) < Self.mostOfName else {
                full(rule)
                continue
            }
            let depth = UInt64(1) << UInt64(min(rule.name.labelCount, 63))
            if rule.reach != .below {
                entries[entry].own.append(number)
                own |= depth
            }
            if rule.reach != .exact {
                entries[entry].below.append(number)
                below |= depth
            }
            kept.append(rule)
        }
        index = HashIndex(slots: max(entries.count * 3 / 2 + 1, 15))
        filter = Filter(own: own, below: below, hasAll: !all.isEmpty, names: entries.count)
        var lookup = LookupName()
        for (number, entry) in entries.enumerated() {
            entry.name.withUnsafeBytes { _ = lookup.assign(uncompressed: $0) }
            index.insert(UInt32(truncatingIfNeeded: lookup.hash >> 32), UInt32(number))
            filter.insert(lookup.hash)
        }
        self.rules = kept
        self.entries = entries
        self.all = all
    }

    deinit {
        index.deallocate()
        filter.deallocate()
    }

    package var isEmpty: Bool { rules.isEmpty }

    /// Whether there is a rule for `name`; those for each name that is asked for count if it `isAsked`.
    func has(_ name: borrowing LookupName, isAsked: Bool) -> Bool {
        if isAsked, filter.hasAll { return true }
        if let entry = probe(name, 0), !entries[Int(entry)].own.isEmpty { return true }
        var has = false
        forEachAbove(name) { if !$0.isEmpty { has = true } }
        return has
    }

    /// Calls `body` with the rules for what is below each name above this one.
    private func forEachAbove(_ name: borrowing LookupName, _ body: ([UInt32]) -> Void) {
        guard filter.below != 0, name.labelCount > 0 else { return }
        for label in 1...name.labelCount where filter.below >> UInt64(min(name.labelCount - label, 63)) & 1 != 0 {
            if let entry = probe(name, label) { body(entries[Int(entry)].below) }
        }
    }

    /// The rules for `name`, in the order of their lines.
    func rules(for name: borrowing LookupName, isAsked: Bool) -> [UInt32] {
        var found = isAsked ? all : []
        var lists = found.isEmpty ? 0 : 1
        func add(_ list: [UInt32]) {
            guard !list.isEmpty else { return }
            found += list
            lists += 1
        }
        if let entry = probe(name, 0) { add(entries[Int(entry)].own) }
        forEachAbove(name) { add($0) }
        if lists > 1 { found.sort() }
        return found
    }

    private func probe(_ name: borrowing LookupName, _ label: Int) -> UInt32? {
        index.find(UInt32(truncatingIfNeeded: name.hash(at: label) >> 32)) { number in
            entries[Int(number)].name.withUnsafeBytes {
                name.suffixEquals(label, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
            }
        }
    }
}

extension RuleTable {
    /// Says of a name, in a few instructions, that there is certainly no rule for it, or that there may be one.
    ///
    /// A Bloom filter of three bits in one word, with 16 bits for each name: one name in a hundred passes that should not.
    /// It is asked once for the name itself and once for each number of labels that names of rules for whole domains
    /// have. Plain memory, so that stages can copy it; its table frees it.
    package struct Filter: @unchecked Sendable, BitwiseCopyable {
        private let bits: UnsafeMutablePointer<UInt64>
        /// Of the index of a word.
        private let mask: UInt64
        /// By number of labels (63 for all above): whether a rule is for a name itself, or for what is below it.
        let own, below: UInt64
        /// There are rules for each name that is asked for.
        let hasAll: Bool

        init(own: UInt64, below: UInt64, hasAll: Bool, names: Int) {
            var size: UInt64 = 64
            while size < UInt64(names) * 16 { size *= 2 }
            bits = .allocate(capacity: Int(size / 64))
            bits.initialize(repeating: 0, count: Int(size / 64))
            mask = size / 64 - 1
            self.own = own
            self.below = below
            self.hasAll = hasAll
        }

        /// Of both tables: the names of the smaller one are added to a copy of the other's bits. If one is empty, it is
        /// the other's own.
        init(_ one: RuleTable, _ other: RuleTable) {
            if one.isEmpty || other.isEmpty {
                self = one.isEmpty ? other.filter : one.filter
                return
            }
            let (small, large) = one.entries.count < other.entries.count ? (one, other) : (other, one)
            let words = Int(large.filter.mask) + 1
            bits = .allocate(capacity: words)
            bits.initialize(from: large.filter.bits, count: words)
            mask = large.filter.mask
            own = small.filter.own | large.filter.own
            below = small.filter.below | large.filter.below
            hasAll = small.filter.hasAll || large.filter.hasAll
            var lookup = LookupName()
            for entry in small.entries {
                entry.name.withUnsafeBytes { _ = lookup.assign(uncompressed: $0) }
                insert(lookup.hash)
            }
        }

        func deallocate() { bits.deallocate() }

        func insert(_ hash: UInt64) {
            bits[Int(hash & mask)] |= Self.pattern(hash)
        }

        // On the fast lane, where copies of all members would cost more than the answer: by pointer.

        /// Whether a rule may be for `name`, or is for each name that is asked for.
        @inline(__always)
        static func mayHave(_ filter: UnsafePointer<Filter>, _ name: borrowing LookupName) -> Bool {
            filter.pointee.hasAll || passes(filter, name)
        }

        @inline(__always)
        static func passes(_ filter: UnsafePointer<Filter>, _ name: borrowing LookupName) -> Bool {
            let labels = UInt64(truncatingIfNeeded: name.labelCount)
            // So many labels are rare, and the last bit stands for several numbers of them.
            guard labels < 63 else { return true }
            let depth: UInt64 = 1 &<< labels
            let (bits, mask) = (filter.pointee.bits, filter.pointee.mask)
            if filter.pointee.own & depth != 0, has(bits, mask, name.hash) { return true }
            // Those with fewer labels than the name.
            var depths = filter.pointee.below & (depth &- 1)
            while depths != 0 {
                let label = Int(truncatingIfNeeded: labels) &- depths.trailingZeroBitCount
                if has(bits, mask, name.hash(at: label)) { return true }
                depths &= depths &- 1
            }
            return false
        }

        @inline(__always)
        private static func has(_ bits: UnsafePointer<UInt64>, _ mask: UInt64, _ hash: UInt64) -> Bool {
            let pattern = pattern(hash)
            return bits[Int(truncatingIfNeeded: hash & mask)] & pattern == pattern
        }

        /// Three bits that other bits of the hash say than those for the word.
        @inline(__always)
        private static func pattern(_ hash: UInt64) -> UInt64 {
            1 &<< (hash &>> 40) | 1 &<< (hash &>> 46) | 1 &<< (hash &>> 52)
        }
    }
}
