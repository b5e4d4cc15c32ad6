import Glibc
import Hummingbird
import HummingbirdCore
import NIOCore
import Platform
import Synchronization

/// The context of a request: knows whether the client is still connected.
struct ClientContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// Returns false once the client has disconnected: then nobody would read the result.
    var presence: @Sendable () -> Bool {
        get async {
            let presence = await watched { $0.presence }
            return { presence?.isThere ?? false }
        }
    }

    /// The user at the other end of the connection, if it is on this machine.
    var user: uid_t? {
        get async { await watched { $0.user } ?? nil }
    }

    /// What the connection's watch knows; nil if the channel is closed and has no handlers any more.
    private func watched<Value: Sendable>(_ read: @escaping @Sendable (ClientWatch) -> Value) async -> Value? {
        let channel = channel
        return try? await channel.eventLoop.submit {
            read(try channel.pipeline.syncOperations.handler(type: ClientWatch.self))
        }.get()
    }

    /// HTTP/1.1, with a `ClientWatch` on each connection.
    static let server = HTTPServerBuilder.http1(
        configuration: .init(additionalChannelHandlers: [ClientWatch()], idleTimeout: idleTimeout))

    /// A connection without a request is closed after this time, so that idle clients can't keep others out.
    private static let idleTimeout = TimeAmount.seconds(30)
}

/// Knows whose connection it is, and notices when the client disconnects during a request: a server that does not read
/// would not be notified.
private final class ClientWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never

    final class Presence: Sendable {
        private let hasGone = Atomic(false)
        var isThere: Bool { !hasGone.load(ordering: .relaxed) }
        func end() { hasGone.store(true, ordering: .relaxed) }
    }

    let presence = Presence()
    /// Looked up at once: after the client has closed its end, nobody knows any more.
    private(set) var user: uid_t?

    func channelActive(context: ChannelHandlerContext) {
        if let client = context.remoteAddress?.plain, let server = context.localAddress?.plain {
            user = client.owner(ofConnectionWith: server)
        }
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { presence.end() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        presence.end()
        context.fireChannelInactive()
    }
}

extension NIOCore.SocketAddress {
    /// Nil for a Unix socket's.
    fileprivate var plain: Platform.SocketAddress? {
        withSockAddr { address, _ in Platform.SocketAddress(address)?.unmapped }
    }
}
