/// The framing that dnstap travels in: a length before each frame, and control frames around them.
///
/// A file has START, frames, STOP. Over a socket the collector is asked first: READY, its ACCEPT, START, frames, STOP,
/// its FINISH. All numbers are 32 bits in the network's order. See "Frame Streams" of the fstrm library, `control.h`.
enum FrameStream {
    static let contentType = Array("protobuf:dnstap.Dnstap".utf8)

    enum Control: UInt32 {
        case accept = 1
        case start, stop, ready, finish
    }

    /// Bytes of the length in front of a frame.
    static let lengthSize = 4
    /// Bytes that a control frame may have behind its length.
    static let maximumControlLength = 512
    private static let contentTypeField: UInt32 = 1

    static let start = control(.start, contentType)
    static let stop = control(.stop)
    static let ready = control(.ready, contentType)

    /// A control frame with the escape (a frame of length 0) that opens it.
    private static func control(_ control: Control, _ type: [UInt8]? = nil) -> [UInt8] {
        var body = bytes(control.rawValue)
        if let type { body += bytes(contentTypeField) + bytes(UInt32(type.count)) + type }
        return bytes(0) + bytes(UInt32(body.count)) + body
    }

    private static func bytes(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
    }

    /// What the bytes that came from a collector start with.
    enum Reading: Equatable {
        /// A control frame of so many bytes; `takesDnstap`: it names our content type, or none at all.
        case control(Control, length: Int, takesDnstap: Bool)
        /// More is to come.
        case incomplete
        /// No control frame: who is there does not speak Frame Streams.
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
