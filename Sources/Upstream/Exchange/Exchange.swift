public import Platform

/// A transport for messages to and from upstream servers. `ForwardCore` decides on messages and touches no network.
///
/// A channel is opened, then carries whole messages both ways until it is closed or fails. Failures are reported by
/// `takeFailures`, not thrown. Used on the lane's thread only.
public protocol Exchange: ~Copyable {
    /// Opens `channel` to `server`; messages may be sent at once.
    mutating func open(_ channel: UpstreamChannel, to server: SocketAddress)

    /// Closes `channel` if it is open.
    mutating func close(_ channel: UpstreamChannel)

    mutating func closeAll()

    /// Sends messages of one channel, whose bytes are in `outbox`. Messages that don't fit are lost, as on any network.
    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8])

    /// Passes each message that has arrived, with its channel, to `handle`; the bytes are valid during the call.
    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void)

    /// The channels that failed since the last call, each once: not opened, not writable, or closed by the server.
    mutating func takeFailures() -> [UpstreamChannel]

    /// Our end of `channel`; nil if it is not open or unknown.
    func localAddress(of channel: UpstreamChannel) -> SocketAddress?
}

/// All exchanges of a lane, with one descriptor to wait for.
public protocol UpstreamNetwork: Exchange, ~Copyable {
    /// Readable when there is something to receive, or when the lane is woken.
    var descriptor: Int32 { get }

    /// Waits until `descriptor` is readable, `milliseconds` at most (-1: for ever).
    mutating func wait(milliseconds: Int32)
}

/// What a message travels over.
public enum UpstreamChannel: Hashable, Sendable, BitwiseCopyable {
    /// One of our UDP sockets, connected to one server, by its number in `SourcePorts`.
    case port(Int)
    /// The TCP connection to a server.
    case stream(server: Int)

    private static let streamBit: UInt64 = 1 << 40

    /// Unique among channels; below 2^48.
    var number: UInt64 {
        switch self {
        case .port(let port): UInt64(port)
        case .stream(let server): Self.streamBit | UInt64(server)
        }
    }

    init(number: UInt64) {
        let index = Int(truncatingIfNeeded: number & ~Self.streamBit)
        self = number & Self.streamBit == 0 ? .port(index) : .stream(server: index)
    }

    public var transport: UpstreamTransport {
        switch self {
        case .port: .udp
        case .stream: .tcp
        }
    }
}

/// A message to send: a range of the outbox.
public struct OutgoingMessage: Sendable {
    public var channel: UpstreamChannel
    /// The server at the other end, by its number in the settings.
    public var server: Int
    public var bytes: Range<Int>
}
