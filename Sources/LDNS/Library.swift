internal import CLdns

/// libldns itself.
public enum Library {
    /// The version of the loaded library, "1.8.3".
    public static var version: String { String(cString: ldns_version()) }
}

/// An error status of libldns.
public struct LibraryError: Error, Hashable, CustomStringConvertible {
    /// `ldns_status`; 0 if the library returned no object and no reason.
    public let status: Int32

    init(_ status: ldns_status) { self.status = Int32(bitPattern: status.rawValue) }

    /// The library's own text.
    public var description: String {
        guard status != 0, let text = ldns_get_errorstr_by_id(ldns_status(UInt32(bitPattern: status))) else {
            return "no result"
        }
        return String(cString: text)
    }

    /// Throws unless `status` is LDNS_STATUS_OK.
    static func check(_ status: ldns_status) throws(LibraryError) {
        guard status == LDNS_STATUS_OK else { throw LibraryError(status) }
    }
}
