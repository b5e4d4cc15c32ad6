package import DNSWire

/// What upstream is asked: equal keys in flight are one question.
package struct FetchKey: Hashable, Sendable {
    /// The folded name in wire form.
    package let name: [UInt8]
    package let type: RecordType
    /// DO=1 (RFC 3225 3).
    package let dnssecOK: Bool
    /// CD=1 (RFC 4035 3.2.2).
    package let checkingDisabled: Bool
    /// Of the name: `LookupName.hash`, with the process's key.
    package let hash: UInt64

    package init(_ name: Name, _ question: Question) {
        var lookup = LookupName()
        lookup.assign(name)
        self.init(lookup, question)
    }

    /// The name as it is looked up: already folded.
    package init(_ name: borrowing LookupName, _ question: Question) {
        self.name = Array(UnsafeBufferPointer(start: name.bytes, count: name.length))
        hash = name.hash
        type = question.type
        dnssecOK = question.dnssecOK
        checkingDisabled = question.checkingDisabled
    }

    /// What is asked besides the name.
    package var question: Question {
        Question(type: type, mayForward: true, dnssecOK: dnssecOK, checkingDisabled: checkingDisabled)
    }

    package static func == (left: FetchKey, right: FetchKey) -> Bool {
        left.type == right.type && left.dnssecOK == right.dnssecOK && left.checkingDisabled == right.checkingDisabled
            && left.hash == right.hash && left.name == right.name
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(number)
    }

    /// Differs where the keys differ, but for chance that no one can steer.
    package var number: UInt64 {
        hash ^ UInt64(type.rawValue) << 2 ^ (dnssecOK ? 2 : 0) ^ (checkingDisabled ? 1 : 0)
    }

    /// Whether the name is `suffix` (folded wire form) or below it.
    package func isAtOrBelow(_ suffix: [UInt8]) -> Bool {
        guard name.count >= suffix.count else { return false }
        let start = name.count - suffix.count
        var index = 0
        while index < start { index += Int(name[index]) + 1 }
        return index == start && name[start...].elementsEqual(suffix)
    }
}
