import Glibc
import History
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTPTypes
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

    /// The client as one that searches: its searches end once it has disconnected, when nobody would read the result.
    var searcher: SearchClient {
        get async {
            let (presence, name) = await watched { ($0.presence, $0.name) } ?? (nil, "")
            return SearchClient(name) { presence?.isThere ?? false }
        }
    }

    /// What the connection has in common with others of the same client.
    var name: String {
        get async { await watched { $0.name } ?? "" }
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
    ///
    /// - Parameter shares: what each client may have of the connections; nil: any number, and all the time it takes to
    ///   read an answer.
    static func server(_ shares: ConnectionShares? = nil) -> HTTPServerBuilder {
        .http1(configuration: .init(additionalChannelHandlers: [ClientWatch(shares)], idleTimeout: idleTimeout))
    }

    /// A connection without a request is closed after this time, so that idle clients can't keep others out. So is one
    /// whose request does not end.
    fileprivate static let idleTimeout = TimeAmount.seconds(30)
    /// The same for one whose client takes so little of an answer that the system has no room for more of it.
    fileprivate static let answerTimeout = TimeAmount.minutes(2)
}

/// The connections of each client: none may take all. A client that has its part gets another one for one that is idle.
final class ConnectionShares: Sendable {
    private struct Connection {
        let channel: any Channel
        var isIdle = true
    }

    /// Connections of one client at most.
    private let most: Int
    private let open = Mutex<[String: [Connection]]>([:])

    init(most: Int) { self.most = most }

    /// Whether the client may have this one too.
    func take(_ channel: any Channel, of client: String) -> Bool {
        let (isTaken, replaced) = open.withLock { open -> (Bool, Connection?) in
            var replaced: Connection?
            if open[client, default: []].count >= most {
                guard let oldest = open[client]?.firstIndex(where: \.isIdle) else { return (false, nil) }
                replaced = open[client]?.remove(at: oldest)
            }
            open[client, default: []].append(Connection(channel: channel))
            return (true, replaced)
        }
        replaced?.channel.close(promise: nil)
        return isTaken
    }

    func note(_ channel: any Channel, of client: String, isIdle: Bool) {
        open.withLock { open in
            guard let index = open[client]?.firstIndex(where: { $0.channel === channel }) else { return }
            open[client]?[index].isIdle = isIdle
        }
    }

    func giveBack(_ channel: any Channel, of client: String) {
        open.withLock { open in
            open[client]?.removeAll { $0.channel === channel }
            if open[client]?.isEmpty == true { open[client] = nil }
        }
    }
}

/// Knows whose connection it is, notices when the client disconnects during a request (a server that does not read
/// would not be notified), and closes connections that only hold their place.
final class ClientWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    final class Presence: Sendable {
        private let hasGone = Atomic(false)
        var isThere: Bool { !hasGone.load(ordering: .relaxed) }
        func end() { hasGone.store(true, ordering: .relaxed) }
    }

    let presence = Presence()
    /// Looked up at once: after the client has closed its end, nobody knows any more.
    private(set) var user: uid_t?
    /// The same for all connections of a client: of a user of this machine, or else of an address.
    private(set) var name = ""
    private let shares: ConnectionShares?
    /// Requests that have begun and whose answers have not ended.
    private var requests = 0
    private var hasEnded = false
    /// Browsers send one after the other; a client that sends many at once would have all of them kept.
    private static let mostRequests = 16
    /// Close the connection unless the request ends before, or the client takes a part of the answer.
    private var requestLimit: Scheduled<Void>?
    private var answerLimit: Scheduled<Void>?

    init(_ shares: ConnectionShares?) { self.shares = shares }

    func channelActive(context: ChannelHandlerContext) {
        if let client = context.remoteAddress?.plain, let server = context.localAddress?.plain {
            user = client.owner(ofConnectionWith: server)
            name = user.map { "user \($0)" } ?? client.client.ip
        } else {
            name = "\(ObjectIdentifier(self))"
        }
        if let shares, !shares.take(context.channel, of: name) { return context.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if hasEnded { return }
        switch unwrapInboundIn(data) {
        case .head:
            requests += 1
            guard requests <= Self.mostRequests else {
                hasEnded = true
                return context.close(promise: nil)
            }
            requestLimit?.cancel()
            requestLimit = closing(context.channel, in: ClientContext.idleTimeout)
        case .body: break
        case .end:
            // One whose request is incomplete may as well be replaced.
            shares?.note(context.channel, of: name, isIdle: false)
            requestLimit?.cancel()
            requestLimit = nil
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) {
            requests -= 1
            shares?.note(context.channel, of: name, isIdle: true)
        }
        context.write(data, promise: promise)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        answerLimit?.cancel()
        answerLimit =
            shares != nil && !context.channel.isWritable
            ? closing(context.channel, in: ClientContext.answerTimeout) : nil
        context.fireChannelWritabilityChanged()
    }

    private func closing(_ channel: any Channel, in time: TimeAmount) -> Scheduled<Void> {
        channel.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { presence.end() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        presence.end()
        requestLimit?.cancel()
        answerLimit?.cancel()
        shares?.giveBack(context.channel, of: name)
        context.fireChannelInactive()
    }
}

extension NIOCore.SocketAddress {
    /// Nil for a Unix socket's.
    fileprivate var plain: Platform.SocketAddress? {
        withSockAddr { address, _ in Platform.SocketAddress(address)?.unmapped }
    }
}
