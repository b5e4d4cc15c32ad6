import Glibc
import LookupLog
import NIOCore
import Platform
import Synchronization

/// State that the encrypted connections of one event loop share; used on that loop only.
final class EncryptedLoop {
    let responder: StreamResponder
    private let count: StreamWorker.Count
    private var connections: [ObjectIdentifier: EncryptedConnection] = [:]

    init(responder: StreamResponder, count: StreamWorker.Count) {
        self.responder = responder
        self.count = count
    }

    /// Registers a connection; nil if there are too many, or if it is closed already.
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

/// One TLS connection: its idle time, and its outstanding answers. Used on its event loop only.
final class EncryptedConnection {
    let channel: any Channel
    let client: Platform.SocketAddress
    /// Outstanding answers: while there are any, the connection is not idle.
    var outstanding = 0 {
        didSet {
            guard outstanding == 0 else { return }
            if isEnding { closeAfterWrites() } else { scheduleIdleCheck() }
        }
    }
    private var lastActivity: NIODeadline
    private let idleTimeout: TimeAmount
    private var isEnding = false
    private var isClosed = false
    /// The single pending idle check; nil while answers are outstanding.
    private var idleCheck: Scheduled<Void>?

    /// After a late answer, the client has at least this long.
    private static let leastPause = TimeAmount.milliseconds(100)

    init(_ channel: any Channel, client: Platform.SocketAddress, idleTimeout milliseconds: UInt64) {
        self.channel = channel
        self.client = client
        idleTimeout = .milliseconds(Int64(milliseconds))
        lastActivity = channel.eventLoop.now
        // An unfinished handshake counts as idle.
        scheduleIdleCheck()
    }

    func hasClosed() {
        isClosed = true
        idleCheck?.cancel()
        idleCheck = nil
    }

    func touch() { lastActivity = channel.eventLoop.now }

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
