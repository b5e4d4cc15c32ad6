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

    /// Requests that may wait for the answer to an earlier one (RFC 9112 9.3.2). Who sends more is not a DNS client.
    private static let mostWaiting = 16

    private struct Pending {
        var request = DoHRequest()
        var keepsAlive = true
    }

    private let responder: DoHResponder
    private var context: ChannelHandlerContext?
    /// The request that arrives.
    private var arriving = Pending()
    private var awaitsBody = false
    /// Complete requests, in the order of their answers.
    private var waiting: [Pending] = []
    /// The first of them waits for upstream.
    private var isAsking = false
    private var waitingBytes = 0
    /// Nothing more is answered.
    private var hasEnded = false
    private var wantsRead = false

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = DoHResponder(loop, connection)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if hasEnded { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            arriving = Pending()
            arriving.request.setMethod(head.method.rawValue)
            arriving.request.target = head.uri
            arriving.request.contentType = head.headers.first(name: "content-type") ?? ""
            arriving.keepsAlive = head.isKeepAlive
            awaitsBody = true
            hold(arriving.request.heldBytes)
        case .body(let bytes):
            arriving.request.append(bytes.readableBytesView)
            hold(arriving.request.heldBytes)
        case .end:
            awaitsBody = false
            let next = arriving
            arriving = Pending()
            guard waiting.count <= Self.mostWaiting else { return end() }
            waiting.append(next)
            waitingBytes += next.request.heldBytes
            hold(0)
            answerWaiting(context)
        }
    }

    /// Answers waiting requests until one has to wait for upstream, or the client has to take answers first.
    private func answerWaiting(_ context: ChannelHandlerContext) {
        while !isAsking, !hasEnded, context.channel.isWritable, let next = waiting.first {
            let finish: ([UInt8]) -> Void = { [self] in self.finish($0) }
            let bound = NIOLoopBound(finish, eventLoop: context.eventLoop)
            if let response = responder.answer(next.request, finish: bound) {
                send(response, context)
            } else {
                isAsking = true
            }
        }
    }

    /// Notes the bytes of the arriving request.
    private func hold(_ bytes: Int) {
        if responder.connection.hold(bytes + waitingBytes) { return }
        hasEnded = true
        waiting = []
        responder.connection.abort()
    }

    private func end() {
        hasEnded = true
        waiting = []
        responder.connection.closeAfterWrites()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        if awaitsBody { responder.connection.acknowledge() }
        context.fireChannelReadComplete()
    }

    /// Stops reading from a client that does not take its answers.
    func read(context: ChannelHandlerContext) {
        if context.channel.isWritable { context.read() } else { wantsRead = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        answerWaiting(context)
        context.flush()
        if wantsRead, context.channel.isWritable {
            wantsRead = false
            context.read()
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func finish(_ message: [UInt8]) {
        isAsking = false
        if let context, !hasEnded {
            send(responder.response(message), context)
            answerWaiting(context)
            context.flush()
        }
        responder.connection.outstanding -= 1
    }

    /// Sends the response to the first waiting request.
    private func send(_ response: DoHResponse, _ context: ChannelHandlerContext) {
        let request = waiting.removeFirst()
        waitingBytes -= request.request.heldBytes
        hold(arriving.request.heldBytes)
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: response.status.rawValue))
        for (name, value) in response.headers { head.headers.add(name: name, value: value) }
        if !request.keepsAlive { head.headers.add(name: "connection", value: "close") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !response.message.isEmpty {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.message)))), promise: nil)
        }
        let promise = responder.connection.promiseAnswer(of: response.message.count)
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
        if !request.keepsAlive { end() }
    }
}
