import Glibc
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOSSL
import NIOTLS

/// What was observed of a TLS handshake, whatever its outcome.
struct Handshake: Sendable {
    var clientHello: ContinuousClock.Instant?
    var serverHello: (hello: ServerHello, time: ContinuousClock.Instant)?
    var certificate: (report: CertificateReport, time: ContinuousClock.Instant)?
    /// The protocol that ALPN chose, if any.
    var negotiated: String?
    /// Opens HTTP/2 streams, if HTTP/2 was chosen.
    var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
    /// Why it failed.
    var failure: String?
}

/// Waits for the end of the handshake, installs the chosen HTTP version, and reports.
final class HandshakeEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let tap: HandshakeTap
    private let witness: CertificateWitness
    private let host: String
    private let limit: Duration
    private var promise: EventLoopPromise<Handshake>?
    private var timer: Scheduled<Void>?
    private var leaf: NIOSSLCertificate?

    init(
        _ tap: HandshakeTap, _ witness: CertificateWitness, host: String, limit: Duration,
        _ promise: EventLoopPromise<Handshake>
    ) {
        self.tap = tap
        self.witness = witness
        self.host = host
        self.limit = limit
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: TimeAmount(limit)) { [limit] in
            let (end, context) = bound.value
            end.finish(context, "the handshake was not over within \(limit.words)", nil)
        }
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent, promise != nil else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        do {
            var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
            if negotiated == "h2" {
                multiplexer = try context.pipeline.syncOperations.configureHTTP2Pipeline(
                    mode: .client, connectionConfiguration: .init(), streamConfiguration: .init(),
                    inboundStreamInitializer: { $0.close() })
            } else {
                try context.pipeline.syncOperations.addHTTPClientHandlers()
            }
            finish(context, nil, negotiated, multiplexer)
        } catch {
            finish(context, "HTTP can't be set up (\(error))", negotiated)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard promise != nil else { return context.fireErrorCaught(error) }
        finish(context, reason(error), nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(context, "the server closed the connection during the handshake", nil)
        context.fireChannelInactive()
    }

    private func finish(
        _ context: ChannelHandlerContext, _ failure: String?, _ negotiated: String?,
        _ multiplexer: NIOHTTP2Handler.StreamMultiplexer? = nil
    ) {
        guard let promise else { return }
        self.promise = nil
        timer?.cancel()
        var handshake = Handshake(
            clientHello: tap.clientHello, serverHello: tap.serverHello, negotiated: negotiated,
            multiplexer: multiplexer, failure: failure)
        let tls = try? context.pipeline.syncOperations.handler(type: NIOSSLClientHandler.self)
        if let leaf = tls?.peerCertificate ?? witness.seen.last, let time = witness.time {
            handshake.certificate = (
                CertificateReport(
                    leaf: leaf, seen: witness.seen, refused: witness.refused, host: host, now: Glibc.time(nil)), time
            )
        }
        promise.succeed(handshake)
        if failure != nil { context.close(promise: nil) }
    }

    // MARK: Words

    private func reason(_ error: any Error) -> String {
        if tap.isForeign { return "what came is not TLS; does another protocol listen on this port?" }
        if let alert = tap.alert { return "the server refuses: alert \(ServerHello.alertText(alert)) (\(alert))" }
        switch error as? NIOSSLError {
        case .handshakeFailed(.sslError(let stack)):
            if stack == [.eofDuringHandshake] { return "the server closed the connection during the handshake" }
            return "the handshake failed: " + (stack.first.map { Self.words("\($0)") } ?? "no reason given")
        case .handshakeFailed(let other)?: return "the handshake failed: \(other)"
        case nil where error is IOError: return "the connection broke during the handshake"
        default: return "the handshake failed: \(error)"
        }
    }

    /// BoringSSL's reason without numbers and source lines: `...:OPENSSL_internal:WRONG_VERSION_NUMBER at FILE`.
    private static func words(_ text: String) -> String {
        let reason = text.split(separator: ":").first { part in
            let word = part.prefix { $0 != " " }
            return word.count > 3
                && word.utf8.allSatisfy { $0 == 0x5F || (0x41...0x5A).contains($0) || (0x30...0x39).contains($0) }
                && word.contains("_")
        }
        guard let reason else { return text.hasPrefix("Error:") ? "no reason given" : text }
        return reason.prefix { $0 != " " }.lowercased().replacing("_", with: " ")
    }
}

extension Duration {
    /// `5 s`, `200 ms`.
    var words: String {
        let milliseconds = Int(self / .milliseconds(1))
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }
}
