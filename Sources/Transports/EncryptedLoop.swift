import Glibc
import LookupLog
import NIOCore
import Platform
import Synchronization

/// State that the encrypted connections of one event loop share; used on that loop only.
final class EncryptedLoop {
    let responder: StreamResponder
    private let budget: StreamBudget
    private var connections: [ObjectIdentifier: EncryptedConnection] = [:]

    init(responder: StreamResponder, budget: StreamBudget) {
        self.responder = responder
        self.budget = budget
    }

    /// Registers a connection; nil if there are too many, or if it is closed already.
    func open(_ channel: any Channel) -> EncryptedConnection? {
        guard let address = channel.remoteAddress,
            let client = address.withSockAddr({ sockaddr, _ in Platform.SocketAddress(sockaddr) })
        else { return nil }
        guard !responder.isEnding, let share = budget.open(client, responder.limits) else { return nil }
        let connection = EncryptedConnection(channel, client: client, responder, share)
        connections[ObjectIdentifier(connection)] = connection
        let bound = NIOLoopBound((self, connection), eventLoop: channel.eventLoop)
        channel.closeFuture.whenComplete { _ in
            let (loop, connection) = bound.value
            connection.hasClosed()
            loop.connections[ObjectIdentifier(connection)] = nil
        }
        return connection
    }

    /// Takes no new queries; connections close once their answers are sent.
    func end() {
        responder.isEnding = true
        for connection in connections.values { connection.end() }
    }

    func closeAll() {
        for connection in connections.values { connection.channel.close(promise: nil) }
    }

    var isEmpty: Bool { connections.isEmpty }
}

/// One TLS connection: its idle time, its outstanding answers, and what it holds. Used on its event loop only.
final class EncryptedConnection {
    let channel: any Channel
    let client: Platform.SocketAddress
    /// Where it has connected to.
    let local: Platform.SocketAddress
    /// Outstanding answers: while there are any, the connection is not idle.
    var outstanding = 0 {
        didSet {
            guard outstanding == 0 else { return }
            if isEnding { closeAfterWrites() } else { scheduleIdleCheck() }
        }
    }
    private var lastActivity: NIODeadline
    let idleTimeout: TimeAmount
    private let responder: StreamResponder
    /// Nil once it is closed.
    private var share: StreamShare?
    /// Bytes of unfinished requests, and of answers that the client has not taken.
    private var unfinished = 0
    private var unread = 0
    private var isEnding = false
    private var isClosed = false
    /// The single pending idle check; nil while answers are outstanding.
    private var idleCheck: Scheduled<Void>?

    /// About what an answer takes until it is sent, next to its bytes.
    private static let answerCost = 512
    /// After a late answer, the client has at least this long.
    private static let leastPause = TimeAmount.milliseconds(100)

    init(
        _ channel: any Channel, client: Platform.SocketAddress, _ responder: StreamResponder, _ share: StreamShare
    ) {
        self.channel = channel
        self.client = client
        local = channel.localAddress?.withSockAddr { address, _ in Platform.SocketAddress(address) } ?? .none
        self.responder = responder
        self.share = share
        idleTimeout = .milliseconds(Int64(responder.limits.idleTimeout))
        lastActivity = channel.eventLoop.now
        // An unfinished handshake counts as idle.
        scheduleIdleCheck()
    }

    func hasClosed() {
        isClosed = true
        share = nil
        idleCheck?.cancel()
        idleCheck = nil
    }

    func touch() { lastActivity = channel.eventLoop.now }

    /// Notes the bytes of unfinished requests; false if the client may not hold so many.
    func hold(_ bytes: Int) -> Bool {
        unfinished = bytes
        return holdsLittle
    }

    /// The promise to write an answer of `bytes` with, so that it counts until the client has taken it. Closes the
    /// connection of a client that leaves too much unread.
    func promiseAnswer(of bytes: Int) -> EventLoopPromise<Void>? {
        let bytes = bytes + Self.answerCost
        unread += bytes
        guard holdsLittle else {
            abort()
            return nil
        }
        let promise = channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [self] _ in
            unread -= bytes
            _ = holdsLittle
        }
        return promise
    }

    private var holdsLittle: Bool { share?.hold(unfinished + unread, responder.limits) ?? true }

    /// Acknowledges received data at once. A client with Nagle's algorithm that sends a request in two pieces holds
    /// back the second until the first is acknowledged: with no answer to send yet, the delayed ACK would cost it 40
    /// ms.
    func acknowledge() {
        let quick = ChannelOptions.Types.SocketOption(level: .tcp, name: .init(rawValue: TCP_QUICKACK))
        try? channel.syncOptions?.setOption(quick, value: 1)
    }

    func end() {
        isEnding = true
        if outstanding == 0 { closeAfterWrites() }
    }

    /// Pending writes leave first: they are ahead of the close in the same queue.
    func closeAfterWrites() {
        channel.flush()
        channel.close(promise: nil)
    }

    /// Closes at once the connection of a client that holds too much: TLS would first have it take its answers, and keep
    /// them for seconds.
    func abort() {
        guard let socket = try? channel.pipeline.syncOperations.context(handlerType: TLSBuffers.Copies.self) else {
            return channel.close(promise: nil)
        }
        socket.close(promise: nil)
    }

    /// Schedules a check for when the connection could first be idle for too long, unless one is pending.
    private func scheduleIdleCheck() {
        guard idleCheck == nil, !isClosed else { return }
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        idleCheck = channel.eventLoop.scheduleTask(in: max(timeLeft, Self.leastPause)) {
            let connection = bound.value
            connection.idleCheck = nil
            if connection.outstanding > 0 { return }
            if connection.timeLeft > .nanoseconds(0) {
                connection.scheduleIdleCheck()
            } else {
                connection.channel.close(promise: nil)
            }
        }
    }

    private var timeLeft: TimeAmount { lastActivity + idleTimeout - channel.eventLoop.now }
}
