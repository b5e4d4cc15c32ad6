import NIOCore

/// Observes the bytes of a TLS handshake between the network and the TLS handler, without changing them.
///
/// Version and cipher suite are sent unencrypted, even in TLS 1.3.
final class HandshakeTap: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// When the ClientHello was sent.
    private(set) var clientHello: ContinuousClock.Instant?
    private(set) var serverHello: (hello: ServerHello, time: ContinuousClock.Instant)?
    private(set) var alert: UInt8?
    /// The peer does not speak TLS.
    private(set) var isForeign = false
    private var received: [UInt8]? = []

    /// A ServerHello is never this long.
    private static let most = 1 << 16

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if clientHello == nil { clientHello = .now }
        context.write(data, promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if var bytes = received {
            bytes += unwrapInboundIn(data).readableBytesView
            received = bytes
            switch ServerHello.read(bytes) {
            case .needsMore: if bytes.count > Self.most { received = nil }
            case .hello(let hello):
                serverHello = (hello, .now)
                received = nil
            case .alert(let description):
                alert = description
                received = nil
            case .noTLS:
                isForeign = true
                received = nil
            }
        }
        context.fireChannelRead(data)
    }
}
