public import Platform
import Upstream

/// A message to or from upstream, as the bytes that travel through a ring of their own.
///
/// A view of memory that somebody else owns: good until the observer returns.
public struct ForwardedExchange: BitwiseCopyable {
    private let base: UnsafeRawPointer

    /// Bytes of the longest message there is.
    static let maximumMessageLength = 65_535

    /// What tells it from lookups, which `LookupRecord` has; size, kind and time stand where they stand there.
    static let kind: UInt8 = 3

    /// Offsets. Native byte order: it never leaves the process.
    private enum Field {
        static let size = 0  // UInt32, a multiple of 8
        static let kind = 4
        static let marks = 5
        static let messageLength = 6
        static let time = 8
        static let sent = 16
        static let server = 24  // SocketAddress, 24 bytes
        static let local = 48
        static let transport = 72
        static let end = 80
    }

    private enum Mark {
        static let response: UInt8 = 1
        static let local: UInt8 = 2
    }

    init(_ record: LookupRecord) { base = record.base }

    // MARK: Reading

    /// Microseconds since 1970 when the message left or came.
    public var time: UInt64 { load(Field.time) }
    /// Microseconds since 1970 when the query left.
    public var queryTime: UInt64 { load(Field.sent) }
    public var isResponse: Bool { marks & Mark.response != 0 }
    public var transport: UpstreamTransport { UpstreamTransport(rawValue: load(Field.transport)) ?? .udp }
    public var server: SocketAddress { load(Field.server) }
    /// Our end of it; nil where the system did not tell.
    public var local: SocketAddress? { marks & Mark.local != 0 ? load(Field.local) : nil }
    /// As it was sent or received: from a response, bytes that nobody has judged.
    public var message: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + Field.end, count: Int(load(Field.messageLength) as UInt16))
    }

    private var marks: UInt8 { load(Field.marks) }

    private func load<T: BitwiseCopyable>(_ field: Int) -> T { base.load(fromByteOffset: field, as: T.self) }

    // MARK: Writing

    static func size(messageLength: Int) -> Int { (Field.end + messageLength + 7) & ~7 }

    /// Writes one to `base`, 8-aligned, where `size` bytes are free. `clock` is added to the engine's time to make it
    /// microseconds since 1970.
    static func write(to base: UnsafeMutableRawPointer, size: Int, _ message: UpstreamMessage, clock: UInt64) {
        var marks: UInt8 = 0
        if message.received != nil { marks |= Mark.response }
        if message.local != nil { marks |= Mark.local }
        let bytes = UnsafeRawBufferPointer(rebasing: message.bytes.prefix(maximumMessageLength))
        base.storeBytes(of: UInt32(truncatingIfNeeded: size), toByteOffset: Field.size, as: UInt32.self)
        base.storeBytes(of: kind, toByteOffset: Field.kind, as: UInt8.self)
        base.storeBytes(of: marks, toByteOffset: Field.marks, as: UInt8.self)
        base.storeBytes(of: UInt16(clamping: bytes.count), toByteOffset: Field.messageLength, as: UInt16.self)
        base.storeBytes(
            of: (message.received ?? message.sent) &+ clock, toByteOffset: Field.time, as: UInt64.self)
        base.storeBytes(of: message.sent &+ clock, toByteOffset: Field.sent, as: UInt64.self)
        base.storeBytes(of: message.transport.rawValue, toByteOffset: Field.transport, as: UInt8.self)
        base.storeBytes(of: message.server, toByteOffset: Field.server, as: SocketAddress.self)
        base.storeBytes(of: message.local ?? message.server, toByteOffset: Field.local, as: SocketAddress.self)
        if let start = bytes.baseAddress { (base + Field.end).copyMemory(from: start, byteCount: bytes.count) }
    }
}
