import Platform

/// Finds DNS messages in packet captures: pcapng (draft-ietf-opsawg-pcapng) and pcap (draft-ietf-opsawg-pcap), as tcpdump
/// and Wireshark write them.
///
/// Looks at UDP and TCP with port 53 at one end, over IPv4 and IPv6. Datagrams in fragments are skipped.
struct PacketCaptureReader {
    private enum Block {
        static let section: UInt32 = 0x0A0D_0D0A
        static let interface: UInt32 = 1
        static let simplePacket: UInt32 = 3
        static let packet: UInt32 = 6
    }

    /// How packets of an interface begin, and the unit of their times.
    private struct Interface {
        var link: UInt32
        /// Units per second.
        var resolution: UInt64 = 1_000_000
    }

    private static let dnsPort: UInt16 = 53
    /// The most interfaces of a section.
    private static let mostInterfaces = 10_000

    private var capture = Capture()
    private var streams = CapturedStreams()
    private var interfaces: [Interface] = []

    static func accepts(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.starts(with: [0x0A, 0x0D, 0x0D, 0x0A]) || classic(bytes) != nil
    }

    static func read(_ bytes: UnsafeRawBufferPointer) -> Capture {
        var reader = PacketCaptureReader()
        if let (isLittleEndian, resolution) = classic(bytes) {
            reader.readClassic(bytes, isLittleEndian, resolution)
        } else {
            reader.readBlocks(bytes)
        }
        return reader.capture
    }

    /// The byte order and the unit of times of a pcap file.
    private static func classic(_ bytes: UnsafeRawBufferPointer) -> (isLittleEndian: Bool, resolution: UInt64)? {
        for (magic, resolution) in [([0xA1, 0xB2, 0xC3, 0xD4], 1_000_000), ([0xA1, 0xB2, 0x3C, 0x4D], 1_000_000_000)]
            as [([UInt8], UInt64)]
        {
            if bytes.starts(with: magic) { return (false, resolution) }
            if bytes.starts(with: magic.reversed()) { return (true, resolution) }
        }
        return nil
    }

    // MARK: Files

    private mutating func readClassic(_ bytes: UnsafeRawBufferPointer, _ isLittleEndian: Bool, _ resolution: UInt64) {
        var file = CaptureBytes(bytes)
        file.isLittleEndian = isLittleEndian
        guard file.skip(20), let link = file.long() else { return capture.skip("a file that is cut off") }
        let interface = Interface(link: link & 0xFFFF, resolution: resolution)
        while !file.isEmpty {
            guard let seconds = file.long(), let part = file.long(), let length = file.long(), file.skip(4),
                let packet = file.take(Int(length))
            else { return capture.skip("a file that is cut off") }
            let time = UInt64(seconds) * 1_000_000 + UInt64(part) * 1_000_000 / resolution
            take(packet, interface, time)
        }
    }

    private mutating func readBlocks(_ bytes: UnsafeRawBufferPointer) {
        var file = CaptureBytes(bytes)
        while !file.isEmpty {
            let start = file
            guard let type = file.long() else { return capture.skip("a file that is cut off") }
            if type == Block.section {
                // The byte order is that of the magic number behind the length.
                var peek = file
                guard peek.skip(4), let magic = peek.take(4) else { return capture.skip("a file that is cut off") }
                file = start
                file.isLittleEndian = magic.first == 0x4D
                interfaces = []
                guard file.skip(4) else { return }
            }
            guard let length = file.long(), length >= 12, length % 4 == 0, let body = file.take(Int(length) - 12),
                file.skip(4)
            else { return capture.skip("a file that is cut off") }
            var block = CaptureBytes(body)
            block.isLittleEndian = file.isLittleEndian
            switch type {
            case Block.interface: readInterface(&block)
            case Block.packet: readPacket(&block)
            case Block.simplePacket:
                if let first = interfaces.first, let length = block.long() {
                    take(UnsafeRawBufferPointer(rebasing: block.rest.prefix(Int(length))), first, 0)
                }
            default: break
            }
        }
    }

    private mutating func readInterface(_ block: inout CaptureBytes) {
        guard interfaces.count < Self.mostInterfaces, let link = block.word(), block.skip(6) else {
            return capture.skip("a packet of an interface that is not described")
        }
        var interface = Interface(link: UInt32(link))
        while let code = block.word(), let length = block.word(), code != 0,
            let value = block.take((Int(length) + 3) / 4 * 4)
        {
            // if_tsresol: a power of ten, or, with the highest bit, of two.
            guard code == 9, length == 1, let exponent = value.first else { continue }
            if exponent & 0x80 != 0 {
                interface.resolution = 1 << UInt64(min(exponent & 0x7F, 40))
            } else {
                interface.resolution = (0..<min(exponent, 12)).reduce(1) { unit, _ in unit * 10 }
            }
        }
        interfaces.append(interface)
    }

    private mutating func readPacket(_ block: inout CaptureBytes) {
        guard let number = block.long(), let high = block.long(), let low = block.long(), let length = block.long(),
            block.skip(4), let packet = block.take(Int(length)), interfaces.indices.contains(Int(number))
        else { return capture.skip("a packet of an interface that is not described") }
        let interface = interfaces[Int(number)]
        let units = UInt64(high) << 32 | UInt64(low)
        let (seconds, part) = units.quotientAndRemainder(dividingBy: interface.resolution)
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        let fraction = part.multipliedFullWidth(by: 1_000_000)
        take(packet, interface, overflow ? 0 : whole &+ interface.resolution.dividingFullWidth(fraction).quotient)
    }

    // MARK: Packets

    private mutating func take(_ packet: UnsafeRawBufferPointer, _ interface: Interface, _ time: UInt64) {
        var bytes = CaptureBytes(packet)
        guard Self.skipLink(&bytes, interface.link) else { return capture.skip("a packet that is not of IP") }
        guard let first = bytes.rest.first else { return }
        switch first >> 4 {
        case 4: takeIPv4(&bytes, time)
        case 6: takeIPv6(&bytes, time)
        default: capture.skip("a packet that is not of IP")
        }
    }

    /// Skips what stands before the IP header; false if that is not next.
    private static func skipLink(_ bytes: inout CaptureBytes, _ link: UInt32) -> Bool {
        func isIP(_ type: UInt16?) -> Bool { type == 0x0800 || type == 0x86DD }
        switch link {
        // LINKTYPE_RAW and its numbers of some systems, LINKTYPE_IPV4, LINKTYPE_IPV6.
        case 101, 12, 14, 228, 229: return true
        case 0, 108: return bytes.skip(4)  // Loopback.
        case 1:
            guard bytes.skip(12), var type = bytes.word() else { return false }
            // VLAN tags.
            while type == 0x8100 || type == 0x88A8 {
                guard bytes.skip(2), let next = bytes.word() else { return false }
                type = next
            }
            return isIP(type)
        case 113: return bytes.skip(14) && isIP(bytes.word())  // Linux, "any".
        case 276:
            let type = bytes.word()
            return bytes.skip(18) && isIP(type)
        default: return false
        }
    }

    /// - RFC: 791 3.1.
    private mutating func takeIPv4(_ bytes: inout CaptureBytes, _ time: UInt64) {
        guard let head = bytes.byte(), bytes.skip(1), let length = bytes.word(), bytes.skip(2),
            let fragment = bytes.word(), bytes.skip(1), let next = bytes.byte(), bytes.skip(2),
            let source = bytes.take(4), let target = bytes.take(4), head & 15 >= 5,
            bytes.skip(Int(head & 15) * 4 - 20),
            let payload = bytes.take(min(Int(length) - Int(head & 15) * 4, bytes.rest.count))
        else { return capture.skip("a packet that is cut off") }
        guard fragment & 0x3FFF == 0 else { return capture.skip("a fragment") }
        takePayload(payload, next, source, target, time)
    }

    /// - RFC: 8200 3, 4.
    private mutating func takeIPv6(_ bytes: inout CaptureBytes, _ time: UInt64) {
        guard bytes.skip(4), let length = bytes.word(), var next = bytes.byte(), bytes.skip(1),
            let source = bytes.take(16), let target = bytes.take(16),
            let body = bytes.take(min(Int(length), bytes.rest.count))
        else { return capture.skip("a packet that is cut off") }
        var payload = CaptureBytes(body)
        // Hop-by-hop, routing and destination options.
        while [0, 43, 60].contains(next) {
            guard let type = payload.byte(), let units = payload.byte(), payload.skip(Int(units) * 8 + 6) else {
                return capture.skip("a packet that is cut off")
            }
            next = type
        }
        if next == 44 { return capture.skip("a fragment") }
        takePayload(payload.rest, next, source, target, time)
    }

    private mutating func takePayload(
        _ payload: UnsafeRawBufferPointer, _ next: UInt8, _ source: UnsafeRawBufferPointer,
        _ target: UnsafeRawBufferPointer, _ time: UInt64
    ) {
        var bytes = CaptureBytes(payload)
        guard next == 17 || next == 6, let from = bytes.word(), let to = bytes.word() else { return }
        guard from == Self.dnsPort || to == Self.dnsPort, let source = SocketAddress(ip: source, port: from),
            let target = SocketAddress(ip: target, port: to)
        else { return }
        if next == 17 {
            guard let length = bytes.word(), bytes.skip(2), let body = bytes.take(Int(length) - 8) else {
                return capture.skip("a packet that is cut off")
            }
            capture.messages.append(
                CapturedMessage(source: source, target: target, transport: .udp, time: time, bytes: Array(body)))
            return
        }
        guard let sequence = bytes.long(), bytes.skip(4), let offset = bytes.byte(), let flags = bytes.byte(),
            offset >> 4 >= 5, bytes.skip(Int(offset >> 4) * 4 - 14)
        else { return capture.skip("a packet that is cut off") }
        let segment = CapturedStreams.Segment(
            source: source, target: target, sequence: sequence, isStart: flags & 2 != 0, isEnd: flags & 5 != 0,
            bytes: bytes.rest)
        guard
            streams.take(
                segment,
                { message in
                    capture.messages.append(
                        CapturedMessage(source: source, target: target, transport: .tcp, time: time, bytes: message))
                })
        else { return capture.skip("a TCP connection of which a part is missing") }
    }
}

/// The TCP connections of a capture, each direction for itself: puts segments together to messages.
///
/// A connection of which a segment is missing, or late, is given up: its next message could begin anywhere.
struct CapturedStreams {
    struct Segment {
        var source: SocketAddress
        var target: SocketAddress
        var sequence: UInt32
        /// SYN.
        var isStart: Bool
        /// FIN or RST.
        var isEnd: Bool
        var bytes: UnsafeRawBufferPointer
    }

    private struct Direction: Hashable {
        var source: SocketAddress
        var target: SocketAddress
    }

    private struct Stream {
        /// The sequence number that comes next.
        var next: UInt32
        var bytes: [UInt8] = []
    }

    private var streams: [Direction: Stream] = [:]
    /// More at once are given up.
    private static let most = 10_000

    /// Passes the messages that `segment` completes to `body`, without their length; false if the stream is given up.
    mutating func take(_ segment: Segment, _ body: ([UInt8]) -> Void) -> Bool {
        let direction = Direction(source: segment.source, target: segment.target)
        defer { if segment.isEnd { streams[direction] = nil } }
        if segment.isStart {
            guard streams.count < Self.most || streams[direction] != nil else { return false }
            streams[direction] = Stream(next: segment.sequence &+ 1)
            return true
        }
        if segment.bytes.isEmpty { return true }
        guard var stream = streams.removeValue(forKey: direction) else { return false }
        // Sent again: what is known of it is skipped.
        let known = stream.next &- segment.sequence
        guard known < 1 << 30 else { return false }
        let fresh = segment.bytes.dropFirst(Int(known))
        stream.bytes += fresh
        stream.next &+= UInt32(fresh.count)
        var start = 0
        while start + 2 <= stream.bytes.count {
            let end = start + 2 + Int(stream.bytes[start]) << 8 + Int(stream.bytes[start + 1])
            guard end <= stream.bytes.count else { break }
            body(Array(stream.bytes[(start + 2)..<end]))
            start = end
        }
        // Less than one message is left.
        stream.bytes.removeFirst(start)
        streams[direction] = stream
        return true
    }
}
