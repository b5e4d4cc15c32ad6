internal import CLdns

/// SHA-1, the hash of NSEC3 (RFC 5155 5), from libldns.
public enum SHA1 {
    /// Twenty bytes.
    public static func digest(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        var digest = [UInt8](repeating: 0, count: Int(LDNS_SHA1_DIGEST_LENGTH))
        _ = ldns_sha1(&bytes, UInt32(bytes.count), &digest)
        return digest
    }
}
