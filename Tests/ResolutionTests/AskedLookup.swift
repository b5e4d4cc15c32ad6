import DNSWire
import Lookup

extension Lookup {
    /// Begins a lookup from a query's bytes like a serving thread, and passes it to `body`; the response may have
    /// `limit` bytes. RD=1 allows forwarding.
    static func asking<Result>(
        _ wire: [UInt8], limit: Int = 65_535, _ body: (inout Lookup) throws -> Result
    ) rethrows -> Result {
        var lookup = Lookup()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(limit, 512), alignment: 8)
        defer { buffer.deallocate() }
        let limited = UnsafeMutableRawBufferPointer(rebasing: buffer[..<limit])
        return try wire.withUnsafeBytes { message in
            _ = lookup.query.parse(message, name: &lookup.name)
            lookup.recursionAvailable = true
            lookup.takeQuestion()
            lookup.builder = ResponseBuilder(buffer: limited, query: lookup.query, message: message, reserved: 0)
            return try body(&lookup)
        }
    }

    /// The same for a query about `name` with RD=1.
    static func asking<Result>(
        _ name: String, _ type: RecordType, limit: Int = 65_535, _ body: (inout Lookup) throws -> Result
    ) rethrows -> Result {
        let query =
            bytes(1) + bytes(0x0100) + bytes(1) + [0, 0, 0, 0, 0, 0] + wireName(name) + bytes(type.rawValue) + bytes(1)
        return try asking(query, limit: limit, body)
    }
}
