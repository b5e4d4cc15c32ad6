import Platform

/// Finds DNS messages in dnstap files, of stub53 or of any other server.
struct DnstapReader {
    private var capture = Capture()

    /// A frame is never longer: a message, and what is said about it.
    private static let longestFrame = 1 << 20

    static func accepts(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if case .control(.start, _, true) = FrameStream.read(Array(bytes.prefix(8 + FrameStream.maximumControlLength)))
        {
            return true
        }
        return false
    }

    static func read(_ bytes: UnsafeRawBufferPointer) -> Capture {
        var reader = DnstapReader()
        reader.readFrames(bytes)
        return reader.capture
    }

    private mutating func readFrames(_ bytes: UnsafeRawBufferPointer) {
        var file = CaptureBytes(bytes)
        while !file.isEmpty {
            guard let length = file.long(), length <= Self.longestFrame else {
                return capture.skip("a file that is cut off")
            }
            // A control frame follows its own length.
            if length == 0 {
                guard let length = file.long(), let control = file.take(Int(length)) else {
                    return capture.skip("a file that is cut off")
                }
                var body = CaptureBytes(control)
                if body.long() == FrameStream.Control.stop.rawValue { return }
                continue
            }
            guard let frame = file.take(Int(length)) else { return capture.skip("a file that is cut off") }
            guard let message = Self.field(14, of: frame), take(message) else {
                capture.skip("a frame that is no message")
                continue
            }
        }
    }

    /// The bytes of field `number`.
    private static func field(_ number: UInt64, of bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var found: UnsafeRawBufferPointer?
        _ = eachField(bytes) { if $0 == number, let bytes = $2 { found = bytes } }
        return found
    }

    /// Passes each field's number, and its value or its bytes; false if they are malformed.
    private static func eachField(
        _ bytes: UnsafeRawBufferPointer, _ body: (UInt64, UInt64, UnsafeRawBufferPointer?) -> Void
    ) -> Bool {
        var rest = CaptureBytes(bytes)
        while !rest.isEmpty {
            guard let tag = rest.varint() else { return false }
            switch tag & 7 {
            case 0:
                guard let value = rest.varint() else { return false }
                body(tag >> 3, value, nil)
            case 1: guard rest.skip(8) else { return false }
            case 2:
                guard let length = rest.varint(), let part = rest.take(Int(clamping: length)) else { return false }
                body(tag >> 3, 0, part)
            case 5:
                rest.isLittleEndian = true
                guard let value = rest.long() else { return false }
                body(tag >> 3, UInt64(value), nil)
            default: return false
            }
        }
        return true
    }

    /// Takes the messages of a `Message`; false if it is malformed.
    private mutating func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var (kind, transport) = (0 as UInt64, UpstreamTransport.udp)
        var addresses: (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?)
        var ports: (UInt64, UInt64) = (0, 0)
        var seconds: (UInt64, UInt64) = (0, 0)
        var nanoseconds: (UInt64, UInt64) = (0, 0)
        var messages: (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?)
        let isSound = Self.eachField(bytes) { number, value, bytes in
            switch number {
            case 1: kind = value
            case 3:
                // `SocketProtocol`: UDP 1, TCP 2, DOT 3, DOH 4.
                transport = value == 2 ? .tcp : value == 3 ? .dot : value == 4 ? .doh : .udp
            case 4: addresses.0 = bytes
            case 5: addresses.1 = bytes
            case 6: ports.0 = value
            case 7: ports.1 = value
            case 8: seconds.0 = value
            case 9: nanoseconds.0 = value
            case 10: messages.0 = bytes
            case 12: seconds.1 = value
            case 13: nanoseconds.1 = value
            case 14: messages.1 = bytes
            default: break
            }
        }
        guard isSound, (1...14).contains(kind) else { return false }
        func time(_ seconds: UInt64, _ nanoseconds: UInt64) -> UInt64 {
            min(seconds, 1 << 40) * 1_000_000 + min(nanoseconds, 999_999_999) / 1000
        }
        func address(_ bytes: UnsafeRawBufferPointer?, _ port: UInt64) -> SocketAddress {
            let port = UInt16(truncatingIfNeeded: port)
            return bytes.flatMap { SocketAddress(ip: $0, port: port) }
                ?? SocketAddress(high: 0, low: 0, port: port, isIPv6: false)
        }
        let client = address(addresses.0, ports.0)
        let server = address(addresses.1, ports.1)
        // RESOLVER_QUERY and RESPONSE 3 and 4, FORWARDER_QUERY and RESPONSE 7 and 8.
        let isUpstream = [3, 4, 7, 8].contains(kind)
        if let query = messages.0 {
            capture.messages.append(
                CapturedMessage(
                    source: client, target: server, transport: transport, time: time(seconds.0, nanoseconds.0),
                    isUpstream: isUpstream, bytes: Array(query.prefix(65_535))))
        }
        if let response = messages.1 {
            capture.messages.append(
                CapturedMessage(
                    source: server, target: client, transport: transport, time: time(seconds.1, nanoseconds.1),
                    queryTime: seconds.0 > 0 ? time(seconds.0, nanoseconds.0) : nil, isUpstream: isUpstream,
                    bytes: Array(response.prefix(65_535))))
        }
        return true
    }
}
