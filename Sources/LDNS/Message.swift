internal import CLdns
public import DNSWire
internal import Glibc

/// One DNS message, parsed by libldns.
///
/// Only for bytes that have passed our own strict walk: libldns follows pointers forwards, accepts several OPT records,
/// and leaks memory on a second TSIG.
/// - RFC: 1035 4.1.
public struct Message: ~Copyable {
    private let packet: UnsafeMutablePointer<ldns_pkt>

    /// The sections that hold records.
    public enum Section: Sendable, CaseIterable {
        case answer, authority, additional
    }

    /// One record; its RDATA is uncompressed.
    public struct Record: Hashable, Sendable {
        public let owner: Name
        public let type: RecordType
        public let recordClass: RecordClass
        /// Seconds.
        public let ttl: UInt32
        public let rdata: [UInt8]
    }

    /// Reads a message.
    public init(wire: [UInt8]) throws(LibraryError) {
        var packet: UnsafeMutablePointer<ldns_pkt>?
        try LibraryError.check(ldns_wire2pkt(&packet, wire, wire.count))
        guard let packet else { throw LibraryError(LDNS_STATUS_ERR) }
        self.packet = packet
    }

    deinit { ldns_pkt_free(packet) }

    public var id: UInt16 { ldns_pkt_id(packet) }

    /// Includes the upper bits from EDNS.
    public var responseCode: ResponseCode {
        let lower = UInt16(truncatingIfNeeded: ldns_pkt_get_rcode(packet).rawValue)
        return ResponseCode(rawValue: UInt16(ldns_pkt_edns_extended_rcode(packet)) << 4 | lower)
    }

    public var isTruncated: Bool { ldns_pkt_tc(packet) != 0 }
    public var isAuthoritative: Bool { ldns_pkt_aa(packet) != 0 }
    public var isAuthenticated: Bool { ldns_pkt_ad(packet) != 0 }

    /// The records of a section in order, without OPT.
    public func records(_ section: Section) -> [Record] {
        let list =
            switch section {
            case .answer: ldns_pkt_answer(packet)
            case .authority: ldns_pkt_authority(packet)
            case .additional: ldns_pkt_additional(packet)
            }
        guard let list else { return [] }
        return (0..<ldns_rr_list_rr_count(list)).compactMap { index in
            guard let record = ldns_rr_list_rr(list, index), let owner = ldns_rr_owner(record),
                let bytes = ldns_rdf_data(owner),
                let name = Name(wire: UnsafeBufferPointer(start: bytes, count: ldns_rdf_size(owner)))
            else { return nil }
            return Record(
                owner: name, type: RecordType(rawValue: UInt16(truncatingIfNeeded: ldns_rr_get_type(record).rawValue)),
                recordClass: RecordClass(rawValue: UInt16(truncatingIfNeeded: ldns_rr_get_class(record).rawValue)),
                ttl: ldns_rr_ttl(record), rdata: rdataBytes(record))
        }
    }
}
