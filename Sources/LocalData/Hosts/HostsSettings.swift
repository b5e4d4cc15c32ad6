/// How overrides are answered.
package struct HostsSettings: Sendable, Hashable, BitwiseCopyable {
    /// What an address of all zeros means.
    package enum NullAddress: String, Sendable, CaseIterable, BitwiseCopyable { case literal, nodata, nxdomain }
    /// What happens to HTTPS and SVCB of an overridden name.
    package enum HTTPS: String, Sendable, CaseIterable, BitwiseCopyable { case mask, pass, synthesize }
    /// What happens to the types an override says nothing about, where no local zone has them.
    package enum OtherTypes: String, Sendable, CaseIterable, BitwiseCopyable { case nodata, forward }

    /// Seconds.
    package var ttl: UInt32 = 0
    package var nullAddress = NullAddress.literal
    package var https = HTTPS.mask
    package var otherTypes = OtherTypes.nodata

    package init() {}
}
