/// Whether an upstream answer came over a connection that had to be made for its question, and what that took.
public struct UpstreamSetup: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
    /// 0: no connection, as over UDP; 1: a connection in use already; else 2 more than the tenths of a millisecond that
    /// the handshakes took.
    public let rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let none = UpstreamSetup(rawValue: 0)
    public static let reused = UpstreamSetup(rawValue: 1)

    /// A new connection; `microseconds` from its first packet to the end of the TLS handshake.
    public init(microseconds: UInt32) {
        rawValue = UInt16(clamping: 2 + (UInt64(microseconds) + 50) / 100)
    }

    /// What the handshakes of a new connection took, to a tenth of a millisecond; nil: it was not new.
    public var handshakeMicroseconds: UInt32? { rawValue < 2 ? nil : UInt32(rawValue - 2) * 100 }

    /// `new` or `reused`; nil without a connection.
    public var word: StaticString? { rawValue == 0 ? nil : rawValue == 1 ? "reused" : "new" }
}
