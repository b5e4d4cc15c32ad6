import CLinux
package import DNSWire
package import Lookup
package import Platform

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
    /// For each number of labels, whether a rule is for a name itself, or for what is below it.
    private let ownDepths: UInt128
    private let belowDepths: UInt128
    /// Rules for each name that is asked for.
    private let all: [UInt32]

    package static let empty = RuleTable([])

    /// - Parameter full: called with each rule that is left out, because its name has too many.
    package init(_ rules: [Rule], full: (Rule) -> Void = { _ in }) {
        var kept: [Rule] = []
        var entries: [Entry] = []
        var numbers: [[UInt8]: Int] = [:]
        var (own, below, all) = (UInt128(0), UInt128(0), [UInt32]())
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
            let depth = UInt128(1) << UInt128(rule.name.labelCount)
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
        var lookup = LookupName()
        for (number, entry) in entries.enumerated() {
            entry.name.withUnsafeBytes { _ = lookup.assign(uncompressed: $0) }
            index.insert(UInt32(truncatingIfNeeded: lookup.hash >> 32), UInt32(number))
        }
        self.rules = kept
        self.entries = entries
        self.all = all
        ownDepths = own
        belowDepths = below
    }

    deinit { index.deallocate() }

    package var isEmpty: Bool { rules.isEmpty }

    /// Prefetches the memory that `has` will read.
    func prefetch(_ name: borrowing LookupName) {
        clinux_prefetch(index.start(UInt32(truncatingIfNeeded: name.hash >> 32)))
    }

    /// Whether there is a rule for `name`; those for each name that is asked for count if it `isAsked`.
    @inline(__always)
    func has(_ name: borrowing LookupName, isAsked: Bool) -> Bool {
        if isAsked, !all.isEmpty { return true }
        if ownDepths >> UInt128(name.labelCount) & 1 != 0, let entry = probe(name, 0), !entries[Int(entry)].own.isEmpty
        {
            return true
        }
        return belowDepths != 0 && hasAbove(name)
    }

    private func hasAbove(_ name: borrowing LookupName) -> Bool {
        var depths = belowDepths & (UInt128(1) << UInt128(name.labelCount) - 1)
        while depths != 0 {
            let depth = depths.trailingZeroBitCount
            if let entry = probe(name, name.labelCount - depth), !entries[Int(entry)].below.isEmpty { return true }
            depths &= depths - 1
        }
        return false
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
        var depths = belowDepths & (UInt128(1) << UInt128(name.labelCount) - 1)
        while depths != 0 {
            let depth = depths.trailingZeroBitCount
            if let entry = probe(name, name.labelCount - depth) { add(entries[Int(entry)].below) }
            depths &= depths - 1
        }
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
