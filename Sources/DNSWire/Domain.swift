/// A name and all below it, as a lookup's name is compared with it: that allocates nothing.
public struct Domain: Sendable, Hashable {
    /// Folded wire form.
    public let wire: [UInt8]
    public let labelCount: Int

    public init(_ name: Name) {
        wire = name.canonicalWire
        labelCount = name.labelCount
    }

    /// Of a name that is written in the program; the root where it is no name.
    public init(_ text: StaticString) { self.init(Name("\(text)") ?? .root) }

    /// The label of `name` at which the domain's name starts; nil where `name` is neither it nor below it.
    public func start(in name: borrowing LookupName) -> Int? {
        guard wire.count <= name.length, labelCount <= name.labelCount else { return nil }
        let label = name.labelCount - labelCount
        let isSuffix = wire.withUnsafeBytes {
            name.suffixEquals(label, $0.baseAddress.unsafelyUnwrapped, length: $0.count)
        }
        return isSuffix ? label : nil
    }
}
