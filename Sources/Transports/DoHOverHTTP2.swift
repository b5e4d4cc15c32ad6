import NIOCore
import NIOHPACK
import NIOHTTP2

/// DNS over HTTPS in HTTP/2. Works on frames: a channel per stream would cost more than the answer.
///
/// - RFC: 9113 5.1, 6.9, 8.3; 8484.
final class DoHOverHTTP2: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// Settings sent to the client: how many requests may be open at once, and how long their headers may be.
    static func settings(_ limits: StreamLimits) -> [HTTP2Setting] {
        [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.maximumPipelined),
            HTTP2Setting(parameter: .maxHeaderListSize, value: DoHRequest.longestTarget + 8192),
        ]
    }

    /// Flow control window is returned after this many bytes.
    private static let windowStep = 16_384

    private let responder: DoHResponder
    private var context: ChannelHandlerContext?
    /// Requests that are incomplete, or (nil) waiting for upstream.
    private(set) var streams: [HTTP2StreamID: DoHRequest?] = [:]
    /// The headers of a request have arrived, its body has not.
    private var awaitsBody = false
    private var usedWindow = 0
    private var wantsRead = false

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = DoHResponder(loop, connection)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let headers):
            // A second HEADERS frame has trailers, which have no meaning here.
            if streams[frame.streamID] == nil { streams[frame.streamID] = .some(Self.request(headers.headers)) }
            awaitsBody = !headers.endStream
            if headers.endStream { finishRequest(frame.streamID, context) }
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data {
                streams[frame.streamID]??.append(bytes.readableBytesView)
                let padding = data.paddingBytes.map { $0 + 1 } ?? 0
                returnWindow(bytes.readableBytes + padding, frame.streamID, data.endStream)
            }
            awaitsBody = !data.endStream
            if data.endStream { finishRequest(frame.streamID, context) }
        default: break
        }
    }

    private static func request(_ headers: HPACKHeaders) -> DoHRequest {
        var request = DoHRequest()
        for (name, value, _) in headers {
            switch name {
            case ":method": request.setMethod(value)
            case ":path": request.target = value
            case "content-type": request.contentType = value
            default: break
            }
        }
        return request
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Covers all endings: a reset by the client, and streams that NIO closes after a client's error, which no frame
        // reports.
        if let end = event as? StreamClosedEvent { streams[end.streamID] = nil }
        context.fireUserInboundEventTriggered(event)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        if awaitsBody {
            awaitsBody = false
            responder.connection.acknowledge()
        }
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if wantsRead, context.channel.isWritable {
            wantsRead = false
            context.read()
        }
        context.fireChannelWritabilityChanged()
    }

    /// Stops reading from a client that does not take its answers.
    func read(context: ChannelHandlerContext) {
        if context.channel.isWritable { context.read() } else { wantsRead = true }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An error of one stream, which the client has been told of.
        if error is NIOHTTP2Errors.StreamError || error is NIOHTTP2Errors.NoSuchStream { return }
        context.close(promise: nil)
    }

    private func finishRequest(_ stream: HTTP2StreamID, _ context: ChannelHandlerContext) {
        guard let held = streams[stream], let request = held else { return }
        streams[stream] = .some(nil)
        let finish: ([UInt8]) -> Void = { [self] in self.finish($0, stream) }
        let bound = NIOLoopBound(finish, eventLoop: context.eventLoop)
        if let response = responder.answer(request, finish: bound) { send(response, stream, context) }
    }

    private func finish(_ message: [UInt8], _ stream: HTTP2StreamID) {
        if let context, streams[stream] != nil {
            send(responder.response(message), stream, context)
            context.flush()
        }
        responder.connection.outstanding -= 1
    }

    private func send(_ response: DoHResponse, _ stream: HTTP2StreamID, _ context: ChannelHandlerContext) {
        streams[stream] = nil
        var headers = HPACKHeaders([(":status", "\(response.status.rawValue)")])
        for (name, value) in response.headers { headers.add(name: name, value: value) }
        let isEmpty = response.message.isEmpty
        let head = HTTP2Frame(
            streamID: stream, payload: .headers(.init(headers: headers, endStream: isEmpty)))
        context.write(wrapOutboundOut(head), promise: nil)
        if isEmpty { return }
        let body = HTTP2Frame(
            streamID: stream,
            payload: .data(.init(data: .byteBuffer(ByteBuffer(bytes: response.message)), endStream: true)))
        context.write(wrapOutboundOut(body), promise: nil)
    }

    /// Returns flow control window for `count` received bytes.
    private func returnWindow(_ count: Int, _ stream: HTTP2StreamID, _ isEnd: Bool) {
        guard let context, count > 0 else { return }
        usedWindow += count
        if usedWindow >= Self.windowStep {
            let update = HTTP2Frame(streamID: .rootStream, payload: .windowUpdate(windowSizeIncrement: usedWindow))
            context.write(wrapOutboundOut(update), promise: nil)
            usedWindow = 0
        }
        if !isEnd {
            let update = HTTP2Frame(streamID: stream, payload: .windowUpdate(windowSizeIncrement: count))
            context.write(wrapOutboundOut(update), promise: nil)
        }
    }
}
