/// The key of all name hashes in the process: random, so that nobody can construct collisions.
public struct NameHash: Sendable, BitwiseCopyable {
    @usableFromInline let first: UInt64
    @usableFromInline let second: UInt64

    /// The process's key, drawn once from the system's random numbers. Read it once and pass it on.
    public static let process = NameHash(first: .random(in: 1...UInt64.max), second: .random(in: 1...UInt64.max) | 1)

    public init(first: UInt64, second: UInt64) {
        self.first = first
        self.second = second
    }

    /// The hash of the root name.
    @inlinable
    public var root: UInt64 { first }

    /// The hash of the name that consists of `label` and the name whose hash is `suffix`.
    ///
    /// Built from the right, so that one pass gives the hashes of a name and all its ancestors. `label` must be
    /// followed by seven readable bytes.
    @inlinable
    func extend(_ suffix: UInt64, label: UnsafePointer<UInt8>, length: Int) -> UInt64 {
        var hash = suffix
        var rest = length
        var cursor = UnsafeRawPointer(label)
        while rest > 8 {
            hash = mix(hash ^ cursor.loadUnaligned(as: UInt64.self), second)
            cursor += 8
            rest -= 8
        }
        let word = cursor.loadUnaligned(as: UInt64.self) & (~0 >> UInt64(64 - 8 * rest))
        return mix(hash ^ word, second ^ UInt64(truncatingIfNeeded: length))
    }

    /// The hash of the wildcard directly below the name whose hash is `suffix`.
    @inlinable
    public func wildcard(below suffix: UInt64) -> UInt64 {
        mix(suffix ^ UInt64(UInt8(ascii: "*")), second ^ 1)
    }

    /// The hash of 16 bytes that are not a name.
    @inlinable
    public func hash(_ a: UInt64, _ b: UInt64) -> UInt64 { mix(mix(first ^ a, second) ^ b, second) }

    @inlinable
    func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = (a ^ first).multipliedFullWidth(by: b)
        return product.high ^ product.low
    }
}
