public import Platform

/// A transport for messages to and from upstream servers. `ForwardCore` decides on messages and touches no network.
///
/// A channel is opened, then carries whole messages both ways until it is closed or fails. Failures are reported by
/// `takeEvents`, not thrown. Used on the lane's thread only.
public protocol Exchange: ~Copyable {
    /// Opens `channel` to `server`; messages may be sent at once.
    mutating func open(_ channel: UpstreamChannel, to server: UpstreamServer)

    /// Closes `channel` if it is open.
    mutating func close(_ channel: UpstreamChannel)

    mutating func closeAll()

    /// Sends messages of one channel, whose bytes are in `outbox`. Messages that don't fit are lost, as on any network.
    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8])

    /// Passes each message that has arrived, with its channel, to `handle`; the bytes are valid during the call.
    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void)

    /// What has happened to channels since the last call.
    mutating func takeEvents() -> [ExchangeEvent]

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
    /// A connection, by its number in `StreamConnections`.
    case stream(Int, over: UpstreamTransport)

    /// Unique among channels; below 2^48.
    var number: UInt64 {
        switch self {
        case .port(let port): UInt64(port)
        case .stream(let number, let transport): UInt64(transport.rawValue) << 40 | UInt64(number)
        }
    }

    init(number: UInt64) {
        let index = Int(truncatingIfNeeded: number & (1 << 40 - 1))
        let transport = UpstreamTransport(rawValue: UInt8(truncatingIfNeeded: number >> 40)) ?? .udp
        self = transport == .udp ? .port(index) : .stream(index, over: transport)
    }

    public var transport: UpstreamTransport {
        switch self {
        case .port: .udp
        case .stream(_, let transport): transport
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
