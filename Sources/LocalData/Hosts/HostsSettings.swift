/// How overrides are answered.
public struct HostsSettings: Sendable, Hashable, BitwiseCopyable {
    /// What an all-zero address means.
    public enum NullAddress: String, Sendable, CaseIterable, BitwiseCopyable { case literal, nodata, nxdomain }
    /// What happens to HTTPS and SVCB of an overridden name.
    public enum HTTPS: String, Sendable, CaseIterable, BitwiseCopyable { case mask, pass, synthesize }
    /// What happens to types that an override does not mention, if no local zone has them.
    public enum OtherTypes: String, Sendable, CaseIterable, BitwiseCopyable { case nodata, forward }

    /// Seconds.
    public var ttl: UInt32 = 0
    public var nullAddress = NullAddress.literal
    public var https = HTTPS.mask
    public var otherTypes = OtherTypes.nodata

    public init() {}
}
