internal import DNSWire
import Platform

/// Encodes dnstap frames: a flat protobuf message, encoded by hand.
///
/// Each frame is `Dnstap { identity, version, message, type = MESSAGE }` with a length prefix, as Frame Streams
/// requires. See dnstap.proto, and "Encoding" in the protocol buffers documentation.
struct DnstapEncoder: ~Copyable {
    /// `SocketProtocol`.
    private enum SocketProtocol: UInt8 {
        case udp = 1
        case tcp, dot, doh

        init(_ transport: Transport) {
            self =
                switch transport {
                case .udp: .udp
                case .tcp: .tcp
                case .dot: .dot
                case .doh: .doh
                }
        }

        init(_ transport: UpstreamTransport) {
            self =
                switch transport {
                // A cassette's replies travel over nothing.
                case .udp, .replay: .udp
                case .tcp: .tcp
                case .dot: .dot
                case .doh: .doh
                }
        }
    }

    /// `Message.Type`.
    private enum Kind: UInt8 {
        case clientQuery = 5
        case clientResponse = 6
        case forwarderQuery = 7
        case forwarderResponse = 8
    }

    /// `identity` and `version`, encoded as in each frame.
    private let head: [UInt8]
    /// `Message` without its last field, the DNS message.
    private var fields = LineBuffer(capacity: 256)
    private var message = LineBuffer(capacity: 8192)

    init(identity: String, version: String) {
        var head = LineBuffer(capacity: 1024)
        for (tag, text) in [(0x0A, identity), (0x12, version)] as [(UInt8, String)] where !text.isEmpty {
            head.append(tag)
            head.append(varint: UInt64(text.utf8.count))
            head.append(Array(text.utf8))
        }
        self.head = Array(head.bytes)
    }

    /// Appends CLIENT_QUERY and CLIENT_RESPONSE; returns the number of frames. A message that got no answer has none,
    /// because its bytes are not kept.
    mutating func append(_ record: LookupRecord, to frames: inout LineBuffer) -> Int {
        guard !record.isDropped else { return 0 }
        let client = record.client.unmapped
        message.cut(to: 0)
        record.appendQuery(to: &message)
        begin(.clientQuery, isIPv6: client.isIPv6, over: SocketProtocol(record.transport))
        appendAddress(client, isQuery: true)
        appendTime(record.time, isQuery: true)
        finish(message.bytes, isQuery: true, to: &frames)

        message.cut(to: 0)
        record.appendResponse(to: &message)
        begin(.clientResponse, isIPv6: client.isIPv6, over: SocketProtocol(record.transport))
        appendAddress(client, isQuery: true)
        appendTime(record.time, isQuery: true)
        appendTime(record.time &+ UInt64(record.durationMicroseconds), isQuery: false)
        finish(message.bytes, isQuery: false, to: &frames)
        return 2
    }

    /// Appends FORWARDER_QUERY or FORWARDER_RESPONSE.
    mutating func append(_ exchange: ForwardedExchange, to frames: inout LineBuffer) {
        begin(
            exchange.isResponse ? .forwarderResponse : .forwarderQuery, isIPv6: exchange.server.isIPv6,
            over: SocketProtocol(exchange.transport))
        if let local = exchange.local { appendAddress(local, isQuery: true) }
        appendAddress(exchange.server, isQuery: false)
        appendTime(exchange.queryTime, isQuery: true)
        if exchange.isResponse { appendTime(exchange.time, isQuery: false) }
        finish(exchange.message, isQuery: !exchange.isResponse, to: &frames)
    }

    // MARK: Fields

    /// `type`, `socket_family`, `socket_protocol`.
    private mutating func begin(_ kind: Kind, isIPv6: Bool, over socketProtocol: SocketProtocol) {
        fields.cut(to: 0)
        fields.append(0x08)
        fields.append(kind.rawValue)
        fields.append(0x10)
        fields.append(isIPv6 ? 2 : 1)
        fields.append(0x18)
        fields.append(socketProtocol.rawValue)
    }

    /// `query_address` and `query_port`, or `response_address` and `response_port`.
    private mutating func appendAddress(_ address: SocketAddress, isQuery: Bool) {
        fields.append(isQuery ? 0x22 : 0x2A)
        fields.append(address.isIPv6 ? 16 : 4)
        fields.append(addressBytes: address)
        fields.append(isQuery ? 0x30 : 0x38)
        fields.append(varint: UInt64(address.port))
    }

    /// `query_time_sec` and `query_time_nsec`, or those of the response. `time` is in microseconds.
    private mutating func appendTime(_ time: UInt64, isQuery: Bool) {
        fields.append(isQuery ? 0x40 : 0x60)
        fields.append(varint: time / 1_000_000)
        fields.append(isQuery ? 0x4D : 0x6D)
        let nanoseconds = UInt32(truncatingIfNeeded: time % 1_000_000 * 1000)
        for shift in [0, 8, 16, 24] as [UInt32] { fields.append(UInt8(truncatingIfNeeded: nanoseconds >> shift)) }
    }

    /// Appends the frame with `bytes` as `query_message` or `response_message`.
    private mutating func finish(_ bytes: UnsafeRawBufferPointer, isQuery: Bool, to frames: inout LineBuffer) {
        fields.append(isQuery ? 0x52 : 0x72)
        fields.append(varint: UInt64(bytes.count))
        let length = fields.count + bytes.count
        let total = head.count + 1 + LineBuffer.varintLength(UInt64(length)) + length + 2
        frames.append(long: UInt32(truncatingIfNeeded: total))
        frames.append(head)
        frames.append(0x72)
        frames.append(varint: UInt64(length))
        frames.append(fields.bytes)
        frames.append(bytes)
        frames.append(0x78)
        frames.append(1)
    }
}

extension LineBuffer {
    /// Seven bits per byte, lowest first.
    mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    static func varintLength(_ value: UInt64) -> Int { max(1, (70 - value.leadingZeroBitCount) / 7) }

    /// 4 or 16 bytes in network byte order.
    mutating func append(addressBytes address: SocketAddress) {
        if address.isIPv6 {
            append(long: UInt32(truncatingIfNeeded: address.high >> 32))
            append(long: UInt32(truncatingIfNeeded: address.high))
            append(long: UInt32(truncatingIfNeeded: address.low >> 32))
        }
        append(long: UInt32(truncatingIfNeeded: address.low))
    }
}
