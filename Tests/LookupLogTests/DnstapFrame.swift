import Foundation

/// A dnstap frame as a collector decodes it, per dnstap.proto.
struct DnstapFrame {
    var identity: String?
    var version: String?
    /// MESSAGE is 1.
    var type: UInt64?
    /// CLIENT_QUERY 5, CLIENT_RESPONSE 6, FORWARDER_QUERY 7, FORWARDER_RESPONSE 8.
    var kind: UInt64?
    /// INET 1, INET6 2.
    var family: UInt64?
    /// UDP 1, TCP 2, DOT 3, DOH 4.
    var transport: UInt64?
    var queryAddress: [UInt8]?
    var queryPort: UInt64?
    var responseAddress: [UInt8]?
    var responsePort: UInt64?
    /// Microseconds since 1970.
    var queryTime: UInt64?
    var responseTime: UInt64?
    var queryMessage: [UInt8]?
    var responseMessage: [UInt8]?

    struct Malformed: Error {}

    init(_ bytes: [UInt8]) throws {
        for field in try Self.fields(bytes) {
            switch field.number {
            case 1: identity = String(decoding: field.bytes, as: UTF8.self)
            case 2: version = String(decoding: field.bytes, as: UTF8.self)
            case 15: type = field.value
            case 14: try readMessage(field.bytes)
            default: throw Malformed()
            }
        }
    }

    private mutating func readMessage(_ bytes: [UInt8]) throws {
        var seconds: (UInt64, UInt64) = (0, 0)
        for field in try Self.fields(bytes) {
            switch field.number {
            case 1: kind = field.value
            case 2: family = field.value
            case 3: transport = field.value
            case 4: queryAddress = field.bytes
            case 5: responseAddress = field.bytes
            case 6: queryPort = field.value
            case 7: responsePort = field.value
            case 8: seconds.0 = field.value
            case 9: queryTime = seconds.0 * 1_000_000 + field.value / 1000
            case 10: queryMessage = field.bytes
            case 12: seconds.1 = field.value
            case 13: responseTime = seconds.1 * 1_000_000 + field.value / 1000
            case 14: responseMessage = field.bytes
            default: throw Malformed()
            }
        }
    }

    private static func fields(_ bytes: [UInt8]) throws -> [(number: UInt64, value: UInt64, bytes: [UInt8])] {
        var cursor = 0
        func varint() throws -> UInt64 {
            var value: UInt64 = 0
            for shift in stride(from: 0 as UInt64, to: 64, by: 7) {
                guard cursor < bytes.count else { throw Malformed() }
                cursor += 1
                value |= UInt64(bytes[cursor - 1] & 0x7F) << shift
                if bytes[cursor - 1] < 0x80 { return value }
            }
            throw Malformed()
        }
        var fields: [(UInt64, UInt64, [UInt8])] = []
        while cursor < bytes.count {
            let tag = try varint()
            switch tag & 7 {
            case 0: fields.append((tag >> 3, try varint(), []))
            case 2:
                let length = Int(try varint())
                guard cursor + length <= bytes.count else { throw Malformed() }
                fields.append((tag >> 3, 0, Array(bytes[cursor..<(cursor + length)])))
                cursor += length
            case 5:
                guard cursor + 4 <= bytes.count else { throw Malformed() }
                fields.append(
                    (tag >> 3, bytes[cursor..<(cursor + 4)].reversed().reduce(0) { $0 << 8 | UInt64($1) }, []))
                cursor += 4
            default: throw Malformed()
            }
        }
        return fields
    }
}

/// A Frame Streams file, read strictly: START with dnstap's content type, frames, STOP, and nothing after it.
struct FrameStreamFile {
    var payloads: [[UInt8]] = []
    var hasStop = false

    init(path: String) throws {
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
        func number(_ offset: Int) throws -> Int {
            guard offset + 4 <= bytes.count else { throw DnstapFrame.Malformed() }
            return bytes[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) }
        }
        let type = Array("protobuf:dnstap.Dnstap".utf8)
        let start: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22] + type
        guard bytes.starts(with: start) else { throw DnstapFrame.Malformed() }
        var cursor = start.count
        while cursor < bytes.count {
            let length = try number(cursor)
            cursor += 4
            if length == 0 {
                guard try number(cursor) == 4, try number(cursor + 4) == 3, cursor + 8 == bytes.count else {
                    throw DnstapFrame.Malformed()
                }
                hasStop = true
                return
            }
            guard cursor + length <= bytes.count else { throw DnstapFrame.Malformed() }
            payloads.append(Array(bytes[cursor..<(cursor + length)]))
            cursor += length
        }
    }

    func frames() throws -> [DnstapFrame] { try payloads.map { try DnstapFrame($0) } }
}
