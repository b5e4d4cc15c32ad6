internal import CLdns
internal import DNSWire

/// libldns's verdict on a message in which our own walk finds no fault.
public enum PacketCheck {
    /// Whether libldns can parse all of it, and takes each record's RDATA to be the very bytes in the message.
    ///
    /// On its own it is too lenient: it follows compression pointers where none are allowed, and reads names past the
    /// end of their record.
    public static func accepts(_ message: UnsafeRawBufferPointer) -> Bool {
        guard let base = message.baseAddress, let summary = MessageReader.walk(message), summary.isSound else {
            return false
        }
        var packet: UnsafeMutablePointer<ldns_pkt>?
        let status = ldns_wire2pkt(&packet, base.assumingMemoryBound(to: UInt8.self), message.count)
        guard status == LDNS_STATUS_OK, let packet else { return false }
        defer { ldns_pkt_free(packet) }
        return isTaken(message, summary, packet)
    }

    private static func isTaken(
        _ message: UnsafeRawBufferPointer, _ summary: MessageReader.Summary, _ packet: UnsafeMutablePointer<ldns_pkt>
    ) -> Bool {
        var cursor = summary.records
        var rdata: [UInt8] = []
        let sections = [
            (summary.answers, ldns_pkt_answer(packet)), (summary.authority, ldns_pkt_authority(packet)),
            (summary.additional, ldns_pkt_additional(packet)),
        ]
        for (count, list) in sections {
            var taken = 0
            for _ in 0..<count {
                guard let record = MessageReader.record(message, at: cursor) else { return false }
                cursor = record.end
                // libldns keeps these two elsewhere.
                if record.type == .opt || record.type == .tsig { continue }
                rdata.removeAll(keepingCapacity: true)
                guard taken < ldns_rr_list_rr_count(list), let read = ldns_rr_list_rr(list, taken),
                    MessageReader.expandRDATA(message, record, into: &rdata), rdataBytes(read) == rdata
                else { return false }
                taken += 1
            }
        }
        return true
    }
}
