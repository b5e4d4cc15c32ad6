import DNSWire
import Platform

/// Compiles the records of a zone into its tables.
///
/// Linear, except for sorting RRsets and denial records; arrays of plain structs, no object per name.
struct ZoneBuilder: ~Copyable {
    private let apex: Name
    private let records: ZoneRecords
    /// The bytes of `records`, owner names folded in place, followed by the apex. The view takes them over.
    private let bytes: UnsafeMutableRawPointer
    private var nodes: [Zone.Node] = []
    private var parents: [UInt32] = []
    private var rrsets: [Zone.RRset] = []
    private var kept: [Zone.Record] = []
    private var index = HashIndex(slots: 16)
    private var scratch = LookupName()

    init(apex: Name, records: ZoneRecords) {
        self.apex = apex
        self.records = records
        let count = records.bytes.count
        // Eight spare bytes: names are compared and hashed a word at a time.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: count + apex.wire.count + 8, alignment: 8)
        copy.copyBytes(from: records.bytes)
        UnsafeMutableRawBufferPointer(rebasing: copy[count...]).copyBytes(from: apex.wire)
        bytes = copy.baseAddress.unsafelyUnwrapped
    }

    /// Call it once: the view takes over the memory.
    mutating func build() -> ZoneView {
        var owners = addNames()
        groupIntoRRsets(owners)
        owners = []
        markBoundaries()
        var view = ZoneView(
            nodes: Self.copy(nodes), nodeCount: nodes.count, rrsets: Self.copy(rrsets), rrsetCount: rrsets.count,
            records: Self.copy(kept), recordCount: kept.count, bytes: bytes, index: index)
        resolveTargets(&view)
        if let set = view.rrset(view.nodes[0], .soa), view.records[Int(set.records)].rdataLength >= 22 {
            view.soa = set.records
            let rdata = view.rdata(view.records[Int(set.records)])
            let minimum = rdata.baseAddress.unsafelyUnwrapped.readUInt32(rdata.count - 4)
            view.negativeTTL = min(set.ttl, minimum)
        }
        view.denial = ZoneDenial(of: view)
        return view
    }

    // MARK: Names

    /// Makes the nodes; returns each record's node. Records of one owner name are mostly adjacent.
    private mutating func addNames() -> [UInt32] {
        scratch.assign(apex)
        _ = addNode(at: 0, start: UInt32(records.bytes.count))
        var owners = [UInt32](repeating: Zone.none, count: records.entries.count)
        var lastOwner = UInt32.max
        var lastNode = Zone.none
        for (number, entry) in records.entries.enumerated() {
            if number == 0 || entry.owner != lastOwner {
                lastOwner = entry.owner
                lastNode = nodeOfOwner(entry)
            }
            owners[number] = lastNode
        }
        return owners
    }

    private mutating func nodeOfOwner(_ entry: ZoneRecords.Entry) -> UInt32 {
        let owner = UnsafeRawBufferPointer(start: bytes + Int(entry.owner), count: Int(entry.ownerLength))
        guard scratch.assign(uncompressed: owner) == owner.count else { return Zone.none }
        let depth = scratch.labelCount - apex.labelCount
        let isInZone =
            depth >= 0
            && scratch.suffixEquals(depth, bytes + records.bytes.count, length: apex.wire.count)
        guard isInZone else { return Zone.none }
        if let known = find(at: 0) { return known }
        (bytes + Int(entry.owner)).copyMemory(from: scratch.bytes, byteCount: owner.count)
        // From the apex down, so that a parent always has the smaller number.
        var parent = UInt32(0)
        for label in stride(from: depth - 1, through: 0, by: -1) {
            if let known = find(at: label) {
                parent = known
            } else {
                let number = addNode(at: label, start: entry.owner + UInt32(scratch.offset(at: label)))
                parents[Int(number)] = parent
                parent = number
            }
        }
        return parent
    }

    private func find(at label: Int) -> UInt32? {
        index.find(UInt32(truncatingIfNeeded: scratch.hash(at: label) >> 32)) { number in
            let node = nodes[Int(number)]
            return scratch.suffixEquals(label, bytes + Int(node.name), length: Int(node.nameLength))
        }
    }

    private mutating func addNode(at label: Int, start: UInt32) -> UInt32 {
        let number = UInt32(nodes.count)
        nodes.append(
            Zone.Node(
                name: start, rrsets: 0, boundaryAbove: Zone.none, rrsetCount: 0,
                nameLength: UInt8(scratch.length - scratch.offset(at: label)), flags: []))
        parents.append(Zone.none)
        // At most two thirds full, so that a failing search ends soon.
        if nodes.count * 3 > index.capacity * 2 { index = index.resized(slots: index.capacity * 2) }
        index.insert(UInt32(truncatingIfNeeded: scratch.hash(at: label) >> 32), number)
        return number
    }

    // MARK: RRsets

    /// Sorts records by node and type in file order, and drops duplicates (RFC 2181 5).
    private mutating func groupIntoRRsets(_ owners: [UInt32]) {
        // Counting sort by node: linear and stable. Afterwards `ends[n]` is the end of node n's records.
        var ends = [UInt32](repeating: 0, count: nodes.count + 1)
        for owner in owners where owner != Zone.none { ends[Int(owner) + 1] += 1 }
        for node in 0..<nodes.count { ends[node + 1] += ends[node] }
        var order = [UInt32](repeating: 0, count: Int(ends[nodes.count]))
        for (number, owner) in owners.enumerated() where owner != Zone.none {
            order[Int(ends[Int(owner)])] = UInt32(number)
            ends[Int(owner)] += 1
        }
        kept.reserveCapacity(order.count)
        rrsets.reserveCapacity(order.count)
        order.withUnsafeMutableBufferPointer { order in
            var start = 0
            for node in nodes.indices {
                let end = Int(ends[node])
                defer { start = end }
                nodes[node].rrsets = UInt32(rrsets.count)
                if end - start > 1 {
                    var some = UnsafeMutableBufferPointer(rebasing: order[start..<end])
                    some.sort {
                        let a = records.entries[Int($0)].type.rawValue
                        let b = records.entries[Int($1)].type.rawValue
                        return a != b ? a < b : $0 < $1
                    }
                }
                for position in start..<end { appendRecord(records.entries[Int(order[position])], node) }
                nodes[node].rrsetCount = UInt16(clamping: rrsets.count - Int(nodes[node].rrsets))
            }
        }
    }

    private mutating func appendRecord(_ entry: ZoneRecords.Entry, _ node: Int) {
        let record = Zone.Record(
            rdata: entry.rdata, target: Zone.none, rdataLength: entry.rdataLength, place: entry.place)
        let rdata = UnsafeRawBufferPointer(start: bytes + Int(entry.rdata), count: Int(entry.rdataLength))
        // The reader guarantees this; the lookup follows these names without checking their end.
        if entry.type == .cname || entry.type == .dname {
            guard scratch.assign(uncompressed: rdata) == rdata.count else { return }
        }
        guard rrsets.count > Int(nodes[node].rrsets), rrsets[rrsets.count - 1].type == entry.type else {
            rrsets.append(Zone.RRset(records: UInt32(kept.count), ttl: entry.ttl, type: entry.type, recordCount: 1))
            kept.append(record)
            return
        }
        let last = rrsets.count - 1
        rrsets[last].ttl = min(rrsets[last].ttl, entry.ttl)
        let start = Int(rrsets[last].records)
        // The reader has dropped duplicates; the limit bounds the cost of a huge RRset.
        if kept.count - start <= 64 {
            for other in kept[start...] where other.rdataLength == entry.rdataLength {
                let bytes = UnsafeRawBufferPointer(start: bytes + Int(other.rdata), count: rdata.count)
                if bytes.elementsEqual(rdata) { return }
            }
        }
        guard rrsets[last].recordCount < UInt16.max else { return }
        rrsets[last].recordCount += 1
        kept.append(record)
    }

    // MARK: Zone cuts

    private mutating func markBoundaries() {
        var hasChildren = [Bool](repeating: false, count: nodes.count)
        for parent in parents where parent != Zone.none { hasChildren[Int(parent)] = true }
        for node in nodes.indices {
            let range = Int(nodes[node].rrsets)..<(Int(nodes[node].rrsets) + Int(nodes[node].rrsetCount))
            var hasNSEC3 = false
            var hasOther = false
            for set in rrsets[range] {
                switch set.type {
                // NS at a wildcard has no meaning as a cut (RFC 4592 4.2).
                case .ns where node != 0 && !nodes[node].isWildcard(in: bytes): nodes[node].flags.insert(.cut)
                case .dname: nodes[node].flags.insert(.dname)
                case .cname: nodes[node].flags.insert(.cname)
                default: break
                }
                hasNSEC3 = hasNSEC3 || set.type == .nsec3
                hasOther = hasOther || (set.type != .nsec3 && set.type != .rrsig)
            }
            if node != 0, hasNSEC3, !hasOther, !hasChildren[node] { nodes[node].flags.insert(.hashed) }
            let parent = parents[node]
            guard parent != Zone.none else { continue }
            // A parent has a smaller number, so its boundary is already known.
            let above = nodes[Int(parent)]
            if above.boundaryAbove != Zone.none {
                nodes[node].boundaryAbove = above.boundaryAbove
            } else if !above.flags.isDisjoint(with: [.cut, .dname]) {
                nodes[node].boundaryAbove = parent
            }
        }
    }

    // MARK: Targets

    /// Resolves the targets of NS, MX, SRV, SVCB and HTTPS once, so that additional records cost no search.
    private mutating func resolveTargets(_ view: inout ZoneView) {
        for number in 0..<view.nodeCount {
            let node = view.nodes[number]
            for set in Int(node.rrsets)..<(Int(node.rrsets) + Int(node.rrsetCount)) {
                let set = view.rrsets[set]
                let before: Int
                switch set.type {
                case .ns: before = 0
                case .mx, .svcb, .https: before = 2
                case .srv: before = 6
                default: continue
                }
                for record in Int(set.records)..<(Int(set.records) + Int(set.recordCount)) {
                    let rdata = view.rdata(view.records[record])
                    guard rdata.count > before else { continue }
                    let length = scratch.assign(uncompressed: UnsafeRawBufferPointer(rebasing: rdata[before...]))
                    if length > 1, let target = view.probe(scratch, at: 0) {
                        let found = view.nodes[Int(target)]
                        // At or below a zone cut, addresses are not our data and serve only as glue.
                        let isOurs = found.boundaryAbove == Zone.none && !found.flags.contains(.cut)
                        if set.type == .ns || isOurs { view.records[record].target = target }
                    } else if length == 1, set.type == .svcb || set.type == .https, !node.isWildcard(in: bytes),
                        rdata[0] != 0 || rdata[1] != 0
                    {
                        // In ServiceMode, "." means the owner name (RFC 9460 2.5.2).
                        view.records[record].target = UInt32(number)
                    }
                }
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
}
