public import DNSWire
public import Platform

/// The records read for one zone, in file order: bytes in one arena, no object per record.
///
/// `ZoneReader` passes it to `Zone`. It may hold a million records.
public struct ZoneRecords: Sendable {
    /// One record; its owner and RDATA are byte ranges of `bytes`.
    public struct Entry: Sendable, BitwiseCopyable {
        /// Offset of the owner name's wire form (uncompressed, case preserved); records of one owner name may share it.
        public var owner: UInt32
        public var ownerLength: UInt8
        public var type: RecordType
        /// Seconds.
        public var ttl: UInt32
        /// Offset of the RDATA: wire form, with uncompressed names.
        public var rdata: UInt32
        public var rdataLength: UInt16
        public var place: Place
    }

    public private(set) var bytes: [UInt8] = []
    public private(set) var entries: [Entry] = []

    public init() {}

    /// Appends one record; returns false, changing nothing, if the arena would outgrow 32-bit offsets.
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

    /// Removes the entries at the sorted indices in `dropped`; their bytes stay in the arena.
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
