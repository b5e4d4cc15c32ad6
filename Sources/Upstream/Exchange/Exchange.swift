public import Platform

/// One way in which messages get to upstream servers and back. `ForwardCore` decides on them and touches no network.
///
/// A channel is opened, then carries whole messages both ways until it is closed or has failed. What fails is told by
/// `takeFailures`, not thrown. All of it belongs to the lane's thread.
public protocol Exchange: ~Copyable {
    /// Opens `channel` to `server`; messages may be sent at once.
    mutating func open(_ channel: UpstreamChannel, to server: SocketAddress)

    /// Closes `channel`, where it is open.
    mutating func close(_ channel: UpstreamChannel)

    mutating func closeAll()

    /// Sends the messages of one channel, whose bytes stand in `outbox`. What there is no room for is lost, as on any
    /// network.
    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8])

    /// Hands over each message that has come, with its channel; its bytes are good until the call returns.
    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void)

    /// The channels that have failed since the last call, each once: not opened, not written to, or ended by the server.
    mutating func takeFailures() -> [UpstreamChannel]

    /// Our end of `channel`; nil where it is not open or the system does not tell.
    func localAddress(of channel: UpstreamChannel) -> SocketAddress?
}

/// All the ways that a lane has, to be waited for as one.
public protocol UpstreamNetwork: Exchange, ~Copyable {
    /// Readable when there is something to receive, or the lane is called.
    var descriptor: Int32 { get }

    /// Waits until `descriptor` is readable, `milliseconds` at most (-1: for ever).
    mutating func wait(milliseconds: Int32)
}

/// Where a message goes or came from.
public enum UpstreamChannel: Hashable, Sendable, BitwiseCopyable {
    /// A UDP socket of ours that is connected to one server, by its number in `SourcePorts`.
    case port(Int)
    /// The TCP connection to a server.
    case stream(server: Int)

    private static let streamBit: UInt64 = 1 << 40

    /// Tells the channel from all others, below 2^48.
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

/// A message that is to leave: a range of the outbox.
public struct OutgoingMessage: Sendable {
    public var channel: UpstreamChannel
    /// The server at the channel's other end, by its number in the settings.
    public var server: Int
    public var bytes: Range<Int>
}
