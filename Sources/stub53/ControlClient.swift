import ArgumentParser
import Daemon
import FoundationEssentials
import Glibc
import Inspector
import NIOCore
import NIOHTTP1
import NIOPosix
import Platform

/// Talks to a running daemon over its control socket: one connection for each request.
struct ControlClient: Sendable {
    let path: String

    /// The socket at `path`, or the first existing default one.
    ///
    /// - Throws: `ServiceFailure` when there is none.
    static func find(_ path: String?) throws -> ControlClient {
        let paths = path.map { [$0] } ?? Configuration.controlPaths
        for path in paths where access(path, F_OK) == 0 { return ControlClient(path: path) }
        // A socket in a folder without search permission seems to be missing.
        if paths.contains(where: { access($0, F_OK) != 0 && errno == EACCES }) { throw noPermission(paths[0]) }
        throw ServiceFailure(
            .problem,
            "no daemon has a control socket at \(paths.joined(separator: " or ")); start one with 'stub53 serve', "
                + "or name its socket with --control")
    }

    private static func noPermission(_ path: String) -> ServiceFailure {
        ServiceFailure(.permission, "\(path) may not be opened; run as root, or as a member of its group")
    }

    enum Verb: String {
        case get = "GET"
        case post = "POST"
        case delete = "DELETE"
    }

    /// Whether a daemon listens and lets us connect.
    var isAlive: Bool {
        let descriptor = UnixSocket.connect(path)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }

    // MARK: Requests

    /// The response to one request, decoded from JSON.
    func ask<Answer: Decodable>(
        _ verb: Verb, _ target: String, _ body: (any Encodable & Sendable)? = nil, as: Answer.Type
    ) async throws -> Answer {
        var bytes: [UInt8] = []
        try await send(verb, target, body) { bytes += $0 }
        let decoder = JSONDecoder()
        do { return try decoder.decode(Answer.self, from: Data(bytes)) } catch {
            throw ServiceFailure(.problem, "the daemon at \(path) is of another version: its answer can't be read")
        }
    }

    /// Passes the response to `take` in pieces as it arrives.
    ///
    /// A complete response counts even if sending the rest of the request or closing failed: the daemon may respond and
    /// close before it has read the whole request.
    ///
    /// - Throws: `ServiceFailure` with the daemon's message, or why there is no response.
    func send(
        _ verb: Verb, _ target: String, _ body: (any Encodable & Sendable)? = nil, take: ([UInt8]) -> Void
    ) async throws {
        let request = try Request(verb, target, body)
        let channel: NIOAsyncChannel<HTTPClientResponsePart, Never>
        do {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(unixDomainSocketPath: path) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(RequestSender(request))
                        return try NIOAsyncChannel(wrappingChannelSynchronously: channel)
                    }
                }
        } catch {
            throw failure(error)
        }
        do {
            try await channel.executeThenClose { inbound in
                var refusal: HTTPResponseStatus?
                var words: [UInt8] = []
                for try await part in inbound {
                    switch part {
                    case .head(let head): refusal = head.status.code < 300 ? nil : head.status
                    case .body(let buffer):
                        if refusal == nil {
                            take(Array(buffer.readableBytesView))
                        } else {
                            words += buffer.readableBytesView
                        }
                    case .end:
                        if let refusal { throw Self.refused(refusal, words) }
                        return
                    }
                }
                throw ended
            }
        } catch let failure as ServiceFailure {
            throw failure
        } catch {
            // The daemon was killed or the connection broke.
            throw ended
        }
    }

    private var ended: ServiceFailure { ServiceFailure(.problem, "the daemon at \(path) has ended") }

    private static func refused(_ status: HTTPResponseStatus, _ words: [UInt8]) -> ServiceFailure {
        let reason = try? JSONDecoder().decode([String: String].self, from: Data(words))["error"]
        return ServiceFailure(.problem, reason ?? "the daemon refused: \(status.code) \(status.reasonPhrase)")
    }

    private func failure(_ error: any Error) -> ServiceFailure {
        switch (error as? IOError)?.errnoCode {
        case EACCES, EPERM: return Self.noPermission(path)
        case ECONNREFUSED, ENOENT:
            return ServiceFailure(
                .problem,
                "no daemon answers at \(path); start one with 'stub53 serve', or name its socket with --control")
        default: return ServiceFailure(.problem, "\(path) can't be connected to: \(error)")
        }
    }
}

extension ControlClient {
    /// What is asked.
    fileprivate struct Request: Sendable {
        let head: HTTPRequestHead
        let content: [UInt8]

        /// - Throws: `ServiceFailure` if `body` can't be encoded as JSON.
        init(_ verb: Verb, _ target: String, _ body: (any Encodable & Sendable)?) throws {
            var headers = HTTPHeaders([("Host", "stub53"), ("Connection", "close")])
            var content: [UInt8] = []
            if let body {
                let encoder = JSONEncoder()
                do { content = Array(try encoder.encode(body)) } catch {
                    throw ServiceFailure(.problem, "the request can't be written as JSON")
                }
                headers.add(name: "Content-Type", value: "application/json")
            }
            if verb != .get { headers.add(name: "Content-Length", value: "\(content.count)") }
            head = HTTPRequestHead(
                version: .http1_1, method: HTTPMethod(rawValue: verb.rawValue), uri: target, headers: headers)
            self.content = content
        }
    }

    /// Sends the whole request at once when the connection opens.
    ///
    /// A part sent later might find the connection closed by a daemon that has already responded. Nothing is read
    /// before: the decoder rejects a response to a request that it has not seen.
    fileprivate final class RequestSender: ChannelInboundHandler {
        typealias InboundIn = HTTPClientResponsePart
        typealias OutboundOut = HTTPClientRequestPart

        private let request: Request

        init(_ request: Request) { self.request = request }

        func channelActive(context: ChannelHandlerContext) {
            // Failures to send show up as a missing response.
            context.write(wrapOutboundOut(.head(request.head)), promise: nil)
            if !request.content.isEmpty {
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: request.content)))), promise: nil)
            }
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            context.fireChannelActive()
        }
    }
}

/// Selects the daemon.
struct ControlOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The daemon's control socket. (default: \(ConfigurationKey.find("control")?.initial ?? ""))",
            valueName: "path"))
    var control: String?

    func client() throws -> ControlClient { try ControlClient.find(control) }
}

/// Formats values as JSON.
enum JSONText {
    static func of(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
