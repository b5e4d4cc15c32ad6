public import DNSWire
public import Platform

/// The records that were read for one zone, in file order: bytes in one arena, no object per record.
///
/// What `ZoneReader` hands to `Zone`. A million records are a normal day.
public struct ZoneRecords: Sendable {
    /// One record; its owner and RDATA are byte ranges of `bytes`.
    public struct Entry: Sendable, BitwiseCopyable {
        /// Where the owner name's wire form starts (uncompressed, case preserved); records of one owner may share it.
        public var owner: UInt32
        public var ownerLength: UInt8
        public var type: RecordType
        /// Seconds.
        public var ttl: UInt32
        /// Where the RDATA starts: wire form, names in it uncompressed.
        public var rdata: UInt32
        public var rdataLength: UInt16
        public var place: Place
    }

    public private(set) var bytes: [UInt8] = []
    public private(set) var entries: [Entry] = []

    public init() {}

    /// Appends one record; false, and nothing changed, when the arena would outgrow its 32-bit offsets.
    @discardableResult
    public mutating func append(
        owner: some Collection<UInt8>, type: RecordType, ttl: UInt32, rdata: some Collection<UInt8>, place: Place
    ) -> Bool {
        guard bytes.count + owner.count + rdata.count <= Int(UInt32.max) else { return false }
        var ownerStart = UInt32(bytes.count)
        if let last = entries.last, last.ownerLength == owner.count, self.owner(of: last).elementsEqual(owner) {
            ownerStart = last.owner
        } else {
            bytes += owner
        }
        let rdataStart = UInt32(bytes.count)
        bytes += rdata
        entries.append(
            Entry(
                owner: ownerStart, ownerLength: UInt8(owner.count), type: type, ttl: ttl, rdata: rdataStart,
                rdataLength: UInt16(rdata.count), place: place))
        return true
    }

    mutating func reserveCapacity(bytes byteCount: Int, entries entryCount: Int) {
        bytes.reserveCapacity(byteCount)
        entries.reserveCapacity(entryCount)
    }

    /// Drops the entries whose index is in `dropped`, which is sorted; their bytes stay where they are.
    mutating func remove(_ dropped: [Int]) {
        guard var to = dropped.first else { return }
        var next = 0
        for from in to..<entries.count {
            if next < dropped.count, dropped[next] == from {
                next += 1
            } else {
                entries[to] = entries[from]
                to += 1
            }
        }
        entries.removeLast(entries.count - to)
    }

    mutating func setTTL(_ ttl: UInt32, at index: Int) { entries[index].ttl = ttl }

    public func owner(of entry: Entry) -> ArraySlice<UInt8> {
        bytes[Int(entry.owner)..<(Int(entry.owner) + Int(entry.ownerLength))]
    }

    public func rdata(of entry: Entry) -> ArraySlice<UInt8> {
        bytes[Int(entry.rdata)..<(Int(entry.rdata) + Int(entry.rdataLength))]
    }
}
