import Glibc
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import Platform

/// A connection to a web server, for one request.
struct WebConnection: Sendable {
    /// Why it failed, and how to fix it: one sentence.
    struct Failure: Error {
        var reason: String
    }

    /// The parameters of TLS.
    struct Security: Sendable {
        var context: NIOSSLContext
        var host: String
        /// SNI is for names only (RFC 6066 3).
        var serverName: String?
    }

    let channel: any Channel
    private let handshake: EventLoopFuture<Handshake>?

    /// Connects; with `security`, starts the handshake.
    static func open(
        _ address: Platform.SocketAddress, security: Security?, limit: Duration
    ) async throws(Failure) -> WebConnection {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = security == nil ? nil : loop.makePromise(of: Handshake.self)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(limit))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    guard let security, let promise else { return try pipeline.addHTTPClientHandlers() }
                    let tap = HandshakeTap()
                    let witness = CertificateWitness()
                    let maker: any WitnessedHandlers.Type = VerifyingHandlers.self
                    let tls = try maker.make(security.context, serverName: security.serverName, witness)
                    let end = HandshakeEnd(tap, witness, host: security.host, limit: limit, promise)
                    try pipeline.addHandlers([tap, tls, end])
                }
            }
        do {
            let target = try NIOCore.SocketAddress(ipAddress: address.ip, port: Int(address.port))
            let channel = try await bootstrap.connect(to: target).get()
            return WebConnection(channel: channel, handshake: promise?.futureResult)
        } catch {
            promise?.succeed(Handshake(failure: "not connected"))
            throw Failure(reason: words(error, limit))
        }
    }

    /// Waits for the end of the handshake; nil without TLS.
    func secured() async -> Handshake? {
        guard let handshake else { return nil }
        return try? await handshake.get()
    }

    /// Sends GET and reads the response, then closes the connection.
    func get(
        _ url: FlowURL, agent: String, over multiplexer: NIOHTTP2Handler.StreamMultiplexer?, limit: Duration,
        mostBytes: Int
    ) async throws(Failure) -> WebResponse {
        let promise = channel.eventLoop.makePromise(of: WebResponse.self)
        let version = multiplexer == nil ? "HTTP/1.1" : "HTTP/2"
        var headers = HTTPHeaders([("Host", url.authority), ("User-Agent", agent), ("Accept", "*/*")])
        if multiplexer == nil { headers.add(name: "Connection", value: "close") }
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: url.target, headers: headers)
        do {
            let stream: any Channel
            if let multiplexer {
                stream = try await multiplexer.createStreamChannel { stream in
                    stream.eventLoop.makeCompletedFuture {
                        try stream.pipeline.syncOperations.addHandlers([
                            HTTP2FramePayloadToHTTP1ClientCodec(httpProtocol: .https),
                            ResponseReader(version: version, limit: limit, mostBytes: mostBytes, promise),
                        ])
                    }
                }.get()
            } else {
                stream = channel
                try await channel.eventLoop.submit { [channel] in
                    try channel.pipeline.syncOperations.addHandler(
                        ResponseReader(version: version, limit: limit, mostBytes: mostBytes, promise))
                }.get()
            }
            // Failures to send show up as a missing response.
            stream.write(HTTPClientRequestPart.head(head), promise: nil)
            stream.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        } catch {
            promise.fail(ResponseReader.Failure(reason: "the request can't be sent: \(Self.words(error, limit))"))
        }
        let result: Result<WebResponse, Failure>
        do {
            result = .success(try await promise.futureResult.get())
        } catch {
            result = .failure(Failure(reason: (error as? ResponseReader.Failure)?.reason ?? Self.words(error, limit)))
        }
        close()
        return try result.get()
    }

    func close() { channel.close(promise: nil) }

    // MARK: Words

    private static func words(_ error: any Error, _ limit: Duration) -> String {
        if case .connectTimeout? = error as? ChannelError {
            return "no answer within \(limit.words); check the address and the firewall"
        }
        guard let code = (error as? IOError)?.errnoCode else { return "the connection failed: \(error)" }
        switch code {
        case ECONNREFUSED: return "refused: nothing listens there; start the web server, or give its port in the URL"
        case ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT:
            return "not reachable from here (\(String(cString: strerror(code))))"
        case ECONNRESET: return "the server reset the connection"
        default: return "the connection failed (\(String(cString: strerror(code))))"
        }
    }
}
