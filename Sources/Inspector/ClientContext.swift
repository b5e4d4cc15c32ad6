import Hummingbird
import HummingbirdCore
import NIOCore
import Synchronization

/// What is known of a request beside itself: whether whoever sent it is still there.
struct ClientContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// Gives false once the client has hung up: nobody would read what is found for it.
    var presence: @Sendable () -> Bool {
        get async {
            let channel = channel
            let watch = try? await channel.eventLoop.submit {
                try channel.pipeline.syncOperations.handler(type: ClientWatch.self).presence
            }.get()
            // A channel that has no handlers any more is closed.
            return { watch?.isThere ?? false }
        }
    }

    /// HTTP/1.1 with what that takes.
    static let server = HTTPServerBuilder.http1(
        configuration: .init(additionalChannelHandlers: [ClientWatch()], idleTimeout: idleTimeout))

    /// A connection without a request is closed after this, so that nobody is kept out by those who say nothing.
    private static let idleTimeout = TimeAmount.seconds(30)
}

/// Notices that a client has hung up while its request is at work: a server that does not read is not told.
private final class ClientWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never

    final class Presence: Sendable {
        private let hasGone = Atomic(false)
        var isThere: Bool { !hasGone.load(ordering: .relaxed) }
        func end() { hasGone.store(true, ordering: .relaxed) }
    }

    let presence = Presence()

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { presence.end() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        presence.end()
        context.fireChannelInactive()
    }
}
