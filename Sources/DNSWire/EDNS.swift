/// The numbers of EDNS(0).
///
/// - RFC: 6891; 9715 3 for the payload size.
public enum EDNS {
    /// The most that we offer and accept over UDP, in bytes: avoids fragments on any path in use.
    public static let payloadSize = 1232
    /// What a client without EDNS can take over UDP, in bytes (RFC 1035 4.2.1).
    public static let classicPayloadSize = 512
    /// The fixed part of an OPT record: root owner, type, class, TTL, RDLENGTH.
    public static let optLength = 11
    public static let dnssecOK: UInt16 = 0x8000
    /// Responses over encrypted transports are padded to a multiple of this, in bytes (RFC 8467 4.1).
    public static let paddingBlock = 468

    /// EDNS option codes (IANA "DNS EDNS0 Option Codes").
    public enum Option {
        public static let nsid: UInt16 = 3
        public static let cookie: UInt16 = 10
        public static let keepalive: UInt16 = 11
        public static let padding: UInt16 = 12
        public static let extendedError: UInt16 = 15
    }
}
