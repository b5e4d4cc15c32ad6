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

/// What a source did about a name. The vocabulary of `SourceChain`.
package enum Outcome: Hashable, Sendable, BitwiseCopyable {
    /// The name is not the source's: the next one is asked. Nothing was written.
    case pass
    /// The response holds the answer (or NODATA, NXDOMAIN, a referral); the decision says which.
    case answered
    /// A CNAME was written; its target stands at this offset of the message and is to be looked up next.
    case chase(Int)
    /// The name is beyond a zone cut of ours: only cache and upstream know it. Nothing was written.
    case forward
}
