import NIOCore
import NIOHTTP1

/// DNS over HTTPS in HTTP/1.1: one request at a time.
final class DoHOverHTTP1: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// How long the head of a request may be. A target counts as a field.
    static var limits: NIOHTTPDecoderLimitConfiguration {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = DoHRequest.longestTarget
        limits.maxHeaderListSize = DoHRequest.longestTarget + 8192
        return limits
    }

    /// About what the head of a response takes until it is sent.
    private static let headSize = 512

    private let responder: DoHResponder
    private var context: ChannelHandlerContext?
    private var request = DoHRequest()
    private var keepsAlive = true
    private var awaitsBody = false
    private var wantsRead = false

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = DoHResponder(loop, connection)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            request = DoHRequest()
            request.setMethod(head.method.rawValue)
            request.target = head.uri
            request.contentType = head.headers.first(name: "content-type") ?? ""
            keepsAlive = head.isKeepAlive
            awaitsBody = true
            hold(request.heldBytes, context)
        case .body(let bytes):
            request.append(bytes.readableBytesView)
            hold(request.heldBytes, context)
        case .end:
            awaitsBody = false
            let finish: ([UInt8]) -> Void = { [self] in self.finish($0) }
            let bound = NIOLoopBound(finish, eventLoop: context.eventLoop)
            if let response = responder.answer(request, finish: bound) { send(response, context) }
            request = DoHRequest()
            hold(0, context)
        }
    }

    private func hold(_ bytes: Int, _ context: ChannelHandlerContext) {
        if !responder.connection.hold(bytes) { context.close(promise: nil) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if awaitsBody { responder.connection.acknowledge() }
        context.fireChannelReadComplete()
    }

    /// Stops reading from a client that does not take its answers.
    func read(context: ChannelHandlerContext) {
        if context.channel.isWritable { context.read() } else { wantsRead = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if wantsRead, context.channel.isWritable {
            wantsRead = false
            context.read()
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func finish(_ message: [UInt8]) {
        if let context { send(responder.response(message), context) }
        responder.connection.outstanding -= 1
    }

    private func send(_ response: DoHResponse, _ context: ChannelHandlerContext) {
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: response.status.rawValue))
        for (name, value) in response.headers { head.headers.add(name: name, value: value) }
        if !keepsAlive { head.headers.add(name: "connection", value: "close") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !response.message.isEmpty {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.message)))), promise: nil)
        }
        let promise = responder.connection.promiseAnswer(of: Self.headSize + response.message.count)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: promise)
        if !keepsAlive { responder.connection.closeAfterWrites() }
    }
}
