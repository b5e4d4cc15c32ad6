import NIOCore

/// Looks at the bytes of a TLS handshake as they pass, on the network's side of the TLS handler, and changes nothing.
///
/// Version and cipher suite stand there in clear, with TLS 1.3 too.
final class HandshakeTap: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// When the ClientHello went out.
    private(set) var clientHello: ContinuousClock.Instant?
    private(set) var serverHello: (hello: ServerHello, time: ContinuousClock.Instant)?
    private(set) var alert: UInt8?
    /// What came is not TLS at all.
    private(set) var isForeign = false
    private var received: [UInt8]? = []

    /// A ServerHello is never so long.
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
