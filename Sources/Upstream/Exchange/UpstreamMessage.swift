public import Platform

/// A message to or from upstream, as shown to an observer; valid during the call.
public struct UpstreamMessage {
    public var server: SocketAddress
    /// Our end of the exchange; nil if unknown.
    public var local: SocketAddress?
    public var transport: UpstreamTransport
    /// When the query was sent, in microseconds of the engine's clock.
    public var sent: UInt64
    /// When the response arrived; nil for a query.
    public var received: UInt64?
    /// The message without TCP's length prefix.
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
