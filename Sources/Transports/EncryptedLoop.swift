import Glibc
import LookupLog
import NIOCore
import Platform
import Synchronization

/// What the encrypted connections of one event loop share, on that loop only.
final class EncryptedLoop {
    let responder: StreamResponder
    private let count: StreamWorker.Count
    private var connections: [ObjectIdentifier: EncryptedConnection] = [:]

    init(responder: StreamResponder, count: StreamWorker.Count) {
        self.responder = responder
        self.count = count
    }

    /// Takes up a connection; nil: there are too many, or it is gone already.
    func open(_ channel: any Channel) -> EncryptedConnection? {
        guard let address = channel.remoteAddress,
            let client = address.withSockAddr({ sockaddr, _ in Platform.SocketAddress(sockaddr) })
        else { return nil }
        guard !responder.isEnding,
            count.value.add(1, ordering: .relaxed).newValue <= responder.limits.maximumConnections
        else {
            count.value.subtract(1, ordering: .relaxed)
            return nil
        }
        let connection = EncryptedConnection(channel, client: client, idleTimeout: responder.limits.idleTimeout)
        connections[ObjectIdentifier(connection)] = connection
        let bound = NIOLoopBound((self, connection), eventLoop: channel.eventLoop)
        channel.closeFuture.whenComplete { _ in
            let (loop, connection) = bound.value
            connection.hasClosed()
            loop.connections[ObjectIdentifier(connection)] = nil
            loop.count.value.subtract(1, ordering: .relaxed)
        }
        return connection
    }

    /// From now on no query is taken up; connections close when nothing is owed.
    func end() {
        responder.isEnding = true
        for connection in connections.values { connection.end() }
    }

    func closeAll() {
        for connection in connections.values { connection.channel.close(promise: nil) }
    }

    var isEmpty: Bool { connections.isEmpty }
}

/// One connection over TLS: how long it has been idle, and what it is owed. On its event loop only.
final class EncryptedConnection {
    let channel: any Channel
    let client: Platform.SocketAddress
    /// Answers that are still to come: until then it is not idle.
    var owed = 0 {
        didSet {
            guard owed == 0 else { return }
            if isEnding { closeAfterWrites() } else { watch() }
        }
    }
    private var lastActivity: NIODeadline
    private let idleTimeout: TimeAmount
    private var isEnding = false
    private var isClosed = false
    /// The one look at whether it is idle that is to come; nil while answers are owed.
    private var look: Scheduled<Void>?

    /// How long a client has after a late answer, at least.
    private static let leastPause = TimeAmount.milliseconds(100)

    init(_ channel: any Channel, client: Platform.SocketAddress, idleTimeout milliseconds: UInt64) {
        self.channel = channel
        self.client = client
        idleTimeout = .milliseconds(Int64(milliseconds))
        lastActivity = channel.eventLoop.now
        // Also a handshake that does not come to its end is idle.
        watch()
    }

    func hasClosed() {
        isClosed = true
        look?.cancel()
        look = nil
    }

    func touch() { lastActivity = channel.eventLoop.now }

    /// Tells the client at once that what it has sent is here. A client that sends a request in two pieces, and its second
    /// only when the first has arrived (Nagle), would wait 40 ms for that, since there is nothing to answer yet.
    func acknowledge() {
        let quick = ChannelOptions.Types.SocketOption(level: .tcp, name: .init(rawValue: TCP_QUICKACK))
        try? channel.syncOptions?.setOption(quick, value: 1)
    }

    func end() {
        isEnding = true
        if owed == 0 { closeAfterWrites() }
    }

    /// What has been written leaves first: it is ahead of the close in the same queue.
    func closeAfterWrites() {
        channel.flush()
        channel.close(promise: nil)
    }

    /// Looks again when it could have been idle for long enough, unless that is to come already.
    private func watch() {
        guard look == nil, !isClosed else { return }
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        look = channel.eventLoop.scheduleTask(in: max(timeLeft, Self.leastPause)) {
            let connection = bound.value
            connection.look = nil
            if connection.owed > 0 { return }
            if connection.timeLeft > .nanoseconds(0) {
                connection.watch()
            } else {
                connection.channel.close(promise: nil)
            }
        }
    }

    private var timeLeft: TimeAmount { lastActivity + idleTimeout - channel.eventLoop.now }
}
