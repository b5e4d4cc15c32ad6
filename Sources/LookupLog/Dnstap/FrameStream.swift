/// The framing of dnstap data: length-prefixed frames between control frames.
///
/// A file has START, frames, STOP. A socket starts with a handshake: READY, the collector's ACCEPT, START, frames,
/// STOP, the collector's FINISH. All numbers are 32 bits in network byte order. See "Frame Streams" in the fstrm
/// library, `control.h`.
enum FrameStream {
    static let contentType = Array("protobuf:dnstap.Dnstap".utf8)

    enum Control: UInt32 {
        case accept = 1
        case start, stop, ready, finish
    }

    /// Bytes of a frame's length prefix.
    static let lengthSize = 4
    /// The most bytes in a control frame after its length.
    static let maximumControlLength = 512
    private static let contentTypeField: UInt32 = 1

    static let start = control(.start, contentType)
    static let stop = control(.stop)
    static let ready = control(.ready, contentType)

    /// A control frame, introduced by its escape (a frame of length 0).
    private static func control(_ control: Control, _ type: [UInt8]? = nil) -> [UInt8] {
        var body = bytes(control.rawValue)
        if let type { body += bytes(contentTypeField) + bytes(UInt32(type.count)) + type }
        return bytes(0) + bytes(UInt32(body.count)) + body
    }

    private static func bytes(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
    }

    /// How bytes from a collector begin.
    enum Reading: Equatable {
        /// A control frame of `length` bytes; `takesDnstap`: it names our content type, or none.
        case control(Control, length: Int, takesDnstap: Bool)
        /// More bytes are needed.
        case incomplete
        /// Not a control frame: the peer does not speak Frame Streams.
        case wrong
    }

    /// Reads one control frame. Never traps, whatever the bytes.
    static func read(_ bytes: [UInt8]) -> Reading {
        guard bytes.count >= 8 else {
            return bytes.prefix(4).allSatisfy { $0 == 0 } ? .incomplete : .wrong
        }
        let length = Int(number(bytes, 4))
        guard number(bytes, 0) == 0, (4...maximumControlLength).contains(length) else { return .wrong }
        guard bytes.count >= 8 + length else { return .incomplete }
        guard let control = Control(rawValue: number(bytes, 8)) else { return .wrong }
        var cursor = 12
        var types: [ArraySlice<UInt8>] = []
        while cursor < 8 + length {
            guard cursor + 8 <= 8 + length else { return .wrong }
            let end = cursor + 8 + Int(number(bytes, cursor + 4))
            guard number(bytes, cursor) == contentTypeField, end <= 8 + length else { return .wrong }
            types.append(bytes[(cursor + 8)..<end])
            cursor = end
        }
        let takes = types.isEmpty || types.contains { $0.elementsEqual(contentType) }
        return .control(control, length: 8 + length, takesDnstap: takes)
    }

    private static func number(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) }
    }
}
