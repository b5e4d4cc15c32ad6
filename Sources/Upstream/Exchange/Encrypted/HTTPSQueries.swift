import DNSWire
import NIOCore
import NIOHPACK
import NIOHTTP2

/// DNS over HTTPS in HTTP/2: each query is a POST. Works on frames: a channel for each stream would cost more than the
/// query.
///
/// - RFC: 8484 4; 9113 8.3.
final class HTTPSQueries: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = HTTP2Frame

    /// A message that waits for a stream, or has one.
    private struct Message {
        let id: UInt16
        let bytes: ByteBuffer
        let since: NIODeadline
        /// The server has refused its stream once.
        var isRefused = false
    }

    private struct Query {
        let message: Message
        var status = 0
        var isMessage = false
        var body = ByteBuffer()
    }

    static let settings = [
        HTTP2Setting(parameter: .enablePush, value: 0),
        HTTP2Setting(parameter: .maxHeaderListSize, value: 16_384),
    ]

    private let tell: @Sendable (EncryptedInbox.News) -> Bool
    private let head: HPACKHeaders
    private var queries: [HTTP2StreamID: Query] = [:]
    private var next = HTTP2StreamID(1)
    /// Messages for which there is no stream yet.
    private var waiting = CircularBuffer<Message>()
    /// Streams that may be open at once. SwiftNIO would keep further ones back itself, but searches all of them for each
    /// frame.
    private var limit = mostStreams
    /// The server finishes the streams that are open, and takes no more (RFC 9113 6.8).
    private var isGoing = false
    /// What the server has said of that.
    private var announced = mostStreams
    /// Answers of this turn, each behind its length.
    private var answers = ByteBuffer()

    /// The connection's flow control window, and how much of it may be used before it is returned (RFC 9113 6.9.2).
    private static let window = 65_535
    private static let windowStep = 16_384
    private static let mostStreams = 50
    /// A query is not waited for any longer.
    private static let patience = TimeAmount.seconds(10)
    /// Numbers of streams are not used again: a connection is replaced long before they are used up.
    private static let lastStream = HTTP2StreamID(1 << 30 | 1)

    init(_ encryption: UpstreamServer.Encryption, tell: @escaping @Sendable (EncryptedInbox.News) -> Bool) {
        self.tell = tell
        head = [
            ":method": "POST", ":scheme": "https", ":authority": encryption.authority, ":path": encryption.path,
            "accept": "application/dns-message", "content-type": "application/dns-message",
        ]
    }

    // MARK: Queries

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var frames = unwrapOutboundIn(data)
        while let length = frames.readInteger(as: UInt16.self), var bytes = frames.readSlice(length: Int(length)) {
            guard let id = bytes.getInteger(at: bytes.readerIndex, as: UInt16.self) else { continue }
            // The ID is 0, for caches between us and the server (RFC 8484 4.1); the stream tells answers apart.
            bytes.setInteger(UInt16(0), at: bytes.readerIndex)
            waiting.append(Message(id: id, bytes: bytes, since: .now()))
        }
        sendWaiting(context)
        promise?.succeed()
    }

    /// Opens a stream for each message that waits, as far as the server allows.
    private func sendWaiting(_ context: ChannelHandlerContext) {
        if waiting.isEmpty || isGoing { return }
        let oldest = NIODeadline.now() - Self.patience
        if queries.count >= limit { giveUp(on: oldest, context) }
        while queries.count < limit, let message = waiting.popFirst() {
            // Its client has been told that there is no answer.
            if message.since < oldest { continue }
            guard next < Self.lastStream else { return context.close(promise: nil) }
            queries[next] = Query(message: message)
            var headers = head
            headers.add(name: "content-length", value: "\(message.bytes.readableBytes)")
            context.write(
                wrapOutboundOut(HTTP2Frame(streamID: next, payload: .headers(.init(headers: headers)))), promise: nil)
            context.write(
                wrapOutboundOut(
                    HTTP2Frame(streamID: next, payload: .data(.init(data: .byteBuffer(message.bytes), endStream: true)))
                ),
                promise: nil)
            next = next.advanced(by: 2)
        }
    }

    /// Ends streams that the server has left without an answer for so long that nobody waits for it any more.
    private func giveUp(on oldest: NIODeadline, _ context: ChannelHandlerContext) {
        for (stream, query) in queries where query.message.since < oldest {
            queries[stream] = nil
            context.write(
                wrapOutboundOut(HTTP2Frame(streamID: stream, payload: .rstStream(.cancel))), promise: nil)
        }
    }

    // MARK: Answers

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let headers):
            // Informational responses and trailers have no final status.
            if let status = headers.headers.first(name: ":status").flatMap({ Int($0) }), status >= 200 {
                let type = headers.headers.first(name: "content-type") ?? ""
                queries[frame.streamID]?.status = status
                queries[frame.streamID]?.isMessage = type.lowercased().hasPrefix("application/dns-message")
            }
            if headers.endStream { finish(frame.streamID) }
        case .data(let data):
            if case .byteBuffer(var bytes) = data.data, queries[frame.streamID] != nil {
                queries[frame.streamID]?.body.writeBuffer(&bytes)
            }
            if data.endStream { finish(frame.streamID) }
        case .settings(.settings(let settings)):
            if let most = settings.last(where: { $0.parameter == .maxConcurrentStreams })?.value {
                announced = min(most, Self.mostStreams)
                limit = announced
            }
        case .goAway:
            if !isGoing { _ = tell(.retiring) }
            isGoing = true
        default: break
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A stream that ends without a response: reset by the server.
        if let end = event as? StreamClosedEvent, let reason = end.reason,
            let query = queries.removeValue(forKey: end.streamID)
        {
            if reason == .refusedStream {
                // Not processed, so it may be sent again (RFC 9113 8.7): there were too many. Once: the server may
                // refuse everything.
                limit = max(1, min(limit, queries.count))
                var message = query.message
                message.isRefused = true
                if query.message.isRefused, !isGoing {
                    _ = tell(.refused(id: message.id, .overloaded))
                } else {
                    waiting.append(message)
                }
            } else {
                _ = tell(.refused(id: query.message.id, .overloaded))
            }
        }
        if let window = event as? NIOHTTP2WindowUpdatedEvent, window.streamID == .rootStream,
            let left = window.inboundWindowSize, left <= Self.window - Self.windowStep
        {
            let update = HTTP2Frame(
                streamID: .rootStream, payload: .windowUpdate(windowSizeIncrement: Self.window - left))
            context.write(wrapOutboundOut(update), promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// Errors of single streams end those streams; others end the connection, whose queries are asked again.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is NIOHTTP2Errors.StreamError { return }
        tellAnswers(context)
        _ = tell(.failed(.closed))
        context.close(promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if !waiting.isEmpty { sendWaiting(context) }
        tellAnswers(context)
        if isGoing, queries.isEmpty {
            // What the server has not begun is asked again over another connection.
            _ = tell(.failed(.closed))
            return context.close(promise: nil)
        }
        context.flush()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        tellAnswers(context)
        context.fireChannelInactive()
    }

    private func tellAnswers(_ context: ChannelHandlerContext) {
        guard answers.readableBytes > 0 else { return }
        let frames = answers
        answers = ByteBuffer()
        if !tell(.frames(frames)) { context.close(promise: nil) }
    }

    private func finish(_ stream: HTTP2StreamID) {
        guard var query = queries.removeValue(forKey: stream) else { return }
        // After a refusal the number of streams grows again.
        limit = min(limit + 1, announced)
        switch query.status {
        case 200 where query.isMessage && (Header.length...65_535).contains(query.body.readableBytes):
            query.body.setInteger(query.message.id, at: query.body.readerIndex)
            answers.writeInteger(UInt16(query.body.readableBytes))
            answers.writeBuffer(&query.body)
        case 200: _ = tell(.refused(id: query.message.id, .contentType))
        case 429, 500...599: _ = tell(.refused(id: query.message.id, .overloaded))
        default: _ = tell(.refused(id: query.message.id, .httpStatus))
        }
    }
}
