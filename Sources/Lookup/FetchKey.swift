public import DNSWire

/// What upstream is asked. Questions in flight with equal keys are joined.
public struct FetchKey: Hashable, Sendable {
    /// The folded name in wire form.
    public let name: [UInt8]
    public let type: RecordType
    /// DO=1 (RFC 3225 3).
    public let dnssecOK: Bool
    /// CD=1 (RFC 4035 3.2.2).
    public let checkingDisabled: Bool
    /// Whose servers are asked, and whose answers are kept apart: 0, or the number of a view with servers of its own.
    public let partition: UInt16
    /// `LookupName.hash` of the name, with the process's key.
    public let hash: UInt64

    public init(_ name: Name, _ question: Question) {
        var lookup = LookupName()
        lookup.assign(name)
        self.init(lookup, question)
    }

    /// `name` is already folded.
    public init(_ name: borrowing LookupName, _ question: Question, partition: UInt16 = 0) {
        self.name = Array(UnsafeBufferPointer(start: name.bytes, count: name.length))
        hash = name.hash
        type = question.type
        dnssecOK = question.dnssecOK
        checkingDisabled = question.checkingDisabled
        self.partition = partition
    }

    /// The key without the name.
    public var question: Question {
        Question(
            type: type, mayForward: true, dnssecOK: dnssecOK, checkingDisabled: checkingDisabled)
    }

    public static func == (left: FetchKey, right: FetchKey) -> Bool {
        left.type == right.type && left.dnssecOK == right.dnssecOK && left.checkingDisabled == right.checkingDisabled
            && left.partition == right.partition && left.hash == right.hash && left.name == right.name
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(number)
    }

    /// A hash of the whole key. Keyed, so nobody outside can provoke collisions.
    public var number: UInt64 {
        hash ^ UInt64(type.rawValue) << 2 ^ (dnssecOK ? 2 : 0) ^ (checkingDisabled ? 1 : 0)
            ^ UInt64(partition) << 40
    }

    /// Whether the name is `suffix` (folded wire form) or below it.
    public func isAtOrBelow(_ suffix: [UInt8]) -> Bool {
        guard name.count >= suffix.count else { return false }
        let start = name.count - suffix.count
        var index = 0
        while index < start { index += Int(name[index]) + 1 }
        return index == start && name[start...].elementsEqual(suffix)
    }
}
