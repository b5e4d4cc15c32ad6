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
    /// Answers that a rule has trickle, and their bytes a second.
    private var slowed = ByteBuffer()
    private var rate: UInt32 = 0

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = loop.responder
        self.connection = connection
        session = StreamSession(client: connection.client, local: connection.local, transport: .dot)
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
        if session.isAborted { return connection.abort() }
        if session.isFinished, rate == 0 { return connection.closeAfterWrites() }
        guard connection.hold(session.heldBytes + slowed.readableBytes) else { return connection.abort() }
        if wantsRead, mayRead(context) {
            wantsRead = false
            context.read()
        }
    }

    private func writeOutput(_ context: ChannelHandlerContext) {
        guard !responder.output.isEmpty else { return }
        if responder.output.rate > 0 || rate > 0 {
            if rate == 0 { scheduleTrickle(context) }
            rate = rate == 0 ? responder.output.rate : rate
            slowed.writeBytes(responder.output.bytes)
            return responder.output.removeAll()
        }
        var buffer = context.channel.allocator.buffer(capacity: responder.output.bytes.count)
        buffer.writeBytes(responder.output.bytes)
        responder.output.removeAll()
        context.write(wrapOutboundOut(buffer), promise: connection.promiseAnswer(of: buffer.readableBytes))
    }

    /// Sends the next tenth of a second's bytes, and so on.
    private func scheduleTrickle(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: .milliseconds(100)) { bound.value.trickle() }
    }

    private func trickle() {
        guard let context else { return }
        let count = min(max(Int(rate) / 10, 1), slowed.readableBytes)
        if let piece = slowed.readSlice(length: count) {
            if context.channel.isWritable { connection.touch() }
            context.writeAndFlush(wrapOutboundOut(piece), promise: connection.promiseAnswer(of: count))
        }
        if slowed.readableBytes > 0 { return scheduleTrickle(context) }
        slowed = ByteBuffer()
        rate = 0
        advance(context)
    }

    /// How the forwarding thread delivers upstream's answer to this connection.
    private func deferredReply() -> ParkedQuery.Reply {
        let loop = connection.channel.eventLoop
        let bound = NIOLoopBound(self, eventLoop: loop)
        return .stream { reply in
            let copy = StreamReplyCopy(reply)
            loop.execute { bound.value.finish(copy) }
        }
    }

    private func finish(_ reply: StreamReplyCopy) {
        reply.withReply { session.finishParked($0, responder) }
        guard let context else { return responder.output.removeAll() }
        connection.touch()
        writeOutput(context)
        advance(context)
    }
}
