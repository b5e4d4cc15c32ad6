/// A name and all names below it; comparing a lookup's name with it allocates nothing.
public struct Domain: Sendable, Hashable {
    /// Folded wire form.
    public let wire: [UInt8]
    public let labelCount: Int

    public init(_ name: Name) {
        wire = name.canonicalWire
        labelCount = name.labelCount
    }

    /// From a literal; the root if that is not a valid name.
    public init(_ text: StaticString) { self.init(Name("\(text)") ?? .root) }

    /// The label of `name` where the domain's name starts; nil if `name` is not at or below it.
    public func start(in name: borrowing LookupName) -> Int? {
        guard wire.count <= name.length, labelCount <= name.labelCount else { return nil }
        let label = name.labelCount - labelCount
        let isSuffix = wire.withUnsafeBytes {
            name.suffixEquals(label, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
        }
        return isSuffix ? label : nil
    }
}
