internal import CLdns
public import DNSWire
internal import Glibc

/// A query that libldns has built, to be sent as often as needed with another ID, name and type.
public struct QueryTemplate: Sendable {
    /// What a query says besides its question.
    public struct Options: Sendable, Hashable {
        public var isRecursionDesired = true
        /// AD=1: AD in the response is understood (RFC 6840 5.7).
        public var isAuthenticDataUnderstood = false
        public var isCheckingDisabled = false
        /// The largest UDP response accepted, in bytes; nil: no OPT record.
        public var payloadSize: UInt16? = 1232
        /// DO=1, which needs OPT (RFC 3225 3).
        public var wantsSignatures = false
        /// Client and server cookie; needs OPT (RFC 7873 4).
        public var cookie: [UInt8] = []
        /// Pads the query to a multiple of this many bytes; 0: no padding. Needs OPT (RFC 7830; 8467 4.1).
        public var paddingBlock = 0

        public init() {}
    }

    /// The header.
    private let head: [UInt8]
    /// All that follows the question; ends with an empty padding option if there is padding.
    private let tail: [UInt8]
    private let paddingBlock: Int

    /// The most that `write` needs, in bytes: with a cookie, or with padding to 128 bytes.
    public static let maximumLength = Header.length + 255 + 4 + EDNS.optLength + 4 + 40 + 128

    /// Has libldns build the query. Fails only without memory.
    ///
    /// - RFC: 1035 4.1; 6891 6.1.2.
    public init(_ options: Options) throws(LibraryError) {
        let message = try Self.build(name: .root, type: .a, recordClass: .in, id: 0, options)
        let questionEnd = Header.length + 1 + 4
        head = Array(message[..<Header.length])
        tail = Array(message[questionEnd...])
        paddingBlock = options.payloadSize == nil ? 0 : options.paddingBlock
    }

    /// Writes the query for `name` (in wire form) and `type` to `base`, which has `maximumLength` bytes; returns its
    /// length.
    public func write(
        name: [UInt8], type: RecordType, id: UInt16, to base: UnsafeMutableRawPointer
    ) -> Int {
        copy(head, to: base)
        base.write(id, at: 0)
        copy(name, to: base + Header.length)
        var cursor = Header.length + name.count
        base.write(type.rawValue, at: cursor)
        base.write(RecordClass.in.rawValue, at: cursor + 2)
        cursor += 4
        copy(tail, to: base + cursor)
        let end = cursor + tail.count
        guard paddingBlock > 0 else { return end }
        let padding = (paddingBlock - end % paddingBlock) % paddingBlock
        base.write(UInt16(tail.count - EDNS.optLength + padding), at: cursor + EDNS.optLength - 2)
        base.write(UInt16(padding), at: end - 2)
        if padding > 0 { (base + end).initializeMemory(as: UInt8.self, repeating: 0, count: padding) }
        return end + padding
    }

    private func copy(_ bytes: [UInt8], to base: UnsafeMutableRawPointer) {
        bytes.withUnsafeBytes { source in
            if let start = source.baseAddress { base.copyMemory(from: start, byteCount: source.count) }
        }
    }

    /// Builds one query. `id` should come from a secure random source: it helps to protect against forged answers
    /// (RFC 5452).
    public static func wire(
        name: Name, type: RecordType, recordClass: RecordClass = .in, id: UInt16, _ options: Options = Options()
    ) throws(LibraryError) -> [UInt8] {
        try build(name: name, type: type, recordClass: recordClass, id: id, options)
    }

    private static func build(
        name: Name, type: RecordType, recordClass: RecordClass, id: UInt16, _ options: Options
    ) throws(LibraryError) -> [UInt8] {
        guard let owner = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name.wire.count, name.wire) else {
            throw LibraryError(LDNS_STATUS_MEM_ERR)
        }
        // The packet takes ownership of the name.
        guard
            let packet = ldns_pkt_query_new(
                owner, ldns_rr_type(UInt32(type.rawValue)), ldns_rr_class(UInt32(recordClass.rawValue)), 0)
        else {
            ldns_rdf_deep_free(owner)
            throw LibraryError(LDNS_STATUS_MEM_ERR)
        }
        defer { ldns_pkt_free(packet) }
        ldns_pkt_set_id(packet, id)
        ldns_pkt_set_rd(packet, options.isRecursionDesired ? 1 : 0)
        ldns_pkt_set_ad(packet, options.isAuthenticDataUnderstood ? 1 : 0)
        ldns_pkt_set_cd(packet, options.isCheckingDisabled ? 1 : 0)
        if let payloadSize = options.payloadSize {
            ldns_pkt_set_edns_udp_size(packet, payloadSize)
            ldns_pkt_set_edns_do(packet, options.wantsSignatures ? 1 : 0)
            let data = optionData(options)
            if !data.isEmpty {
                // The packet takes ownership of the options.
                guard let rdata = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_UNKNOWN, data.count, data) else {
                    throw LibraryError(LDNS_STATUS_MEM_ERR)
                }
                ldns_pkt_set_edns_data(packet, rdata)
            }
        }
        var bytes: UnsafeMutablePointer<UInt8>?
        var count = 0
        try LibraryError.check(ldns_pkt2wire(&bytes, packet, &count))
        guard let bytes else { throw LibraryError(LDNS_STATUS_MEM_ERR) }
        defer { free(bytes) }
        return Array(UnsafeBufferPointer(start: bytes, count: count))
    }

    /// The RDATA of OPT. libldns 1.8 writes options as the caller encodes them.
    private static func optionData(_ options: Options) -> [UInt8] {
        func option(_ code: UInt16, _ data: [UInt8]) -> [UInt8] {
            [UInt8(code >> 8), UInt8(code & 0xFF), UInt8(data.count >> 8), UInt8(data.count & 0xFF)] + data
        }
        return (options.cookie.isEmpty ? [] : option(EDNS.Option.cookie, options.cookie))
            + (options.paddingBlock > 0 ? option(EDNS.Option.padding, []) : [])
    }
}
