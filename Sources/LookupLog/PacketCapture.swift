internal import DNSWire
import Lookup
public import Platform

/// Lookups as a pcapng file, for Wireshark and similar tools: a query packet and a response packet each, with the
/// reason as a comment on the response.
///
/// `LookupMessages.swift` says what the messages contain. The packets around them are invented: IP and UDP between the
/// client and port 53 of an address of this machine, whatever the transport was, because every reader recognizes that
/// as DNS; a comment names a transport other than UDP. Unanswered messages have no packets.
///
/// Section Header, Interface Description (raw IP), Enhanced Packets, all little-endian; see draft-ietf-opsawg-pcapng.
public struct PacketCapture: Sendable {
    private let application: String
    private let server: SocketAddress
    private let serverIPv6: SocketAddress
    private var places = PlaceTexts(.plain)
    private var upstreams = UpstreamTexts([], .plain)
    private var upstreamNames: [String] = []

    private enum Block {
        static let section: UInt32 = 0x0A0D_0D0A
        static let interface: UInt32 = 1
        static let packet: UInt32 = 6
    }
    private enum Option {
        static let comment: UInt16 = 1
        static let interfaceName: UInt16 = 2
        static let application: UInt16 = 4
    }
    /// LINKTYPE_RAW: packets start with an IP header.
    private static let rawIP: UInt16 = 101
    private static let dnsPort: UInt16 = 53
    /// The most bytes in a comment, more than any useful one needs.
    private static let longestComment = 32_768

    /// - Parameters:
    ///   - application: the program named in the file as its writer.
    ///   - server: the address shown as the server for IPv4 clients; 127.0.0.53 if it is nil or no IPv4 address.
    ///   - serverIPv6: the same for IPv6; default ::1.
    public init(
        application: String = "stub53", server: SocketAddress? = nil, serverIPv6: SocketAddress? = nil
    ) {
        func fitting(_ address: SocketAddress?, isIPv6: Bool) -> SocketAddress? {
            address.flatMap { $0.isIPv6 == isIPv6 ? $0.withPort(Self.dnsPort) : nil }
        }
        self.application = application
        self.server =
            fitting(server, isIPv6: false)
            ?? SocketAddress(high: 0, low: 0x7F00_0035, port: Self.dnsPort, isIPv6: false)
        self.serverIPv6 =
            fitting(serverIPv6, isIPv6: true) ?? SocketAddress(high: 0, low: 1, port: Self.dnsPort, isIPv6: true)
    }

    /// The beginning of the file.
    public func header() -> [UInt8] {
        var bytes: [UInt8] = []
        Self.appendBlock(Block.section, to: &bytes) { body in
            body.append(little: UInt32(0x1A2B_3C4D))
            body.append(little: UInt16(1))
            body.append(little: UInt16(0))
            // The section's length: unknown.
            body += Array(repeating: 0xFF, count: 8)
            Self.appendOption(Option.application, Array(application.utf8.prefix(255)), to: &body)
            body.append(little: UInt32(0))
        }
        Self.appendBlock(Block.interface, to: &bytes) { body in
            body.append(little: Self.rawIP)
            body.append(little: UInt16(0))
            // Packets are never truncated.
            body.append(little: UInt32(0))
            Self.appendOption(Option.interfaceName, Array("stub53".utf8), to: &body)
            body.append(little: UInt32(0))
        }
        return bytes
    }

    /// Appends the packets of one lookup. `upstreams` are the servers, indexed by `LookupRecord.upstream`.
    public mutating func append(_ record: LookupRecord, id: UInt64, upstreams: [String], to bytes: inout [UInt8]) {
        guard !record.isDropped else { return }
        if upstreams != upstreamNames {
            upstreamNames = upstreams
            self.upstreams = UpstreamTexts(upstreams, .plain)
        }
        let client = record.client.unmapped
        let server = client.isIPv6 ? serverIPv6 : server

        var message = LineBuffer(capacity: 1024)
        record.appendQuery(to: &message)
        var comment = LineBuffer(capacity: 512)
        if record.transport != .udp { Self.appendTransport(record.transport, to: &comment) }
        Self.appendPacket(record.time, from: client, to: server, message.bytes, comment.bytes, &bytes)

        message.cut(to: 0)
        record.appendResponse(to: &message)
        comment.cut(to: 0)
        appendReason(record, id: id, to: &comment)
        let time = record.time &+ UInt64(record.durationMicroseconds)
        Self.appendPacket(time, from: server, to: client, message.bytes, comment.bytes, &bytes)
    }

    /// Appends a packet with a message that is not of a lookup; `time` is in microseconds since 1970.
    package static func appendPacket(
        _ message: [UInt8], from source: SocketAddress, to target: SocketAddress, at time: UInt64, _ comment: String,
        to bytes: inout [UInt8]
    ) {
        message.withUnsafeBytes { message in
            Array(comment.utf8).withUnsafeBytes { appendPacket(time, from: source, to: target, message, $0, &bytes) }
        }
    }

    // MARK: Comments

    private static func appendTransport(_ transport: Transport, to comment: inout LineBuffer) {
        comment.append("over ")
        comment.append(transport.word)
    }

    /// `hosts /etc/hosts:12; masked; process curl[4711]; lookup 7`: always printable.
    private mutating func appendReason(_ record: LookupRecord, id: UInt64, to comment: inout LineBuffer) {
        comment.append(record.source.word)
        comment.append(UInt8(ascii: " "))
        let start = comment.count
        if upstreams.append(record, to: &comment) {
            comment.append(UInt8(ascii: " "))
            TextLines.append(microseconds: record.upstreamMicroseconds, to: &comment)
        } else if !record.place.isNowhere {
            places.append(record.place, to: &comment)
        } else {
            comment.cut(to: start - 1)
        }
        if record.isMasked { comment.append("; masked") }
        if let word = record.privateAnswer.word {
            comment.append("; private address ")
            comment.append(word)
        }
        if record.isTruncated { comment.append("; truncated") }
        if record.hopCount > 1 { appendChain(record, to: &comment) }
        if let error = record.extendedError {
            comment.append("; EDE ")
            comment.append(decimal: error.rawValue)
            comment.append(UInt8(ascii: " "))
            comment.append(text: error.description, .plain)
            if !record.extendedText.isEmpty {
                comment.append(": ")
                comment.append(text: record.extendedText, .plain)
            }
        }
        if let process = record.process {
            comment.append("; process ")
            comment.append(text: process.description, .plain)
        }
        if record.transport != .udp {
            comment.append("; ")
            Self.appendTransport(record.transport, to: &comment)
        }
        comment.append("; lookup ")
        comment.append(decimal: id)
    }

    /// `; chain www.acme.org. zone acme.org.zone:9, acme.org. hosts /etc/hosts:12`
    private mutating func appendChain(_ record: LookupRecord, to comment: inout LineBuffer) {
        comment.append("; chain ")
        for index in 0..<record.hopCount {
            let hop = record.hop(index)
            if index > 0 { comment.append(", ") }
            comment.append(nameIn: record.message, at: Int(hop.nameOffset), .plain)
            comment.append(UInt8(ascii: " "))
            comment.append(hop.source.word)
            guard !hop.place.isNowhere else { continue }
            comment.append(UInt8(ascii: " "))
            places.append(hop.place, to: &comment)
        }
    }

    // MARK: Packets

    private static func appendPacket(
        _ time: UInt64, from source: SocketAddress, to target: SocketAddress, _ message: UnsafeRawBufferPointer,
        _ comment: UnsafeRawBufferPointer, _ bytes: inout [UInt8]
    ) {
        let packet = packet(from: source, to: target, message)
        appendBlock(Block.packet, to: &bytes) { body in
            body.append(little: UInt32(0))
            body.append(little: UInt32(truncatingIfNeeded: time >> 32))
            body.append(little: UInt32(truncatingIfNeeded: time))
            body.append(little: UInt32(packet.count))
            body.append(little: UInt32(packet.count))
            body += packet
            body.pad()
            guard !comment.isEmpty else { return }
            appendOption(Option.comment, Array(comment.prefix(longestComment)), to: &body)
            body.append(little: UInt32(0))
        }
    }

    /// IP, UDP, and the message.
    ///
    /// - RFC: 791 3.1; 8200 3, 8.1; 768.
    private static func packet(
        from source: SocketAddress, to target: SocketAddress, _ message: UnsafeRawBufferPointer
    ) -> [UInt8] {
        // The largest message of a record is far below the limit of a datagram.
        let length = UInt16(clamping: 8 + message.count)
        var addresses = LineBuffer(capacity: 32)
        addresses.append(addressBytes: source)
        addresses.append(addressBytes: target)
        var datagram = LineBuffer(capacity: 1024)
        datagram.append(word: source.port)
        datagram.append(word: target.port)
        datagram.append(word: length)
        let sum = checksum([addresses.bytes, datagram.bytes, message], with: UInt64(length) + UInt64(udp))
        datagram.append(word: sum == 0 ? 0xFFFF : sum)
        datagram.append(message)

        var packet = LineBuffer(capacity: 1024)
        if source.isIPv6 {
            packet.append(long: 0x6000_0000)
            packet.append(word: length)
            packet.append(udp)
            packet.append(hopLimit)
        } else {
            var head = LineBuffer(capacity: 32)
            head.append(word: 0x4500)
            head.append(word: 20 + length)
            // No ID; don't fragment.
            head.append(long: 0x4000)
            head.append(hopLimit)
            head.append(udp)
            packet.append(head.bytes)
            packet.append(word: checksum([head.bytes, addresses.bytes], with: 0))
        }
        packet.append(addresses.bytes)
        packet.append(datagram.bytes)
        return Array(packet.bytes)
    }

    private static let udp: UInt8 = 17
    private static let hopLimit: UInt8 = 64

    /// The Internet checksum over parts, of which only the last may have an odd length.
    ///
    /// - RFC: 1071.
    private static func checksum(_ parts: [UnsafeRawBufferPointer], with start: UInt64) -> UInt16 {
        var sum = start
        for part in parts {
            for (index, byte) in part.enumerated() { sum += UInt64(byte) << (index & 1 == 0 ? 8 : 0) }
        }
        while sum >> 16 != 0 { sum = (sum & 0xFFFF) + sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }

    // MARK: Blocks

    private static func appendBlock(_ type: UInt32, to bytes: inout [UInt8], _ write: (inout [UInt8]) -> Void) {
        var body: [UInt8] = []
        write(&body)
        let length = UInt32(body.count + 12)
        bytes.append(little: type)
        bytes.append(little: length)
        bytes += body
        bytes.append(little: length)
    }

    private static func appendOption(_ code: UInt16, _ value: [UInt8], to bytes: inout [UInt8]) {
        bytes.append(little: code)
        bytes.append(little: UInt16(clamping: value.count))
        bytes += value
        bytes.pad()
    }
}

extension [UInt8] {
    fileprivate mutating func append(little value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value >> 8))
    }

    fileprivate mutating func append(little value: UInt32) {
        append(little: UInt16(truncatingIfNeeded: value))
        append(little: UInt16(truncatingIfNeeded: value >> 16))
    }

    /// Zero padding to a multiple of four bytes.
    fileprivate mutating func pad() { while count % 4 != 0 { append(0) } }
}
