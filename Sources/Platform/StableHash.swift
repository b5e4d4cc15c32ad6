/// A hash that is the same in each process, for what is written down or must repeat itself. Anyone can make collisions.
/// - See: FNV-1a, 64 bits.
public enum StableHash {
    public static let start: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The hash of what `hash` is of, followed by `bytes`.
    public static func of(_ bytes: some Sequence<UInt8>, after hash: UInt64 = start) -> UInt64 {
        bytes.reduce(hash) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}
