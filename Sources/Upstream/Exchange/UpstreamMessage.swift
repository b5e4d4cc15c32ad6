package import Platform

/// A message to or from upstream, for whoever watches what is said there; good until the call returns.
package struct UpstreamMessage {
    package var server: SocketAddress
    /// Our end of it; nil where the system does not tell.
    package var local: SocketAddress?
    package var transport: UpstreamTransport
    /// When the query left, in microseconds of the engine's clock.
    package var sent: UInt64
    /// When the response came; nil: this is the query.
    package var received: UInt64?
    /// What was sent or received, without TCP's length.
    package var bytes: UnsafeRawBufferPointer

    package init(
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
