public import DNSWire
public import Lookup
public import Platform

/// All loaded zones. The zone with the longest matching apex answers. Immutable.
public final class ZoneSet: Sendable {
    public let zones: [Zone]
    /// What a lookup reads instead of `zones`: going through the zone objects would count references.
    private let apexes: ApexIndex

    public static let empty = ZoneSet([])

    public init(_ zones: [Zone]) {
        self.zones = zones
        apexes = ApexIndex(zones)
    }

    deinit { apexes.deallocate() }

    public var isEmpty: Bool { zones.isEmpty }

    /// Answers for the lookup's current name, without following aliases. Passes below a zone cut if the query may be
    /// forwarded.
    public func answer(_ lookup: inout Lookup) -> Outcome {
        guard var found = apexes.find(lookup.name) else { return .pass }
        // DS at an apex belongs to the parent, if that zone is local too (RFC 4035 3.1.4.1).
        if lookup.question.type == .ds, found.label == 0, let parent = apexes.find(lookup.name, from: 1) {
            found = parent
        }
        return ZoneLookup(
            view: apexes.views[found.zone], apexLabel: found.label, nameOffset: lookup.nameOffset,
            question: lookup.question
        ).answer(&lookup)
    }

    /// Prefetches the memory that a lookup of `name` will read, if zones are few; otherwise finding the zone costs a
    /// lookup.
    public func prefetch(_ name: borrowing LookupName, step: Int) {
        guard apexes.count <= 4 else { return }
        for zone in 0..<apexes.count { apexes.views[zone].prefetch(name, step: step) }
    }

    /// Writes the proof for a wildcard that answered for `name` in a chain, if one did.
    ///
    /// Call it when the chain is complete: answers come before proofs. Does nothing after additional records.
    /// - RFC: 4035 3.1.3.3; 5155 7.2.6.
    public func proveWildcard(_ name: borrowing LookupName, builder: inout ResponseBuilder) {
        guard builder.section != .additional, let found = apexes.find(name) else { return }
        let view = apexes.views[found.zone]
        let position = ZoneLookup.place(of: name, in: view, apexLabel: found.label)
        guard position.exact == nil, position.cut == nil, position.dname == nil,
            view.probeWildcard(name, at: position.encloserLabel) != nil
        else { return }
        ZoneProofs(view: view).noCloserMatch(name, position.encloserLabel, &builder)
    }

    /// Whether a zone answers for `name`: at or below an apex, and not below a zone cut.
    public func owns(_ name: borrowing LookupName) -> Bool {
        guard let found = apexes.find(name) else { return false }
        return ZoneLookup.place(of: name, in: apexes.views[found.zone], apexLabel: found.label).cut == nil
    }

    /// The zone whose apex is `name`.
    public func zone(apex name: borrowing LookupName) -> Zone? {
        guard let found = apexes.find(name), found.label == 0 else { return nil }
        return zones[found.zone]
    }

    public func zone(apex: Name) -> Zone? { zones.first { $0.apex == apex } }
}

/// The apexes of a set: a hash table over plain copies of the zones' views, whose memory the zones keep alive.
///
/// `@unchecked`: written once, before the set is shared.
private struct ApexIndex: @unchecked Sendable, BitwiseCopyable {
    let views: UnsafeMutablePointer<ZoneView>
    let count: Int
    private let index: HashIndex

    init(_ zones: [Zone]) {
        count = zones.count
        views = .allocate(capacity: max(count, 1))
        index = HashIndex(slots: max(16, count * 2))
        var name = LookupName()
        for (number, zone) in zones.enumerated() {
            (views + number).initialize(to: zone.view)
            name.assign(zone.apex)
            index.insert(UInt32(truncatingIfNeeded: name.hash >> 32), UInt32(number))
        }
    }

    func deallocate() {
        views.deallocate()
        index.deallocate()
    }

    /// The zone with the longest apex that is a suffix of `name` from label `first` on, and that apex's label.
    func find(_ name: borrowing LookupName, from first: Int = 0) -> (zone: Int, label: Int)? {
        guard count > 0, first <= name.labelCount else { return nil }
        for label in first...name.labelCount {
            let found = index.find(UInt32(truncatingIfNeeded: name.hash(at: label) >> 32)) { number in
                let view = views + Int(number)
                let apex = view.pointee.nodes[0]
                let wire = view.pointee.bytes + Int(apex.name)
                return name.suffixEquals(label, wire, length: Int(apex.nameLength))
            }
            if let found { return (Int(found), label) }
        }
        return nil
    }
}

/// For `why` and transfers: reading the records.
extension Zone {
    /// One record, for a transfer or for display.
    public struct RecordView: Sendable {
        public let owner: [UInt8]
        public let type: RecordType
        public let ttl: UInt32
        public let rdata: [UInt8]
        public let place: Place
    }

    /// A position among the zone's records; starts at the first one.
    public struct Cursor: Sendable {
        var node = 0
        var set = 0
        var record = 0
        public init() {}
    }

    /// Writes records from `cursor` on, without the SOA, after a question for the apex, until the message has `size`
    /// bytes or the next record does not fit. Returns whether the zone is complete.
    ///
    /// Owner names are compressed: only the labels before the apex are written, and only once per owner name.
    public func write(from cursor: inout Cursor, to size: Int, _ builder: inout ResponseBuilder) -> Bool {
        let apexLength = Int(view.nodes[0].nameLength)
        while cursor.node < view.nodeCount {
            let node = view.nodes[cursor.node]
            let name = UnsafeRawPointer(view.bytes + Int(node.name))
            var owner = ResponseBuilder.Owner.below(name, length: Int(node.nameLength) - apexLength, at: Header.length)
            while cursor.set < Int(node.rrsetCount) {
                let set = view.rrsets[Int(node.rrsets) + cursor.set]
                let count = set.type == .soa && cursor.node == 0 ? 0 : Int(set.recordCount)
                while cursor.record < count {
                    guard builder.length < size else { return false }
                    let start = builder.length
                    let record = view.records[Int(set.records) + cursor.record]
                    guard
                        builder.append(
                            owner: owner, type: set.type, ttl: view.ttl(record, of: set, at: node),
                            rdata: view.rdata(record))
                    else { return false }
                    owner = .at(builder.resolvePointer(at: start))
                    cursor.record += 1
                }
                cursor.set += 1
                cursor.record = 0
            }
            cursor.node += 1
            cursor.set = 0
        }
        return true
    }

    /// The SOA at the apex.
    public var soaRecord: RecordView? {
        guard let set = view.rrset(view.nodes[0], .soa) else { return nil }
        let record = view.records[Int(set.records)]
        return RecordView(
            owner: apex.wire, type: .soa, ttl: set.ttl, rdata: Array(view.rdata(record)), place: record.place)
    }

    /// The owners of CNAMEs, with their places and targets.
    public var aliases: [(owner: Name, place: Place, target: Name)] {
        (0..<view.nodeCount).compactMap { number in
            let node = view.nodes[number]
            guard node.flags.contains(.cname), let set = view.rrset(node, .cname) else { return nil }
            let record = view.records[Int(set.records)]
            return (
                Name(uncheckedWire: Array(view.name(node))), record.place,
                Name(uncheckedWire: Array(view.rdata(record)))
            )
        }
    }

    /// All records at exactly `name`.
    public func records(at name: Name) -> [RecordView] {
        var lookup = LookupName()
        lookup.assign(name)
        guard name.isAtOrBelow(apex), let number = view.probe(lookup, at: 0) else { return [] }
        var result: [RecordView] = []
        let node = view.nodes[Int(number)]
        for set in 0..<Int(node.rrsetCount) {
            let set = view.rrsets[Int(node.rrsets) + set]
            for index in 0..<Int(set.recordCount) {
                let record = view.records[Int(set.records) + index]
                result.append(
                    RecordView(
                        owner: Array(view.name(node)), type: set.type, ttl: view.ttl(record, of: set, at: node),
                        rdata: Array(view.rdata(record)), place: record.place))
            }
        }
        return result
    }
}
