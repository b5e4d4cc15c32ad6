internal import CLdns

/// libldns's judgement of a message that has passed our own strict walk.
public enum PacketCheck {
    /// Whether libldns can read all of it.
    public static func accepts(_ message: UnsafeRawBufferPointer) -> Bool {
        guard let base = message.baseAddress else { return false }
        var packet: UnsafeMutablePointer<ldns_pkt>?
        let status = ldns_wire2pkt(&packet, base.assumingMemoryBound(to: UInt8.self), message.count)
        guard status == LDNS_STATUS_OK else { return false }
        ldns_pkt_free(packet)
        return true
    }
}
