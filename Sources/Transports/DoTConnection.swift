import LookupLog
import NIOCore
import Platform

/// DNS over TLS: passes bytes between TLS, a `StreamSession` and the responder.
///
/// - RFC: 7858 3.3; 7766.
final class DoTConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let responder: StreamResponder
    private let connection: EncryptedConnection
    private var session: StreamSession
    private var context: ChannelHandlerContext?
    /// A read was postponed.
    private var wantsRead = false

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = loop.responder
        self.connection = connection
        session = StreamSession(client: connection.client, transport: .dot)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        session.end(responder)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        responder.refresh()
        unwrapInboundIn(data).withUnsafeReadableBytes { bytes in
            if session.receive(bytes, responder, replyLater: deferredReply) { connection.touch() }
        }
        writeOutput(context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        advance(context)
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        advance(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            session.endInput()
            advance(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Postpones reading while a message waits.
    func read(context: ChannelHandlerContext) {
        if mayRead(context) { context.read() } else { wantsRead = true }
    }

    private func mayRead(_ context: ChannelHandlerContext) -> Bool {
        context.channel.isWritable && session.wantsInput(responder)
    }

    /// Continues with waiting messages as long as the client takes the answers.
    private func advance(_ context: ChannelHandlerContext) {
        while context.channel.isWritable, session.canProceed(responder) {
            if session.proceed(responder, replyLater: deferredReply) { connection.touch() }
            writeOutput(context)
            context.flush()
        }
        context.flush()
        connection.outstanding = session.isIdle ? 0 : 1
        if session.isFinished { return connection.closeAfterWrites() }
        guard connection.hold(session.heldBytes) else { return connection.abort() }
        if wantsRead, mayRead(context) {
            wantsRead = false
            context.read()
        }
    }

    private func writeOutput(_ context: ChannelHandlerContext) {
        guard !responder.output.isEmpty else { return }
        var buffer = context.channel.allocator.buffer(capacity: responder.output.bytes.count)
        buffer.writeBytes(responder.output.bytes)
        responder.output.removeAll()
        context.write(wrapOutboundOut(buffer), promise: connection.promiseAnswer(of: buffer.readableBytes))
    }

    /// How the forwarding thread delivers upstream's answer to this connection.
    private func deferredReply() -> ParkedQuery.Reply {
        let loop = connection.channel.eventLoop
        let bound = NIOLoopBound(self, eventLoop: loop)
        return .stream { message in
            let copy = [UInt8](message)
            loop.execute { bound.value.finish(copy) }
        }
    }

    private func finish(_ message: [UInt8]) {
        message.withUnsafeBytes { session.finishParked($0, responder) }
        guard let context else { return responder.output.removeAll() }
        connection.touch()
        writeOutput(context)
        advance(context)
    }
}
