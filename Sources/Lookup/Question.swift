public import DNSWire

/// What a lookup asks besides the name: the part of a `Query` that sources read.
public struct Question: Hashable, Sendable, BitwiseCopyable {
    public var type: RecordType
    /// RD=1 and there is an upstream to ask: what is not local may be forwarded.
    public var mayForward: Bool
    /// DO=1: the client wants DNSSEC records (RFC 3225 3).
    public var dnssecOK: Bool
    /// CD=1: passed on to upstream (RFC 4035 3.2.2).
    public var checkingDisabled: Bool
    public init(type: RecordType, mayForward: Bool = true, dnssecOK: Bool = false, checkingDisabled: Bool = false) {
        self.type = type
        self.mayForward = mayForward
        self.dnssecOK = dnssecOK
        self.checkingDisabled = checkingDisabled
    }
}
