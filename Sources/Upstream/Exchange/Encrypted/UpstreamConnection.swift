import Certificates
import DNSWire
import Glibc
import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL
import NIOTLS
import Platform

/// One TLS connection to a server, on its event loop. What is sent before it is ready waits.
final class UpstreamConnection: Sendable {
    private let state: NIOLoopBoundBox<State>
    private let loop: any EventLoop

    private struct State {
        var channel: (any Channel)?
        var isClosed = false
        /// Frames that wait for the handshake.
        var pending = ByteBuffer()
        var isReady = false
    }

    private static let connectTimeout = TimeAmount.seconds(4)

    init(
        to server: UpstreamServer, over transport: UpstreamTransport, on loop: any EventLoop, trusts: UpstreamTrusts,
        inbox: EncryptedInbox, token: UInt64
    ) {
        self.loop = loop
        let state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: loop)
        self.state = state
        let begin = NIODeadline.now()
        let tell: @Sendable (EncryptedInbox.News) -> Bool = { inbox.put($0, from: token) }
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(Self.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let trust = try trusts.trust(server.encryption?.authorities)
                    let (tls, verdict) = try trust.handler(for: transport, name: server.encryption?.serverName)
                    let watch = UpstreamHandshake(
                        transport, server, verdict: verdict, begin: begin, tell: tell,
                        ready: { Self.becomeReady(state, $0) })
                    try channel.pipeline.syncOperations.addHandlers([tls, watch])
                }
            }
        loop.execute {
            guard !state.value.isClosed else { return }
            do { _ = try trusts.trust(server.encryption?.authorities) } catch {
                _ = tell(.failed(.noAuthorities))
                return
            }
            guard let target = try? NIOCore.SocketAddress(upstream: server.address) else {
                _ = tell(.failed(.unreachable))
                return
            }
            bootstrap.connect(to: target).whenComplete { result in
                switch result {
                case .success(let channel):
                    if state.value.isClosed { return channel.close(promise: nil) }
                    state.value.channel = channel
                case .failure(let error):
                    if case .connectTimeout? = error as? ChannelError {
                        _ = tell(.failed(.silent))
                    } else {
                        _ = tell(.failed(.unreachable))
                    }
                }
            }
        }
    }

    private static func becomeReady(_ state: NIOLoopBoundBox<State>, _ channel: any Channel) {
        state.value.isReady = true
        state.value.channel = channel
        guard state.value.pending.readableBytes > 0 else { return }
        let pending = state.value.pending
        state.value.pending = ByteBuffer()
        channel.writeAndFlush(pending, promise: nil)
    }

    /// Sends whole messages, each behind its length.
    func send(_ frames: ByteBuffer) {
        loop.execute { [state] in
            if state.value.isClosed { return }
            guard state.value.isReady, let channel = state.value.channel else {
                var frames = frames
                state.value.pending.writeBuffer(&frames)
                return
            }
            channel.writeAndFlush(frames, promise: nil)
        }
    }

    func close() {
        loop.execute { [state] in
            state.value.isClosed = true
            state.value.pending = ByteBuffer()
            state.value.channel?.close(promise: nil)
        }
    }
}

/// Waits for the end of the TLS handshake, installs what speaks DNS behind it, and reports faults.
private final class UpstreamHandshake: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let transport: UpstreamTransport
    private let server: UpstreamServer
    private let verdict: CertificateVerdict
    private let begin: NIODeadline
    private let tell: @Sendable (EncryptedInbox.News) -> Bool
    private let ready: (any Channel) -> Void
    private var isReady = false
    private var hasFailed = false

    init(
        _ transport: UpstreamTransport, _ server: UpstreamServer, verdict: CertificateVerdict, begin: NIODeadline,
        tell: @escaping @Sendable (EncryptedInbox.News) -> Bool, ready: @escaping (any Channel) -> Void
    ) {
        self.transport = transport
        self.server = server
        self.verdict = verdict
        self.begin = begin
        self.tell = tell
        self.ready = ready
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent, !isReady else {
            return context.fireUserInboundEventTriggered(event)
        }
        do {
            let pipeline = context.pipeline.syncOperations
            let tls = try pipeline.handler(type: NIOSSLClientHandler.self)
            guard let certificate = tls.peerCertificate, try isMeant(certificate) else {
                return fail(.otherName, context)
            }
            if transport == .doh {
                // DNS over HTTP/1.1 would need a connection for each query at a time.
                guard negotiated == "h2", let encryption = server.encryption else { return fail(.handshake, context) }
                try pipeline.addHandler(
                    NIOHTTP2Handler(mode: .client, initialSettings: HTTPSQueries.settings))
                try pipeline.addHandler(HTTPSQueries(encryption, tell: tell))
            } else {
                try pipeline.addHandler(TLSQueries(tell: tell))
            }
        } catch {
            return fail(.handshake, context)
        }
        isReady = true
        let took = (NIODeadline.now() - begin).nanoseconds / 1_000
        let local = context.channel.localAddress?.withSockAddr { address, _ in Platform.SocketAddress(address) }
        _ = tell(.opened(microseconds: UInt32(clamping: took), local: local ?? nil))
        ready(context.channel)
    }

    /// SwiftNIO also takes a certificate with the server's address where a name is required.
    private func isMeant(_ certificate: NIOSSLCertificate) throws -> Bool {
        let certificate = try Certificate(der: certificate.toDERBytes())
        return server.encryption?.serverName.map { certificate.covers(host: $0) }
            ?? certificate.covers(address: server.address.ip)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as NIOSSLExtraError where error == .failedToValidateHostname: fail(.otherName, context)
        case is NIOSSLError where !isReady: fail(verdict.fault ?? .handshake, context)
        default: fail(.closed, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(isReady ? .closed : verdict.fault ?? .handshake, context)
        context.fireChannelInactive()
    }

    private func fail(_ fault: UpstreamFault, _ context: ChannelHandlerContext) {
        guard !hasFailed else { return }
        hasFailed = true
        _ = tell(.failed(fault))
        context.close(promise: nil)
    }
}

/// DNS over TLS: messages behind their lengths, as over TCP.
///
/// - RFC: 7858 3.3.
private final class TLSQueries: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let tell: @Sendable (EncryptedInbox.News) -> Bool
    private var received = ByteBuffer()

    init(tell: @escaping @Sendable (EncryptedInbox.News) -> Bool) { self.tell = tell }

    /// Each query leaves in a TLS record of its own: dnsdist loses some of those that share one.
    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var frames = unwrapOutboundIn(data)
        while let length = frames.getInteger(at: frames.readerIndex, as: UInt16.self),
            let frame = frames.readSlice(length: 2 + Int(length))
        {
            context.write(wrapOutboundOut(frame), promise: nil)
        }
        promise?.succeed()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if received.readableBytes == 0 { received = bytes } else { received.writeBuffer(&bytes) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        var whole = 0
        received.withUnsafeReadableBytes { bytes in
            while whole + 2 <= bytes.count {
                let end = whole + 2 + Int(bytes[whole]) << 8 + Int(bytes[whole + 1])
                guard end <= bytes.count else { return }
                whole = end
            }
        }
        if whole > 0, let frames = received.readSlice(length: whole) {
            received.discardReadBytes()
            if !tell(.frames(frames)) { context.close(promise: nil) }
        }
        context.fireChannelReadComplete()
    }
}

extension NIOCore.SocketAddress {
    init(upstream address: Platform.SocketAddress) throws {
        self = address.withSockaddr { pointer, _ in
            let raw = UnsafeRawPointer(pointer)
            return address.isIPv6
                ? NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_in6.self))
                : NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_in.self))
        }
    }
}
