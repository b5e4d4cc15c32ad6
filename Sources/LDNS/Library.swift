internal import CLdns

/// libldns itself.
public enum Library {
    /// The version of the library that is loaded, "1.8.3".
    public static var version: String { String(cString: ldns_version()) }
}
