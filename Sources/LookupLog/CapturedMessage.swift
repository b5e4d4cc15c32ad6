package import Platform

/// A DNS message that somebody captured on its way, as little trusted as one from the network.
package struct CapturedMessage: Sendable {
    package var source: SocketAddress
    package var target: SocketAddress
    package var transport: UpstreamTransport
    /// In microseconds since 1970.
    package var time: UInt64
    /// When its query was sent, if the capture says so; else the query is a message of its own.
    package var queryTime: UInt64?
    /// Between a resolver and the servers that it asks, not between clients and the resolver; nil: unknown.
    package var isUpstream: Bool?
    package var bytes: [UInt8]
}

/// What was found in a capture.
package struct Capture: Sendable {
    package internal(set) var messages: [CapturedMessage] = []
    /// Parts that can't be read, by the reason.
    package private(set) var skipped: [String: Int] = [:]

    package init() {}

    mutating func skip(_ reason: String) { skipped[reason, default: 0] += 1 }

    /// Reads a capture in pcapng, pcap or dnstap; nil if it is none of them.
    package static func read(_ bytes: UnsafeRawBufferPointer) -> Capture? {
        if PacketCaptureReader.accepts(bytes) { return PacketCaptureReader.read(bytes) }
        return DnstapReader.accepts(bytes) ? DnstapReader.read(bytes) : nil
    }
}

/// Reads numbers from untrusted bytes; nil behind their end.
struct CaptureBytes {
    private(set) var rest: UnsafeRawBufferPointer
    var isLittleEndian = false

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    var isEmpty: Bool { rest.isEmpty }

    mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= rest.count else { return nil }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
        return UnsafeRawBufferPointer(rebasing: rest[..<count])
    }

    mutating func skip(_ count: Int) -> Bool { take(count) != nil }

    mutating func byte() -> UInt8? { take(1)?.first }
    mutating func word() -> UInt16? { number(2).map { UInt16($0) } }
    mutating func long() -> UInt32? { number(4).map { UInt32($0) } }

    private mutating func number(_ count: Int) -> UInt64? {
        guard let bytes = take(count) else { return nil }
        return isLittleEndian
            ? bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } : bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A protocol buffers number.
    mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0 as UInt64, to: 64, by: 7) {
            guard let byte = byte() else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }
}

extension SocketAddress {
    /// 4 or 16 bytes in network byte order.
    init?(ip bytes: UnsafeRawBufferPointer, port: UInt16) {
        func number(_ bytes: Slice<UnsafeRawBufferPointer>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch bytes.count {
        case 4: self.init(high: 0, low: number(bytes[...]), port: port, isIPv6: false)
        case 16: self.init(high: number(bytes[..<8]), low: number(bytes[8...]), port: port, isIPv6: true)
        default: return nil
        }
    }
}
