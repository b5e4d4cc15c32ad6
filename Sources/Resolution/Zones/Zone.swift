public import DNSWire

/// One zone, compiled: immutable tables of plain structs over one arena of bytes, no object per name.
///
/// `ZoneBuilder` makes it from what `ZoneReader` read; `ZoneLookup` answers from it.
public final class Zone: Sendable {
    /// An owner name or empty non-terminal.
    struct Node: BitwiseCopyable {
        /// The folded wire form, in `names`.
        var name: UInt32
        var rrsets: UInt32
        /// The topmost zone cut or DNAME strictly above this name, or `none`.
        var boundaryAbove: UInt32
        var rrsetCount: UInt16
        var nameLength: UInt8
        var flags: Flags

        struct Flags: OptionSet, BitwiseCopyable {
            let rawValue: UInt8
            /// NS below the apex: what is here and below belongs to another zone.
            static let cut = Flags(rawValue: 1)
            static let dname = Flags(rawValue: 2)
            static let cname = Flags(rawValue: 4)
        }
    }

    /// All records of one name and type.
    struct RRset: BitwiseCopyable {
        var records: UInt32
        /// Seconds; the lowest of its records (RFC 2181 5.2).
        var ttl: UInt32
        var type: RecordType
        var recordCount: UInt16
    }

    struct Record: BitwiseCopyable {
        /// The RDATA, in `bytes`.
        var rdata: UInt32
        /// The node that NS, MX, SRV, SVCB or HTTPS points to, where it is in this zone; else `none`.
        var target: UInt32
        var rdataLength: UInt16
        var place: Place
    }

    static let none = UInt32.max

    public let apex: Name
    /// The file it was read from.
    public let path: String
    public let recordCount: Int
    public var serial: UInt32 {
        soa.map { $0.rdata.withUnsafeBytes { $0.baseAddress.unsafelyUnwrapped.readUInt32($0.count - 20) } } ?? 0
    }

    let tables: ZoneTables
    /// RDATA of the SOA, its TTL in negative answers (RFC 2308 5), and its line.
    let soa: (rdata: [UInt8], negativeTTL: UInt32, place: Place)?

    /// Compiles records that `ZoneReader` found loadable.
    public init(apex: Name, records: consuming ZoneRecords, path: String) {
        self.apex = Name(uncheckedWire: apex.canonicalWire)
        self.path = path
        recordCount = records.entries.count
        var builder = ZoneBuilder(apex: self.apex, records: records)
        tables = builder.build()
        soa = tables.negativeSOA()
    }
}

/// The memory of a zone: what the fast lane sees of it. The `Zone` keeps it alive.
final class ZoneTables: Sendable {
    let view: ZoneView
    // Sorted for denial of existence; empty in unsigned zones.
    let nsecNodes: [UInt32]
    let nsec3: [ZoneProofs.HashedName]
    let nsec3Parameters: ZoneProofs.Parameters?

    init(
        view: ZoneView, nsecNodes: [UInt32], nsec3: [ZoneProofs.HashedName],
        nsec3Parameters: ZoneProofs.Parameters?
    ) {
        self.view = view
        self.nsecNodes = nsecNodes
        self.nsec3 = nsec3
        self.nsec3Parameters = nsec3Parameters
    }

    deinit { view.deallocate() }

    func negativeSOA() -> (rdata: [UInt8], negativeTTL: UInt32, place: Place)? {
        guard let set = view.rrset(view.nodes[0], .soa) else { return nil }
        let record = view.records[Int(set.records)]
        let rdata = Array(view.rdata(record))
        guard rdata.count >= 22 else { return nil }
        let minimum = rdata.withUnsafeBytes { $0.baseAddress.unsafelyUnwrapped.readUInt32($0.count - 4) }
        return (rdata, min(set.ttl, minimum), record.place)
    }
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
    var names: UnsafeMutableRawPointer
    var bytes: UnsafeMutableRawPointer
    /// Upper half: tag of the hash; lower half: node + 1.
    var index: UnsafeMutablePointer<UInt64>
    var indexMask: UInt64

    func deallocate() {
        nodes.deallocate()
        rrsets.deallocate()
        records.deallocate()
        names.deallocate()
        bytes.deallocate()
        index.deallocate()
    }

    func name(_ node: Zone.Node) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: names + Int(node.name), count: Int(node.nameLength))
    }

    func rdata(_ record: Zone.Record) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + Int(record.rdata), count: Int(record.rdataLength))
    }

    /// The node whose name is the suffix of `name` from label `label` on, or its wildcard.
    func probe(_ name: borrowing LookupName, at label: Int) -> UInt32? {
        let tag = name.hash(at: label) >> 32
        var slot = tag & indexMask
        while index[Int(slot)] != 0 {
            let value = index[Int(slot)]
            if value >> 32 == tag {
                let number = UInt32(truncatingIfNeeded: value) &- 1
                let node = nodes[Int(number)]
                if name.suffixEquals(label, names + Int(node.name), length: Int(node.nameLength)) { return number }
            }
            slot = (slot + 1) & indexMask
        }
        return nil
    }

    func probeWildcard(_ name: borrowing LookupName, at label: Int) -> UInt32? {
        let tag = name.wildcardHash(at: label) >> 32
        var slot = tag & indexMask
        while index[Int(slot)] != 0 {
            let value = index[Int(slot)]
            if value >> 32 == tag {
                let number = UInt32(truncatingIfNeeded: value) &- 1
                let node = nodes[Int(number)]
                let wire = names + Int(node.name)
                if node.nameLength > 2, wire.load(as: UInt8.self) == 1,
                    wire.load(fromByteOffset: 1, as: UInt8.self) == UInt8(ascii: "*"),
                    name.suffixEquals(label, wire + 2, length: Int(node.nameLength) - 2)
                {
                    return number
                }
            }
            slot = (slot + 1) & indexMask
        }
        return nil
    }

    func rrset(_ node: Zone.Node, _ type: RecordType) -> Zone.RRset? {
        for index in 0..<Int(node.rrsetCount) {
            let set = rrsets[Int(node.rrsets) + index]
            if set.type == type { return set }
        }
        return nil
    }
}
