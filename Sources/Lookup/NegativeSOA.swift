import DNSWire

/// The SOA in negative answers about names that are in no zone.
public enum NegativeSOA {
    /// MNAME localhost., RNAME nobody.invalid.: there is no one to contact. `minimum` in seconds.
    ///
    /// - RFC: 2308 3; 1035 3.3.13.
    public static func rdata(minimum: UInt32) -> [UInt8] {
        var rdata: [UInt8] = []
        for text in ["localhost.", "nobody.invalid."] { rdata += Name(text)?.wire ?? [0] }
        for number in [1, 3600, 1200, 604800, minimum] as [UInt32] {
            withUnsafeBytes(of: number.bigEndian) { rdata += $0 }
        }
        return rdata
    }
}

extension Lookup {
    /// Appends that record to the authority section: for the current name, or the one at `offset` of the response.
    package mutating func appendNegativeSOA(at offset: Int? = nil, ttl: UInt32) {
        builder.begin(.authority)
        NegativeSOA.rdata(minimum: ttl).withUnsafeBytes {
            _ = builder.append(owner: .at(offset ?? nameOffset), type: .soa, ttl: ttl, rdata: $0)
        }
    }
}
