/// The numbers of EDNS(0).
///
/// - RFC: 6891; 9715 3 for the payload size.
package enum EDNS {
    /// What we offer and what we accept at most over UDP, in bytes: no fragments on any path in use.
    package static let payloadSize = 1232
    /// What a client without EDNS can take over UDP, in bytes (RFC 1035 4.2.1).
    package static let classicPayloadSize = 512
    /// The fixed part of an OPT record: root owner, type, class, TTL, RDLENGTH.
    package static let optLength = 11
    package static let dnssecOK: UInt16 = 0x8000
    /// Responses over encrypted transports are padded to a multiple of this, in bytes (RFC 8467 4.1).
    package static let paddingBlock = 468

    /// EDNS option codes (IANA "DNS EDNS0 Option Codes").
    package enum Option {
        package static let nsid: UInt16 = 3
        package static let cookie: UInt16 = 10
        package static let keepalive: UInt16 = 11
        package static let padding: UInt16 = 12
        package static let extendedError: UInt16 = 15
    }
}
