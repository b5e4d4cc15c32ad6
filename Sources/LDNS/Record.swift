internal import CLdns
public import DNSWire
internal import Glibc

/// Owns one `ldns_rr`, including its names and data.
struct OwnedRecord: ~Copyable {
    let pointer: UnsafeMutablePointer<ldns_rr>

    /// Takes ownership of `pointer`.
    init(adopting pointer: UnsafeMutablePointer<ldns_rr>) { self.pointer = pointer }

    deinit { ldns_rr_free(pointer) }

    /// RDATA in wire form with uncompressed names.
    var rdata: [UInt8] { rdataBytes(pointer) }

    /// Parses one record with `rdata`, owned by the root, in class IN.
    ///
    /// libldns may follow compression pointers in names and skip unknown data: compare `rdata` of the result.
    init(type: RecordType, rdata: [UInt8]) throws(LibraryError) {
        guard rdata.count <= 65_535 else { throw LibraryError(LDNS_STATUS_PACKET_OVERFLOW) }
        let wire: [UInt8] =
            [
                0, UInt8(type.rawValue >> 8), UInt8(type.rawValue & 0xFF), 0, 1, 0, 0, 0, 0, UInt8(rdata.count >> 8),
                UInt8(rdata.count & 0xFF),
            ] + rdata
        var position = 0
        var record: UnsafeMutablePointer<ldns_rr>?
        let status = ldns_wire2rr(&record, wire, wire.count, &position, LDNS_SECTION_ANSWER)
        guard status == LDNS_STATUS_OK, let record else { throw LibraryError(status) }
        self.pointer = record
    }
}

/// The fields of `record`, concatenated.
func rdataBytes(_ record: UnsafeMutablePointer<ldns_rr>) -> [UInt8] {
    var bytes: [UInt8] = []
    for index in 0..<ldns_rr_rd_count(record) {
        guard let field = ldns_rr_rdf(record, index), let data = ldns_rdf_data(field) else { continue }
        bytes += UnsafeBufferPointer(start: data, count: ldns_rdf_size(field))
    }
    return bytes
}

/// Parses RDATA in master file form, for types whose text form we don't parse ourselves.
public enum ZoneEntry {
    /// Whether libldns has its own text form for `type`.
    public static func knows(_ type: RecordType) -> Bool {
        guard let name = ldns_rr_descript(type.rawValue)?.pointee._name else { return false }
        return !String(cString: name).hasPrefix("TYPE")
    }

    /// Parses `text`: the tokens of one entry's RDATA, separated by blanks.
    ///
    /// The caller has tokenized it: there are no parentheses, comments or line ends. The result must survive printing:
    /// libldns prints it and parses the same bytes again.
    /// - Parameter origin: completes relative names; empty means the root.
    public static func rdata(
        type: RecordType, text: [UInt8], origin: [UInt8]
    ) throws(LibraryError) -> [UInt8] {
        guard !text.contains(0) else { throw LibraryError(LDNS_STATUS_SYNTAX_RDATA_ERR) }
        let line = Array(". 0 IN \(type) ".utf8) + text + [0]
        var origins: UnsafeMutablePointer<ldns_rdf>?
        if !origin.isEmpty {
            origins = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, origin.count, origin)
        }
        defer { ldns_rdf_deep_free(origins) }
        var pointer: UnsafeMutablePointer<ldns_rr>?
        let status = line.withUnsafeBytes {
            ldns_rr_new_frm_str(&pointer, $0.baseAddress!.assumingMemoryBound(to: CChar.self), 0, origins, nil)
        }
        guard status == LDNS_STATUS_OK, let pointer else { throw LibraryError(status) }
        let rdata = OwnedRecord(adopting: pointer).rdata
        guard rdata.count <= 65_535, try OwnedRecord(type: type, rdata: rdata).rdata == rdata else {
            throw LibraryError(LDNS_STATUS_SYNTAX_RDATA_ERR)
        }
        return rdata
    }
}

/// The text form of records, as printed by dig.
public enum Presentation {
    /// RDATA in master file form on one line; `\# LENGTH HEX` if libldns can't print it.
    ///
    /// Accepts any bytes. The text is printable ASCII: everything else is escaped.
    /// - RFC: 1035 5.1; 3597 5.
    public static func text(rdata: [UInt8], type: RecordType) -> String {
        known(rdata, type) ?? generic(rdata)
    }

    /// `OWNER TTL CLASS TYPE RDATA`, separated by blanks.
    public static func text(
        owner: Name, ttl: UInt32, recordClass: RecordClass = .in, type: RecordType, rdata: [UInt8]
    ) -> String {
        "\(owner) \(ttl) \(recordClass) \(type) \(text(rdata: rdata, type: type))"
    }

    private static func generic(_ rdata: [UInt8]) -> String {
        rdata.isEmpty ? "\\# 0" : "\\# \(rdata.count) \(Base16.text(rdata))"
    }

    private static func known(_ rdata: [UInt8], _ type: RecordType) -> String? {
        guard ZoneEntry.knows(type), !printsWrongly(type), !rdata.isEmpty,
            let record = try? OwnedRecord(type: type, rdata: rdata),
            record.rdata == rdata
        else { return nil }
        let count = ldns_rr_rd_count(record.pointer)
        guard count > 0 else { return nil }
        var text = ""
        for index in 0..<count {
            guard let field = ldns_rr_rdf(record.pointer, index), let printed = ldns_rdf2str(field) else { return nil }
            defer { free(printed) }
            let part = UnsafeBufferPointer(start: printed, count: strlen(printed))
            guard part.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
            // libldns does not escape quotes in names.
            if !isText(field), part.contains(CChar(0x22)) { return nil }
            if !text.isEmpty { text += " " }
            text += part.isEmpty ? "\"\"" : String(cString: printed)
        }
        text = text.trimmingTrailingBlanks
        if type == .svcb || type == .https, !isFaithful(parameters: text) { return nil }
        if mayPrintWrongly(type) {
            let read = try? ZoneEntry.rdata(type: type, text: Array(text.utf8), origin: [])
            guard read == rdata else { return nil }
        }
        return text
    }

    /// Whether libldns prints these parameters as RFC 9460 requires: it escapes ALPN items once where A.1 requires it
    /// twice, and its text for `key65535` and for an empty `ech` is invalid in a zone.
    private static func isFaithful(parameters text: String) -> Bool {
        !text.utf8.contains(UInt8(ascii: "\\"))
            && !text.split(separator: " ").contains {
                $0.hasPrefix("key65535") || ["ech", "ech=", "ech=\"\""].contains($0)
            }
    }

    /// Whether libldns prints the field in quotes, or with quotes in it that mean something.
    private static func isText(_ field: UnsafeMutablePointer<ldns_rdf>) -> Bool {
        switch ldns_rdf_get_type(field) {
        case LDNS_RDF_TYPE_STR, LDNS_RDF_TYPE_LONG_STR, LDNS_RDF_TYPE_SVCPARAMS: true
        default: false
        }
    }

    /// WKS, because service names differ between machines; NSAP-PTR, whose name libldns takes for a character string;
    /// ATMA, whose first byte it takes for part of the address.
    private static func printsWrongly(_ type: RecordType) -> Bool { [11, 23, 34].contains(type.rawValue) }

    /// Types for which libldns 1.8.3 may print text with another meaning (a DOA without data, a LOC of another version,
    /// a truncated NSEC bitmap): the text is used only if it parses to the same bytes.
    private static func mayPrintWrongly(_ type: RecordType) -> Bool {
        switch type {
        case .a, .aaaa, .ns, .cname, .dname, .ptr, .mx, .soa, .srv, .txt, .hinfo: false
        case .ds, .dnskey, .rrsig, .nsec3param: false
        case RecordType(rawValue: 37): false  // CERT: reading type 0 back leaks in libldns 1.8.3
        default: true
        }
    }
}

extension String {
    /// libldns ends some lists with a blank.
    fileprivate var trimmingTrailingBlanks: String {
        var text = self[...]
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
