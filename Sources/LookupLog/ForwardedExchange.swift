public import Platform
import Upstream

/// A message to or from upstream, in the form in which it passes through a ring of its own.
///
/// A view of memory it does not own: valid until the observer returns.
public struct ForwardedExchange: BitwiseCopyable {
    private let base: UnsafeRawPointer

    /// The longest possible message, in bytes.
    static let maximumMessageLength = 65_535

    /// Distinguishes it from lookups (`LookupRecord`); size, kind and time have the same offsets in both.
    static let kind: UInt8 = 3

    /// Offsets. Native byte order: a record never leaves the process.
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

    /// When the message was sent or received, in microseconds since 1970.
    public var time: UInt64 { load(Field.time) }
    /// When the query was sent, in microseconds since 1970.
    public var queryTime: UInt64 { load(Field.sent) }
    public var isResponse: Bool { marks & Mark.response != 0 }
    public var transport: UpstreamTransport { UpstreamTransport(rawValue: load(Field.transport)) ?? .udp }
    public var server: SocketAddress { load(Field.server) }
    /// Our end of the exchange; nil if unknown.
    public var local: SocketAddress? { marks & Mark.local != 0 ? load(Field.local) : nil }
    /// The bytes as sent or received; those of a response are unchecked.
    public var message: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + Field.end, count: Int(load(Field.messageLength) as UInt16))
    }

    private var marks: UInt8 { load(Field.marks) }

    private func load<T: BitwiseCopyable>(_ field: Int) -> T { base.load(fromByteOffset: field, as: T.self) }

    // MARK: Writing

    static func size(messageLength: Int) -> Int { (Field.end + messageLength + 7) & ~7 }

    /// Writes one to `base`, 8-aligned, with `size` bytes. `clock` is added to the engine's time to get microseconds
    /// since 1970.
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
