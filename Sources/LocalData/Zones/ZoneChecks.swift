internal import DNSWire
import Platform

/// Checks the records as one zone: rules that no single line can show.
///
/// One node per name in an open-addressed table, linked to its records, so that a few passes check a million records.
struct ZoneChecks {
    private(set) var records: ZoneRecords
    private(set) var apex: Name?
    private(set) var diagnostics: DiagnosticList
    private let file: Place

    private struct Node {
        /// The first entry with this name; the node's name is in its bytes.
        var first: UInt32
        var last: UInt32
        var types: Types
        /// How many entries have this name.
        var count: UInt32
    }

    /// What exists at a name, as far as the checks need to know.
    private struct Types: OptionSet {
        var rawValue: UInt16
        static let cname = Types(rawValue: 1)
        static let dname = Types(rawValue: 2)
        static let ns = Types(rawValue: 4)
        static let address = Types(rawValue: 8)
        /// Data that must not coexist with a CNAME.
        static let data = Types(rawValue: 16)
        static let ds = Types(rawValue: 32)
        static let nsec3 = Types(rawValue: 64)
        /// KEY and NXT: checkers disagree on whether a CNAME may coexist with them.
        static let key = Types(rawValue: 128)
        static let nxt = Types(rawValue: 256)
        /// Types that checkers refuse in some places.
        static let refusable: Types = [.ds, .ns, .nsec3, .key, .nxt]
        /// Types that make a name more than a hashed owner name.
        static let content: Types = [.cname, .dname, .ns, .address, .data]
    }

    private var nodes: [Node] = []
    /// The next entry with the same name; 0 ends the chain (entry 0 is always the first of its name).
    private var next: [UInt32] = []
    /// Nodes by their names.
    private var byName = HashIndex(slots: 0)
    /// Random, so that nobody can craft a zone whose names collide.
    private let seed = UInt64.random(in: 0...UInt64.max)
    private var hasDNAME = false

    init(records: ZoneRecords, name: Name?, file: Place, diagnostics: DiagnosticList) {
        self.records = records
        self.file = file
        self.diagnostics = diagnostics
        apex = name
    }

    mutating func run() {
        let hadErrors = diagnostics.listed.contains { $0.severity == .error }
        findApex(hadErrors: hadErrors)
        guard let apex else { return byName.deallocate() }
        removeOutOfZone(apex)
        link()
        defer { byName.deallocate() }
        checkSets()
        guard let node = node(of: apex.wire[...]) else { return }
        if !nodes[node].types.contains(.ns) {
            // The line that had it may have been unreadable.
            if !hadErrors { error(place(of: node), "the zone has no NS record at its apex \(apex)") }
        }
        checkNames(apex)
        // The line that had the address may have been unreadable.
        if !hadErrors { checkTargets(apex) }
    }

    private mutating func error(_ place: Place, _ message: String) {
        diagnostics.add(Diagnostic(place, .error, message))
    }

    private mutating func warn(_ place: Place, _ message: String) {
        diagnostics.add(Diagnostic(place, .warning, message))
    }

    private func place(of node: Int) -> Place { records.entries[Int(nodes[node].first)].place }

    /// The place of the first record of one of `types`.
    private func place(of types: Types, at node: Int) -> Place? {
        let index = entries(of: node).first { !Self.types(of: records.entries[$0].type).isDisjoint(with: types) }
        return index.map { records.entries[$0].place }
    }

    private func name(_ wire: ArraySlice<UInt8>) -> Name { Name(uncheckedWire: Array(wire)) }

    // MARK: Apex

    private mutating func findApex(hadErrors: Bool) {
        var soa: ZoneRecords.Entry?
        for entry in records.entries where entry.type == .soa {
            let owner = name(records.owner(of: entry))
            guard let first = soa else {
                soa = entry
                if let apex, apex != owner {
                    error(entry.place, "the SOA belongs to \(owner), but the zone is \(apex)")
                }
                continue
            }
            if !same(records.owner(of: first), records.owner(of: entry)) {
                error(entry.place, "a second SOA, for \(owner); the first is at line \(first.place.line)")
            } else if !isSameSOA(records.rdata(of: first), records.rdata(of: entry)) {
                error(entry.place, "a second SOA; the first is at line \(first.place.line)")
            } else {
                warn(entry.place, "the SOA is here again, which \(ZoneCheckers.nsd.refuse); leave it out")
            }
        }
        if let soa {
            apex = apex ?? name(records.owner(of: soa))
        } else if !hadErrors {
            error(file, "the zone has no SOA record")
        }
    }

    /// Its two names are compared case-insensitively, its five numbers byte by byte.
    private func isSameSOA(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
        let numbers = 20
        return left.suffix(numbers) == right.suffix(numbers) && same(left.dropLast(numbers), right.dropLast(numbers))
    }

    private mutating func removeOutOfZone(_ apex: Name) {
        var outside: [Int] = []
        var lastOwner = UInt32.max
        var lastIsInside = false
        for (index, entry) in records.entries.enumerated() {
            if entry.owner != lastOwner {
                lastOwner = entry.owner
                lastIsInside = isAtOrBelow(records.owner(of: entry), apex.wire)
            }
            if !lastIsInside { outside.append(index) }
        }
        for index in outside where records.entries[index].type != .soa {
            let entry = records.entries[index]
            error(entry.place, "\(name(records.owner(of: entry))) is not in the zone \(apex)")
        }
        records.remove(outside)
    }

    private func isAtOrBelow(_ wire: ArraySlice<UInt8>, _ ancestor: [UInt8]) -> Bool {
        guard wire.count >= ancestor.count else { return false }
        let start = wire.endIndex - ancestor.count
        var index = wire.startIndex
        while index < start { index += Int(wire[index]) + 1 }
        return index == start && same(wire[start...], ancestor[...])
    }

    /// Whether the names are equal, ignoring case.
    private func same(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        var (one, other) = (left.startIndex, right.startIndex)
        while one < left.endIndex {
            if left[one] != right[other], ASCII.lowercased(left[one]) != ASCII.lowercased(right[other]) { return false }
            one += 1
            other += 1
        }
        return true
    }

    // MARK: The table of names

    private func hash(_ wire: ArraySlice<UInt8>) -> UInt64 {
        wire.withUnsafeBufferPointer { bytes in
            var hash = seed
            for byte in bytes {
                hash = (hash ^ UInt64(ASCII.lowercased(byte))) &* 0x9E37_79B9_7F4A_7C15
                hash ^= hash >> 29
            }
            return hash
        }
    }

    private func node(of wire: ArraySlice<UInt8>) -> Int? { node(of: wire, hash(wire)) }

    private func node(of wire: ArraySlice<UInt8>, _ hash: UInt64) -> Int? {
        byName.find(UInt32(truncatingIfNeeded: hash >> 32)) {
            same(records.owner(of: records.entries[Int(nodes[Int($0)].first)]), wire)
        }.map { Int($0) }
    }

    private mutating func link() {
        let count = records.entries.count
        next = [UInt32](repeating: 0, count: count)
        byName.deallocate()
        byName = HashIndex(slots: max(16, count * 2))
        var lastOwner = UInt32.max
        var current = 0
        for index in 0..<count {
            let entry = records.entries[index]
            if entry.owner != lastOwner {
                lastOwner = entry.owner
                let owner = records.owner(of: entry)
                let hash = hash(owner)
                if let known = node(of: owner, hash) {
                    current = known
                } else {
                    current = nodes.count
                    nodes.append(Node(first: UInt32(index), last: UInt32(index), types: [], count: 0))
                    byName.insert(UInt32(truncatingIfNeeded: hash >> 32), UInt32(current))
                }
            }
            if nodes[current].count > 0 { next[Int(nodes[current].last)] = UInt32(index) }
            nodes[current].last = UInt32(index)
            nodes[current].count += 1
            nodes[current].types.formUnion(Self.types(of: entry.type))
        }
        hasDNAME = nodes.contains { $0.types.contains(.dname) }
    }

    private static func types(of type: RecordType) -> Types {
        switch type {
        case .cname: .cname
        case .dname: [.dname, .data]
        case .ns: [.ns, .data]
        case .a, .aaaa: [.address, .data]
        case .ds: [.ds, .data]
        // These may coexist with a CNAME (RFC 4034 3 and 4; 2181 10.1; SIG, KEY and NXT are the older forms).
        case .rrsig, .nsec, RecordType(rawValue: 24): []
        case .nsec3: .nsec3
        case RecordType(rawValue: 25): .key
        case RecordType(rawValue: 30): .nxt
        default: .data
        }
    }

    private func entries(of node: Int) -> [Int] {
        var result = [Int(nodes[node].first)]
        result.reserveCapacity(Int(nodes[node].count))
        while next[result[result.count - 1]] != 0 { result.append(Int(next[result[result.count - 1]])) }
        return result
    }

    // MARK: RRsets

    /// Drops duplicates; checks that an RRset has one TTL (RFC 2181 5), and that singleton types have one record.
    private mutating func checkSets() {
        var duplicates: [Int] = []
        for node in nodes.indices where nodes[node].count > 1 {
            let sorted = entries(of: node).sorted { precedes($0, $1) }
            var start = 0
            var sets = 0
            for end in 1...sorted.count where end == sorted.count || !isSameRRset(sorted[start], sorted[end]) {
                checkSet(sorted[start..<end], duplicates: &duplicates)
                start = end
                sets += 1
            }
            if sets > Self.mostForBIND {
                tooMany(sorted[0], "\(sets) types at \(name(records.owner(of: records.entries[sorted[0]])))")
            }
        }
        guard !duplicates.isEmpty else { return }
        duplicates.sort()
        records.remove(duplicates)
        nodes = []
        link()
    }

    /// BIND refuses a zone with more records of a type, or more types, at one name (its `max-records-per-type` and
    /// `max-types-per-name`).
    private static let mostForBIND = 100

    private mutating func tooMany(_ index: Int, _ what: String) {
        let most = Self.mostForBIND
        warn(
            records.entries[index].place,
            "\(what): as primary or secondary BIND 9.20 refuses a zone with more than \(most); spread them over names")
    }

    /// Checks one RRset, sorted by RDATA.
    private mutating func checkSet(_ set: ArraySlice<Int>, duplicates: inout [Int]) {
        guard let firstIndex = set.first, set.count > 1 else { return }
        let first = records.entries[firstIndex]
        var ttl = first.ttl
        var differing: Place?
        let duplicatesBefore = duplicates.count
        for (previous, index) in zip(set, set.dropFirst()) {
            let entry = records.entries[index]
            if compareRdata(previous, index) == 0 {
                duplicates.append(index)
            } else if entry.type == .cname || entry.type == .dname {
                let owner = name(records.owner(of: entry))
                error(max(first.place, entry.place), "a second \(entry.type) for \(owner); a name has at most one")
            }
            if entry.ttl != first.ttl { differing = max(differing ?? first.place, entry.place) }
            ttl = min(ttl, entry.ttl)
        }
        let count = set.count - (duplicates.count - duplicatesBefore)
        if count > Self.mostForBIND {
            tooMany(set.last ?? firstIndex, "\(count) records of \(name(records.owner(of: first))) \(first.type)")
        }
        guard let differing else { return }
        warn(
            differing,
            "the TTLs of \(name(records.owner(of: first))) \(first.type) differ; \(ttl) is used for all")
        for index in set { records.setTTL(ttl, at: index) }
    }

    /// Whether two records of one name are in one RRset; signatures are grouped by the type they cover (RFC 2181 5,
    /// 4035 2.2).
    private func isSameRRset(_ left: Int, _ right: Int) -> Bool {
        let (one, other) = (records.entries[left], records.entries[right])
        guard one.type == other.type else { return false }
        return one.type != .rrsig || records.rdata(of: one).prefix(2) == records.rdata(of: other).prefix(2)
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        let (one, other) = (records.entries[left].type.rawValue, records.entries[right].type.rawValue)
        if one != other { return one < other }
        let order = compareRdata(left, right)
        return order != 0 ? order < 0 : left < right
    }

    /// Orders the RDATA of two records of one type; names in it compare case-insensitively.
    private func compareRdata(_ left: Int, _ right: Int) -> Int {
        let (a, b) = (records.rdata(of: records.entries[left]), records.rdata(of: records.entries[right]))
        let nameStart = Self.nameStart(records.entries[left].type)
        var (i, j) = (a.startIndex, b.startIndex)
        while i < a.endIndex, j < b.endIndex {
            var (one, other) = (a[i], b[j])
            if i - a.startIndex >= nameStart { (one, other) = (ASCII.lowercased(one), ASCII.lowercased(other)) }
            if one != other { return Int(one) - Int(other) }
            i += 1
            j += 1
        }
        return a.count - b.count
    }

    /// Where the trailing name of the RDATA starts, for the types that RFC 4034 6.2 folds.
    private static func nameStart(_ type: RecordType) -> Int {
        switch type.rawValue {
        case 2, 3, 4, 5, 7, 8, 9, 12, 14, 17, 39: 0
        case 15, 18, 21, 36: 2
        case 33: 6
        default: Int.max
        }
    }

    // MARK: Names

    private mutating func checkNames(_ apex: Name) {
        for node in nodes.indices {
            let types = nodes[node].types
            let owner = records.owner(of: records.entries[Int(nodes[node].first)])
            if !types.isDisjoint(with: .refusable) { warnAboutNames(node, types, isApex: same(owner, apex.wire[...])) }
            if types.contains(.cname), types.contains(.data) {
                let alias = place(of: .cname, at: node) ?? .nowhere
                let other = place(of: .data, at: node) ?? .nowhere
                error(max(alias, other), "\(name(owner)) has a CNAME and other records; a CNAME must be alone")
            }
            if types.contains(.dname), types.contains(.ns), !same(owner, apex.wire[...]) {
                error(place(of: node), "\(name(owner)) has a DNAME and is a zone cut (NS)")
            }
            // NSEC3 and its signatures are allowed: hashed names are below the apex whatever the apex holds.
            if hasDNAME, !types.isDisjoint(with: .content), let above = ancestor(of: owner, apex: apex, with: .dname) {
                let alias = self.node(of: above).flatMap { place(of: .dname, at: $0) } ?? .nowhere
                error(max(alias, place(of: node)), "\(name(owner)) is below the DNAME at \(name(above))")
            }
        }
    }

    /// Warns of what checkers refuse at a name.
    private mutating func warnAboutNames(_ node: Int, _ types: Types, isApex: Bool) {
        func refuse(_ checkers: ZoneCheckers, _ types: Types, _ why: String, _ mend: String) {
            let owner = name(records.owner(of: records.entries[Int(nodes[node].first)]))
            warn(place(of: types, at: node) ?? .nowhere, "\(owner): \(why), which \(checkers.refuse); \(mend)")
        }
        if types.contains(.ds) {
            if isApex {
                refuse([.knot, .bind], .ds, "a DS is at the zone's apex", "it belongs in the parent zone")
            } else if !types.contains(.ns) {
                let fix = "add NS records, or leave it out"
                refuse(.bind, .ds, "a DS is at a name without a delegation", fix)
            }
        }
        if types.contains(.cname), !types.isDisjoint(with: [.key, .nxt]) {
            let checkers: ZoneCheckers = types.contains(.key) ? [.nsd, .knot] : .knot
            refuse(checkers, [.key, .nxt], "a KEY or NXT is next to a CNAME", "leave it out")
        }
        let owner = records.owner(of: records.entries[Int(nodes[node].first)])
        if types.contains(.ns), owner.starts(with: [1, UInt8(ascii: "*")]) {
            refuse(.bind, .ns, "NS records are at a wildcard", "delegate names one by one")
        }
        if types.contains(.nsec3), !isHash(owner.dropFirst().prefix(Int(owner.first ?? 0))) {
            refuse(.bind, .nsec3, "the name of an NSEC3 is no hash", "leave it out")
        }
    }

    /// Whole bytes in base32hex (RFC 5155 3).
    private func isHash(_ label: ArraySlice<UInt8>) -> Bool {
        var decoder = Base32Hex.Decoder()
        for byte in label where decoder.add(byte) == nil { return false }
        return decoder.isComplete
    }

    /// The closest ancestor in the zone that has `types`; the apex counts as one only for a DNAME.
    private func ancestor(of wire: ArraySlice<UInt8>, apex: Name, with types: Types) -> ArraySlice<UInt8>? {
        var rest = wire
        while rest.count > apex.wire.count {
            rest = rest[(rest.startIndex + Int(rest[rest.startIndex]) + 1)...]
            if rest.count == apex.wire.count, !types.contains(.dname) { return nil }
            if let node = node(of: rest), !nodes[node].types.isDisjoint(with: types) { return rest }
        }
        return nil
    }

    /// Checks that names in the zone that NS, MX and SRV point to have addresses.
    private mutating func checkTargets(_ apex: Name) {
        for entry in records.entries {
            let skipped: Int
            switch entry.type {
            case .ns: skipped = 0
            case .mx: skipped = 2
            case .srv: skipped = 6
            default: continue
            }
            let target = records.rdata(of: entry).dropFirst(skipped)
            guard target.count > 1, isAtOrBelow(target, apex.wire) else { continue }
            let owner = records.owner(of: entry)
            let node = node(of: target) ?? wildcard(for: target, apex: apex)
            if let node, nodes[node].types.contains(.address) { continue }
            // The checkers accept MX and SRV without a target.
            let checkers: ZoneCheckers = entry.type != .ns ? [] : same(owner, apex.wire[...]) ? [.knot, .bind] : .knot
            let refused = checkers.isEmpty ? "" : ", which \(checkers.refuse)"
            if let node, nodes[node].types.contains(.cname) {
                warn(
                    entry.place,
                    "\(name(target)) is a CNAME\(refused); \(entry.type) must name a host with addresses")
                continue
            }
            if let cut = cut(above: target, apex: apex) {
                // Only a delegation to a name at or below itself needs glue; other names below a cut are resolved
                // there.
                guard entry.type == .ns, isAtOrBelow(target, Array(owner)), same(cut, owner) else { continue }
                warn(
                    entry.place,
                    "\(name(target)) has no address here (glue)\(refused); the delegation can't be followed")
            } else {
                warn(entry.place, "\(name(target)) has no address in this zone\(refused); give it an A or AAAA record")
            }
        }
    }

    /// The zone cut at or above `wire`.
    private func cut(above wire: ArraySlice<UInt8>, apex: Name) -> ArraySlice<UInt8>? {
        if wire.count > apex.wire.count, let node = node(of: wire), nodes[node].types.contains(.ns) { return wire }
        return ancestor(of: wire, apex: apex, with: .ns)
    }

    /// The node of `*` under the closest encloser, going by names that have records.
    private func wildcard(for wire: ArraySlice<UInt8>, apex: Name) -> Int? {
        var rest = wire
        while rest.count > apex.wire.count {
            rest = rest[(rest.startIndex + Int(rest[rest.startIndex]) + 1)...]
            if let node = node(of: ([1, UInt8(ascii: "*")] + rest)[...]) { return node }
            if node(of: rest) != nil { return nil }
        }
        return nil
    }
}

private func max(_ left: Place, _ right: Place) -> Place {
    (left.file, left.line) < (right.file, right.line) ? right : left
}
