import CLinux
public import DNSWire
import Platform

/// One zone, compiled: immutable tables of plain structs over one byte arena, no object per name.
///
/// `ZoneBuilder` builds it from the records of `ZoneReader`; `ZoneLookup` answers from it.
public final class Zone: Sendable {
    /// An owner name or empty non-terminal.
    struct Node: BitwiseCopyable {
        /// Offset of the folded wire form in `bytes`. An ancestor's name is a suffix of its descendant's.
        var name: UInt32
        var rrsets: UInt32
        /// The topmost zone cut or DNAME strictly above this name, or `none`.
        var boundaryAbove: UInt32
        var rrsetCount: UInt16
        var nameLength: UInt8
        var flags: Flags

        /// Whether the leftmost label is `*`.
        func isWildcard(in bytes: UnsafeMutableRawPointer) -> Bool {
            let wire = UnsafeRawPointer(bytes + Int(name))
            return nameLength > 2 && wire.readByte(0) == 1 && wire.readByte(1) == UInt8(ascii: "*")
        }

        struct Flags: OptionSet, BitwiseCopyable {
            let rawValue: UInt8
            /// A zone cut: NS below the apex. The name and those below it belong to another zone.
            static let cut = Flags(rawValue: 1)
            static let dname = Flags(rawValue: 2)
            static let cname = Flags(rawValue: 4)
            /// Owns only an NSEC3 record and its signatures: not a name of the zone (RFC 5155 7.2.8).
            static let hashed = Flags(rawValue: 8)
        }
    }

    /// All records of one name and type.
    struct RRset: BitwiseCopyable {
        var records: UInt32
        /// Seconds; the lowest TTL of its records (RFC 2181 5.2).
        var ttl: UInt32
        var type: RecordType
        var recordCount: UInt16
    }

    struct Record: BitwiseCopyable {
        /// Offset of the RDATA in `bytes`.
        var rdata: UInt32
        /// The node that NS, MX, SRV, SVCB or HTTPS points to, if it is in this zone; else `none`.
        var target: UInt32
        var rdataLength: UInt16
        var place: Place
    }

    static let none = UInt32.max

    public let apex: Name
    /// The file it was read from.
    public let path: String
    /// As read, duplicates included.
    public let recordCount: Int
    /// When it was compiled: microseconds since 1970.
    public let loaded: UInt64
    /// The serial of the SOA; 0 without one.
    public var serial: UInt32 { view.soaData.map { $0.baseAddress.unsafelyUnwrapped.readUInt32($0.count - 20) } ?? 0 }

    /// The fast lane's view of the zone; `self` keeps its memory alive.
    let view: ZoneView

    /// Compiles records that `ZoneReader` found loadable.
    public init(apex: Name, records: consuming ZoneRecords, path: String) {
        self.apex = Name(uncheckedWire: apex.canonicalWire)
        self.path = path
        recordCount = records.entries.count
        loaded = SystemClock.wall()
        var builder = ZoneBuilder(apex: self.apex, records: records)
        view = builder.build()
    }

    deinit { view.deallocate() }
}

/// Plain pointers into a zone's tables. Node 0 is the apex.
///
/// `@unchecked`: the memory is written by `ZoneBuilder` before the view is handed out, and never after.
struct ZoneView: @unchecked Sendable, BitwiseCopyable {
    var nodes: UnsafeMutablePointer<Zone.Node>
    var nodeCount: Int
    var rrsets: UnsafeMutablePointer<Zone.RRset>
    var rrsetCount: Int
    var records: UnsafeMutablePointer<Zone.Record>
    var recordCount: Int
    /// Owner names, folded, and RDATA.
    var bytes: UnsafeMutableRawPointer
    /// Numbers of nodes by their names.
    var index: HashIndex
    /// Index of the apex's SOA in `records`, or `none`; and its TTL in negative answers (RFC 2308 5).
    var soa = Zone.none
    var negativeTTL: UInt32 = 0
    /// The denial records; empty in unsigned zones.
    var denial = ZoneDenial()

    func deallocate() {
        nodes.deallocate()
        rrsets.deallocate()
        records.deallocate()
        bytes.deallocate()
        index.deallocate()
        denial.deallocate()
    }

    func name(_ node: Zone.Node) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + Int(node.name), count: Int(node.nameLength))
    }

    func rdata(_ record: Zone.Record) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + Int(record.rdata), count: Int(record.rdataLength))
    }

    /// The SOA's RDATA: at least two root names and five numbers long.
    var soaData: UnsafeRawBufferPointer? { soa == Zone.none ? nil : rdata(records[Int(soa)]) }

    /// Whether the zone file has signatures.
    var isSigned: Bool { rrset(nodes[0], .rrsig) != nil }

    /// Prefetches the memory that a lookup of the whole name will read, one dependent access per `step`, from 0 on.
    func prefetch(_ name: borrowing LookupName, step: Int) {
        let tag = UInt32(truncatingIfNeeded: name.hash >> 32)
        let slot = index.start(tag)
        if step == 0 { return clinux_prefetch(slot) }
        guard let number = HashIndex.number(in: slot.pointee, tag) else { return }
        let node = nodes + Int(number)
        if step == 1 { return clinux_prefetch(node) }
        let set = rrsets + Int(node.pointee.rrsets)
        if step == 2 {
            clinux_prefetch(bytes + Int(node.pointee.name))
            clinux_prefetch(set)
        } else if node.pointee.rrsetCount > 0 {
            clinux_prefetch(records + Int(set.pointee.records))
        }
    }

    /// The node whose name is the suffix of `name` from label `label` on.
    func probe(_ name: borrowing LookupName, at label: Int) -> UInt32? {
        let found = index.find(UInt32(truncatingIfNeeded: name.hash(at: label) >> 32)) { number in
            let node = nodes + Int(number)
            return name.suffixEquals(label, bytes + Int(node.pointee.name), length: Int(node.pointee.nameLength))
        }
        guard let found, !nodes[Int(found)].flags.contains(.hashed) else { return nil }
        return found
    }

    /// The node whose name is `*.` plus the suffix of `name` from label `label` on.
    func probeWildcard(_ name: borrowing LookupName, at label: Int) -> UInt32? {
        index.find(UInt32(truncatingIfNeeded: name.wildcardHash(at: label) >> 32)) { number in
            let node = nodes[Int(number)]
            return node.isWildcard(in: bytes)
                && name.suffixEquals(label, bytes + Int(node.name) + 2, length: Int(node.nameLength) - 2)
        }
    }

    func rrset(_ node: Zone.Node, _ type: RecordType) -> Zone.RRset? {
        for index in 0..<Int(node.rrsetCount) {
            let set = rrsets[Int(node.rrsets) + index]
            if set.type == type { return set }
        }
        return nil
    }

    /// The TTL of one record: its RRset's; for a signature, that of the covered RRset (RFC 4034 3).
    func ttl(_ record: Zone.Record, of set: Zone.RRset, at node: Zone.Node) -> UInt32 {
        guard set.type == .rrsig, record.rdataLength > 18 else { return set.ttl }
        let covered = RecordType(rawValue: rdata(record).baseAddress.unsafelyUnwrapped.readUInt16(0))
        return rrset(node, covered)?.ttl ?? set.ttl
    }
}
