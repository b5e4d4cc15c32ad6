import DNSWire

extension LookupName {
    /// The labels with an underscore in front of the name that a service belongs to, at most two: 2 of
    /// `_8443._https.NAME`, 1 of `_https.NAME`, 0 of other names.
    ///
    /// - RFC: 9460 2.3 and 9.1; 8552 for the underscores.
    var serviceLabelCount: Int {
        var count = 0
        while count < 2, count + 1 < labelCount, labelLength(at: count) > 1,
            label(at: count)[0] == UInt8(ascii: "_")
        { count += 1 }
        return count
    }
}
