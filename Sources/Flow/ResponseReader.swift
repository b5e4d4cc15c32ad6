import NIOCore
import NIOHTTP1
import Platform

/// Reads one response: its head, and the length of its body.
final class ResponseReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    /// Why there is no response: one sentence.
    struct Failure: Error {
        var reason: String
    }

    /// The longest field value kept; the rest is not needed.
    private static let longestField = 8192 + 1

    private let version: String
    private let limit: Duration
    private let mostBytes: Int
    private var promise: EventLoopPromise<WebResponse>?
    private var timer: Scheduled<Void>?
    private var response: WebResponse?

    /// - Parameters:
    ///   - version: the protocol's version; nil for HTTP/1, which states it in the head.
    ///   - limit: the time for the head, and again for the body.
    init(version: String, limit: Duration, mostBytes: Int, _ promise: EventLoopPromise<WebResponse>) {
        self.version = version
        self.limit = limit
        self.mostBytes = mostBytes
        self.promise = promise
    }

    func handlerAdded(context: ChannelHandlerContext) { startTimer(context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            // Informational responses come before the final one.
            guard head.status.code >= 200 else { return }
            func field(_ name: String) -> String? {
                head.headers.first(name: name).map { String($0.prefix(Self.longestField)) }
            }
            response = WebResponse(
                status: Int(head.status.code),
                reason: version == "HTTP/2" ? "" : String(head.status.reasonPhrase.prefix(100)),
                version: version == "HTTP/2" ? version : "HTTP/\(head.version.major).\(head.version.minor)",
                location: field("Location"), strictTransport: field("Strict-Transport-Security"), length: 0)
            startTimer(context)
        case .body(let part):
            response?.length += part.readableBytes
            if let length = response?.length, length > mostBytes { finish(context, .cut) }
        case .end: finish(context, .complete)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let reason =
            error is HTTPParserError
            ? "what came is not HTTP; does another protocol listen on this port?" : "the connection broke (\(error))"
        finish(context, .broken, reason)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(context, .broken, "the server closed the connection without a response")
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(context, .broken, "the connection ended without a response")
    }

    private func startTimer(_ context: ChannelHandlerContext) {
        timer?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: TimeAmount(limit)) { [limit] in
            let (reader, context) = bound.value
            reader.finish(
                context, .timedOut, "no response within \(limit.words): connected, but the server is silent")
        }
    }

    private func finish(_ context: ChannelHandlerContext, _ ending: WebResponse.Ending, _ reason: String = "") {
        guard let promise else { return }
        self.promise = nil
        timer?.cancel()
        if var response {
            response.ending = ending
            promise.succeed(response)
        } else {
            promise.fail(Failure(reason: reason.isEmpty ? "there was no response" : reason))
        }
        context.close(promise: nil)
    }
}
