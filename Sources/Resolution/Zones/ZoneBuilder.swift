import DNSWire

/// Compiles the records of a zone into its tables.
struct ZoneBuilder: ~Copyable {
    private let apex: Name
    private let records: ZoneRecords
    private var nodes: [Zone.Node] = []
    private var parents: [UInt32] = []
    private var names: [UInt8] = []
    private var index: [UInt64]
    private var indexMask: UInt64
    private var scratch = LookupName()

    init(apex: Name, records: ZoneRecords) {
        self.apex = apex
        self.records = records
        indexMask = 1023
        index = [UInt64](repeating: 0, count: 1024)
    }

    mutating func build() -> ZoneTables {
        scratch.assign(apex)
        _ = node(at: 0)
        // Which node each record belongs to; records of one owner mostly stand together.
        var owners = [UInt32](repeating: Zone.none, count: records.entries.count)
        var lastOwner = UInt32.max
        var lastNode = Zone.none
        for (number, entry) in records.entries.enumerated() {
            if number == 0 || entry.owner != lastOwner {
                lastOwner = entry.owner
                let length = records.bytes.withUnsafeBytes {
                    scratch.assign(
                        uncompressed: UnsafeRawBufferPointer(
                            rebasing: $0[Int(entry.owner)..<(Int(entry.owner) + Int(entry.ownerLength))]))
                }
                let depth = scratch.labelCount - apex.labelCount
                let inZone =
                    length > 0 && depth >= 0
                    && apex.wire.withUnsafeBytes {
                        scratch.suffixEquals(depth, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
                    }
                lastNode = inZone ? insertWithAncestors(depth: depth) : Zone.none
            }
            owners[number] = lastNode
        }
        let (rrsets, kept) = groupIntoRRsets(owners)
        markBoundaries(rrsets)
        let view = makeView(rrsets, kept)
        var proofs = ProofTables()
        proofs.collect(view)
        return ZoneTables(
            view: view, nsecNodes: proofs.nsecNodes, nsec3: proofs.nsec3, nsec3Parameters: proofs.parameters)
    }

    // MARK: Names

    private mutating func insertWithAncestors(depth: Int) -> UInt32 {
        if let existing = find(at: 0) { return existing }
        var parent = UInt32(0)
        // From the apex down, so that a parent always has the smaller number.
        for label in stride(from: depth - 1, through: 0, by: -1) {
            let known = find(at: label)
            let number = known ?? node(at: label)
            if known == nil { parents[Int(number)] = parent }
            parent = number
        }
        return parent
    }

    private func find(at label: Int) -> UInt32? {
        let tag = scratch.hash(at: label) >> 32
        var slot = tag & indexMask
        while index[Int(slot)] != 0 {
            let value = index[Int(slot)]
            if value >> 32 == tag {
                let number = UInt32(truncatingIfNeeded: value) &- 1
                let node = nodes[Int(number)]
                let same = names.withUnsafeBytes {
                    scratch.suffixEquals(
                        label, $0.baseAddress.unsafelyUnwrapped + Int(node.name), length: Int(node.nameLength))
                }
                if same { return number }
            }
            slot = (slot + 1) & indexMask
        }
        return nil
    }

    private mutating func node(at label: Int) -> UInt32 {
        let number = UInt32(nodes.count)
        let suffix = scratch.suffix(at: label)
        nodes.append(
            Zone.Node(
                name: UInt32(names.count), rrsets: 0, boundaryAbove: Zone.none, rrsetCount: 0,
                nameLength: UInt8(suffix.count), flags: []))
        parents.append(Zone.none)
        names += suffix
        if UInt64(nodes.count) * 4 > (indexMask + 1) * 3 { growIndex() }
        insert(tag: scratch.hash(at: label) >> 32, number)
        return number
    }

    private mutating func insert(tag: UInt64, _ number: UInt32) {
        var slot = tag & indexMask
        while index[Int(slot)] != 0 { slot = (slot + 1) & indexMask }
        index[Int(slot)] = tag << 32 | UInt64(number + 1)
    }

    private mutating func growIndex() {
        let old = index
        indexMask = UInt64(old.count * 2 - 1)
        index = [UInt64](repeating: 0, count: old.count * 2)
        for value in old where value != 0 { insert(tag: value >> 32, UInt32(truncatingIfNeeded: value) &- 1) }
    }

    // MARK: RRsets

    /// Sorts records by node and type, file order kept, and drops the second of two that are the same (RFC 2181 5).
    private mutating func groupIntoRRsets(_ owners: [UInt32]) -> (rrsets: [Zone.RRset], kept: [Zone.Record]) {
        // Counting sort by node: linear, and stable.
        var starts = [UInt32](repeating: 0, count: nodes.count + 1)
        for owner in owners where owner != Zone.none { starts[Int(owner) + 1] += 1 }
        for node in 0..<nodes.count { starts[node + 1] += starts[node] }
        var order = [UInt32](repeating: 0, count: Int(starts[nodes.count]))
        var next = starts
        for (number, owner) in owners.enumerated() where owner != Zone.none {
            order[Int(next[Int(owner)])] = UInt32(number)
            next[Int(owner)] += 1
        }
        var rrsets: [Zone.RRset] = []
        var kept: [Zone.Record] = []
        kept.reserveCapacity(order.count)
        for node in nodes.indices {
            let range = Int(starts[node])..<Int(starts[node + 1])
            guard !range.isEmpty else { continue }
            nodes[node].rrsets = UInt32(rrsets.count)
            var ordered = Array(order[range])
            if ordered.count > 1 {
                ordered.sort {
                    let a = records.entries[Int($0)].type.rawValue
                    let b = records.entries[Int($1)].type.rawValue
                    return a != b ? a < b : $0 < $1
                }
            }
            for number in ordered { appendRecord(number, node, &rrsets, &kept) }
            nodes[node].rrsetCount = UInt16(clamping: rrsets.count - Int(nodes[node].rrsets))
        }
        return (rrsets, kept)
    }

    private func appendRecord(
        _ number: UInt32, _ node: Int, _ rrsets: inout [Zone.RRset], _ kept: inout [Zone.Record]
    ) {
        let entry = records.entries[Int(number)]
        let record = Zone.Record(
            rdata: entry.rdata, target: Zone.none, rdataLength: entry.rdataLength, place: entry.place)
        if rrsets.count > Int(nodes[node].rrsets), rrsets[rrsets.count - 1].type == entry.type {
            let last = rrsets.count - 1
            rrsets[last].ttl = min(rrsets[last].ttl, entry.ttl)
            let start = Int(rrsets[last].records)
            // The reader has dropped duplicates; this bounds what a huge RRset may cost here.
            if kept.count - start <= 64 {
                let rdata = records.rdata(of: entry)
                for other in kept[start...] where other.rdataLength == entry.rdataLength {
                    let bytes = records.bytes[Int(other.rdata)..<(Int(other.rdata) + Int(other.rdataLength))]
                    if bytes.elementsEqual(rdata) { return }
                }
            }
            guard rrsets[last].recordCount < UInt16.max else { return }
            rrsets[last].recordCount += 1
        } else {
            rrsets.append(Zone.RRset(records: UInt32(kept.count), ttl: entry.ttl, type: entry.type, recordCount: 1))
        }
        kept.append(record)
    }

    // MARK: Zone cuts

    private mutating func markBoundaries(_ rrsets: [Zone.RRset]) {
        for node in nodes.indices {
            let range = Int(nodes[node].rrsets)..<(Int(nodes[node].rrsets) + Int(nodes[node].rrsetCount))
            for set in rrsets[range] {
                switch set.type {
                // NS at a wildcard has no meaning as a cut (RFC 4592 4.2).
                case .ns where node != 0 && !isWildcard(node): nodes[node].flags.insert(.cut)
                case .dname: nodes[node].flags.insert(.dname)
                case .cname: nodes[node].flags.insert(.cname)
                default: break
                }
            }
            let parent = parents[node]
            guard parent != Zone.none else { continue }
            // Parents come first, so theirs is known.
            let above = nodes[Int(parent)]
            if above.boundaryAbove != Zone.none {
                nodes[node].boundaryAbove = above.boundaryAbove
            } else if !above.flags.isDisjoint(with: [.cut, .dname]) {
                nodes[node].boundaryAbove = parent
            }
        }
    }

    private func isWildcard(_ node: Int) -> Bool {
        let start = Int(nodes[node].name)
        return nodes[node].nameLength > 2 && names[start] == 1 && names[start + 1] == UInt8(ascii: "*")
    }

    // MARK: Memory

    private mutating func makeView(_ rrsets: [Zone.RRset], _ kept: [Zone.Record]) -> ZoneView {
        var view = ZoneView(
            nodes: Self.copy(nodes), nodeCount: nodes.count, rrsets: Self.copy(rrsets), rrsetCount: rrsets.count,
            records: Self.copy(kept), recordCount: kept.count, names: Self.copyBytes(names),
            bytes: Self.copyBytes(records.bytes), index: Self.copy(index), indexMask: indexMask)
        resolveTargets(&view)
        return view
    }

    /// Looks up once what NS, MX, SRV, SVCB and HTTPS point to, so that additional records cost no search.
    private mutating func resolveTargets(_ view: inout ZoneView) {
        for number in 0..<view.rrsetCount {
            let set = view.rrsets[number]
            let before: Int
            switch set.type {
            case .ns: before = 0
            case .mx, .svcb, .https: before = 2
            case .srv: before = 6
            default: continue
            }
            for record in Int(set.records)..<(Int(set.records) + Int(set.recordCount)) {
                let rdata = view.rdata(view.records[record])
                guard rdata.count > before,
                    scratch.assign(uncompressed: UnsafeRawBufferPointer(rebasing: rdata[before...])) > 1
                else { continue }
                if let target = view.probe(scratch, at: 0) { view.records[record].target = target }
            }
        }
    }

    private static func copy<T: BitwiseCopyable>(_ array: [T]) -> UnsafeMutablePointer<T> {
        let memory = UnsafeMutablePointer<T>.allocate(capacity: max(array.count, 1))
        array.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { memory.initialize(from: base, count: array.count) }
        }
        return memory
    }

    private static func copyBytes(_ array: [UInt8]) -> UnsafeMutableRawPointer {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(array.count, 8), alignment: 8)
        array.withUnsafeBytes { source in
            if let base = source.baseAddress { memory.copyMemory(from: base, byteCount: array.count) }
        }
        return memory
    }
}
