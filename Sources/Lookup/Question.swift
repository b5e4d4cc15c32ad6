package import DNSWire

/// What a lookup asks, besides the name: the part of a `Query` that sources look at.
package struct Question: Hashable, Sendable, BitwiseCopyable {
    package var type: RecordType
    /// RD=1 and there is an upstream to ask: what is not local may be forwarded.
    package var mayForward: Bool
    /// DO=1: the client wants DNSSEC records (RFC 3225 3).
    package var dnssecOK: Bool
    /// CD=1: passed on to upstream (RFC 4035 3.2.2).
    package var checkingDisabled: Bool

    package init(type: RecordType, mayForward: Bool = true, dnssecOK: Bool = false, checkingDisabled: Bool = false) {
        self.type = type
        self.mayForward = mayForward
        self.dnssecOK = dnssecOK
        self.checkingDisabled = checkingDisabled
    }
}
