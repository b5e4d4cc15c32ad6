public import Platform

/// A message to or from upstream, for whoever watches what is said there; good until the call returns.
public struct UpstreamMessage {
    public var server: SocketAddress
    /// Our end of it; nil where the system does not tell.
    public var local: SocketAddress?
    public var transport: UpstreamTransport
    /// When the query left, in microseconds of the engine's clock.
    public var sent: UInt64
    /// When the response came; nil: this is the query.
    public var received: UInt64?
    /// What was sent or received, without TCP's length.
    public var bytes: UnsafeRawBufferPointer

    public init(
        server: SocketAddress, local: SocketAddress?, transport: UpstreamTransport, sent: UInt64, received: UInt64?,
        bytes: UnsafeRawBufferPointer
    ) {
        self.server = server
        self.local = local
        self.transport = transport
        self.sent = sent
        self.received = received
        self.bytes = bytes
    }
}
