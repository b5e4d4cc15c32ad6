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

    /// The connection's flow control window, and how much of it may be used before it is returned (RFC 9113 6.9.2).
    private static let connectionWindow = 65_535
    private static let windowStep = 16_384
    /// The client has this many times the time for idle connections to take an answer.
    private static let patience: Int64 = 6

    /// One request and its answer.
    struct Stream {
        enum Phase {
            /// The request is incomplete.
            case arriving
            /// It waits for upstream.
            case waiting
            /// The client takes the answer.
            case leaving
        }

        var request: DoHRequest
        var phase = Phase.arriving
        /// When it was opened, or the answer was given.
        var since: NIODeadline
        /// Bytes that it holds.
        var held = 0
    }

    private let responder: DoHResponder
    private var context: ChannelHandlerContext?
    private(set) var streams: [HTTP2StreamID: Stream] = [:]
    /// Bytes that all of them hold.
    private var heldBytes = 0
    /// The pending check for streams that don't end; there is one while there are streams.
    private var expiry: Scheduled<Void>?
    /// The headers of a request have arrived, its body has not.
    private var awaitsBody = false
    private var wantsRead = false

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = DoHResponder(loop, connection)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        expiry?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let headers):
            // A second HEADERS frame has trailers, which have no meaning here.
            if streams[frame.streamID] == nil { open(frame.streamID, Self.request(headers.headers), context) }
            awaitsBody = !headers.endStream
            if headers.endStream { finishRequest(frame.streamID, context) }
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data {
                append(bytes, to: frame.streamID, context)
                let padding = data.paddingBytes.map { $0 + 1 } ?? 0
                if !data.endStream { returnWindow(bytes.readableBytes + padding, frame.streamID, context) }
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
        if let end = event as? StreamClosedEvent { remove(end.streamID) }
        // Counts also what came for streams that we have reset, which no frame reports.
        if let window = event as? NIOHTTP2WindowUpdatedEvent, window.streamID == .rootStream,
            let left = window.inboundWindowSize, left <= Self.connectionWindow - Self.windowStep
        {
            returnWindow(Self.connectionWindow - left, .rootStream, context)
        }
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

    // MARK: Streams

    private func open(_ id: HTTP2StreamID, _ request: DoHRequest, _ context: ChannelHandlerContext) {
        streams[id] = Stream(request: request, since: context.eventLoop.now)
        // What it did not ask yet, the client may ask again.
        if !hold(request.heldBytes, id) { reset(id, .refusedStream, context) }
        scheduleExpiry(context)
    }

    private func append(_ bytes: ByteBuffer, to id: HTTP2StreamID, _ context: ChannelHandlerContext) {
        streams[id]?.request.append(bytes.readableBytesView)
        guard let size = streams[id]?.request.heldBytes else { return }
        if !hold(size, id) { reset(id, .refusedStream, context) }
    }

    private func remove(_ id: HTTP2StreamID) {
        _ = hold(0, id)
        streams[id] = nil
    }

    /// Notes how many bytes the stream holds; false if the client may not hold so many.
    private func hold(_ bytes: Int, _ id: HTTP2StreamID) -> Bool {
        heldBytes += bytes - (streams[id]?.held ?? bytes)
        streams[id]?.held = bytes
        return responder.connection.hold(heldBytes)
    }

    private func reset(_ id: HTTP2StreamID, _ code: HTTP2ErrorCode, _ context: ChannelHandlerContext) {
        remove(id)
        context.write(wrapOutboundOut(HTTP2Frame(streamID: id, payload: .rstStream(code))), promise: nil)
    }

    /// Ends requests that don't end, and answers that nobody takes, after the time for idle connections.
    private func scheduleExpiry(_ context: ChannelHandlerContext) {
        guard expiry == nil, !streams.isEmpty else { return }
        expiry = context.eventLoop.assumeIsolated().scheduleTask(in: responder.connection.idleTimeout) { [self] in
            expiry = nil
            guard let context = self.context else { return }
            let (now, limit) = (context.eventLoop.now, responder.connection.idleTimeout)
            for (id, stream) in streams where stream.phase != .waiting {
                let most = stream.phase == .arriving ? limit : limit * Self.patience
                if now - stream.since >= most { reset(id, .cancel, context) }
            }
            context.flush()
            scheduleExpiry(context)
        }
    }

    private func finishRequest(_ id: HTTP2StreamID, _ context: ChannelHandlerContext) {
        guard let request = streams[id]?.request, streams[id]?.phase == .arriving else { return }
        streams[id]?.phase = .waiting
        streams[id]?.request = DoHRequest()
        let finish: ([UInt8]) -> Void = { [self] in self.finish($0, id) }
        let bound = NIOLoopBound(finish, eventLoop: context.eventLoop)
        if let response = responder.answer(request, finish: bound) { send(response, id, context) }
    }

    private func finish(_ message: [UInt8], _ id: HTTP2StreamID) {
        if let context, streams[id] != nil {
            send(responder.response(message), id, context)
            context.flush()
        }
        responder.connection.outstanding -= 1
    }

    private func send(_ response: DoHResponse, _ id: HTTP2StreamID, _ context: ChannelHandlerContext) {
        streams[id]?.phase = .leaving
        streams[id]?.since = context.eventLoop.now
        _ = hold(DoHRequest().heldBytes, id)
        var headers = HPACKHeaders([(":status", "\(response.status.rawValue)")])
        for (name, value) in response.headers { headers.add(name: name, value: value) }
        let isEmpty = response.message.isEmpty
        let head = HTTP2Frame(streamID: id, payload: .headers(.init(headers: headers, endStream: isEmpty)))
        let promise = responder.connection.promiseAnswer(of: response.message.count)
        context.write(wrapOutboundOut(head), promise: isEmpty ? promise : nil)
        if isEmpty { return }
        let body = HTTP2Frame(
            streamID: id, payload: .data(.init(data: .byteBuffer(ByteBuffer(bytes: response.message)), endStream: true))
        )
        context.write(wrapOutboundOut(body), promise: promise)
    }

    /// Returns flow control window for `count` received bytes.
    private func returnWindow(_ count: Int, _ stream: HTTP2StreamID, _ context: ChannelHandlerContext) {
        guard count > 0 else { return }
        let update = HTTP2Frame(streamID: stream, payload: .windowUpdate(windowSizeIncrement: count))
        context.write(wrapOutboundOut(update), promise: nil)
    }
}
