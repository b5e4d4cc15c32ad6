import DNSWire
import LookupLog
import NIOCore
import NIOPosix
import Resolution
import Synchronization

/// Serves DNS over TCP: connections, framing, pipelining, time-outs. Answers come from the same `QueryHandler` as UDP's.
///
/// - RFC: 7766; 1035 4.2.2 for the length in front of a message; 7828 for keepalive.
final class StreamListener: Sendable {
    struct Limits: Sendable {
        var maximumConnections = 1000
        /// Queries of one connection that may wait for upstream at once; more are left unread.
        var maximumPipelined = 100
        /// Milliseconds.
        var idleTimeout: UInt64 = 10_000
    }

    private let group: MultiThreadedEventLoopGroup
    private let limits: Limits
    private let store: LocalDataStore
    private let service: ServiceSettings
    private let makeRing: @Sendable () -> LookupRing?
    private let connections = Atomic<Int>(0)
    /// One per event loop: its handler and buffers are confined to that thread.
    private let states = ThreadSpecificVariable<StreamWorker>()
    private let channels = Mutex<[any Channel]>([])

    init(
        threads: Int, limits: Limits, store: LocalDataStore, service: ServiceSettings,
        makeRing: @escaping @Sendable () -> LookupRing?
    ) {
        group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        self.limits = limits
        self.store = store
        self.service = service
        self.makeRing = makeRing
    }

    /// Binds and listens on `address`; returns the address with the port that the system chose, where 0 was asked.
    func listen(on address: Resolution.SocketAddress) throws -> Resolution.SocketAddress {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            // A client may send its last query, close its side, and wait for the answers.
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 * 1024, high: 256 * 1024))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.setUp(channel) }
            }
        let target = try NIOCore.SocketAddress(ipAddress: address.ip, port: Int(address.port))
        let channel = try bootstrap.bind(to: target).wait()
        channels.withLock { $0.append(channel) }
        return address.withPort(UInt16(channel.localAddress?.port ?? Int(address.port)))
    }

    /// Gives up the address that was listened on last.
    func forgetLast() { try? channels.withLock { $0.popLast() }?.close().wait() }

    /// Stops accepting; connections that are open get their answers and are closed.
    func close() {
        for channel in channels.withLock({ $0 }) { try? channel.close().wait() }
    }

    /// Ends the event loops, and with them what is still open.
    func shutDown() async { try? await group.shutdownGracefully() }

    private func setUp(_ channel: any Channel) throws {
        guard connections.load(ordering: .relaxed) < limits.maximumConnections else {
            channel.close(promise: nil)
            return
        }
        connections.add(1, ordering: .relaxed)
        channel.closeFuture.whenComplete { _ in self.connections.subtract(1, ordering: .relaxed) }
        let worker: StreamWorker
        if let existing = states.currentValue {
            worker = existing
        } else {
            worker = StreamWorker(store: store, service: service, ring: makeRing())
            states.currentValue = worker
        }
        guard let remote = channel.remoteAddress, let client = remote.plain else {
            throw ChannelError.unknownLocalAddress
        }
        try channel.pipeline.syncOperations.addHandler(
            StreamConnection(worker: worker, client: client, limits: limits))
    }
}

extension NIOCore.SocketAddress {
    /// Our own form; nil for Unix sockets.
    var plain: Resolution.SocketAddress? {
        withSockAddr { address, _ in Resolution.SocketAddress(address) }
    }
}

/// What all streams of one event loop share: handler, response buffer, snapshot.
///
/// `@unchecked`: made and used on that event loop only.
final class StreamWorker: @unchecked Sendable {
    let store: LocalDataStore
    let ring: LookupRing?
    private var snapshot: LocalDataStore.Snapshot
    private var handler: QueryHandler
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)

    init(store: LocalDataStore, service: ServiceSettings, ring: LookupRing?) {
        self.store = store
        self.ring = ring
        snapshot = store.current()
        handler = QueryHandler(service: service, ring: ring)
    }

    deinit { buffer.deallocate() }

    enum Answer {
        case reply(UnsafeRawBufferPointer)
        case parked
        case transfer(ZoneTransfer)
        case nothing
    }

    /// Answers one message; the reply is valid until the next call.
    func answer(
        _ message: UnsafeRawBufferPointer, _ request: QueryHandler.Request,
        replyLater: () -> ParkedQuery.Reply
    ) -> Answer {
        if store.generation != snapshot.generation { snapshot = store.current() }
        switch handler.handle(message, request, local: snapshot.data, into: buffer) {
        case .reply(let length):
            if handler.wantsPrefetch { snapshot.data.forwarding?.prefetch(handler.missedKey) }
            return .reply(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
        case .miss:
            guard let forwarding = snapshot.data.forwarding else { return .nothing }
            forwarding.park(
                message, request, reply: replyLater(), key: handler.missedKey)
            return .parked
        case .transfer:
            guard let transfer = ZoneTransfer(of: handler.transferredName, in: snapshot.data, message, request) else {
                return .nothing
            }
            return .transfer(transfer)
        case .nothing: return .nothing
        }
    }
}

/// One TCP connection: takes messages apart, answers each as soon as its answer is there, in any order.
final class StreamConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let worker: StreamWorker
    private let client: Resolution.SocketAddress
    private let limits: StreamListener.Limits
    private var pending: ByteBuffer?
    private var parked = 0
    private var transfer: ZoneTransfer?
    private var reading = true
    private var closing = false
    private var idle: Scheduled<Void>?

    init(worker: StreamWorker, client: Resolution.SocketAddress, limits: StreamListener.Limits) {
        self.worker = worker
        self.client = client
        self.limits = limits
    }

    func channelActive(context: ChannelHandlerContext) {
        restartIdleTimer(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var arrived = unwrapInboundIn(data)
        if pending == nil || pending?.readableBytes == 0 {
            pending = arrived
        } else {
            pending?.writeBuffer(&arrived)
        }
        process(context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { resume(context) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The client has said all it will say; what it still waits for is answered first.
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            closing = true
            closeIfDone(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        idle?.cancel()
        closing = true
        context.fireChannelInactive()
    }

    // MARK: Messages

    /// Answers whole messages until one of the limits says to wait.
    private func process(_ context: ChannelHandlerContext) {
        while mayProceed(context), var buffer = pending, buffer.readableBytes >= 2 {
            let length = Int(buffer.getInteger(at: buffer.readerIndex, as: UInt16.self) ?? 0)
            // No message is shorter than its header: whoever sends this does not speak DNS.
            guard length >= Header.length else {
                context.close(promise: nil)
                return
            }
            guard buffer.readableBytes >= 2 + length else { break }
            buffer.moveReaderIndex(forwardBy: 2)
            guard let message = buffer.readSlice(length: length) else { break }
            if buffer.readableBytes == 0 {
                pending = nil
            } else {
                pending = buffer
            }
            restartIdleTimer(context)
            answer(message, context)
        }
        // What was read must not grow for ever while we wait; `resume` starts again.
        setReading(mayProceed(context), context)
        closeIfDone(context)
    }

    private func mayProceed(_ context: ChannelHandlerContext) -> Bool {
        parked < limits.maximumPipelined && transfer == nil && context.channel.isWritable && context.channel.isActive
    }

    private func answer(_ message: ByteBuffer, _ context: ChannelHandlerContext) {
        let request = QueryHandler.Request(client: client, transport: .tcp, arrival: Moment.now())
        message.withUnsafeReadableBytes { bytes in
            switch worker.answer(bytes, request, replyLater: { replyLater(context) }) {
            case .reply(let reply): write(reply, context)
            case .parked: parked += 1
            case .transfer(let transfer):
                self.transfer = transfer
                send(context)
            case .nothing: break
            }
        }
    }

    private func write(_ reply: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) {
        var out = context.channel.allocator.buffer(capacity: reply.count + 2)
        out.writeInteger(UInt16(truncatingIfNeeded: reply.count))
        out.writeBytes(reply)
        context.write(wrapOutboundOut(out), promise: nil)
    }

    /// How upstream's answer gets back to this connection, from the forward thread.
    private func replyLater(_ context: ChannelHandlerContext) -> ParkedQuery.Reply {
        let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        return .stream { reply in
            let bytes = ByteBuffer(bytes: reply)
            eventLoop.execute {
                let (handler, context) = connection.value
                handler.finishParked(bytes, context)
            }
        }
    }

    private func finishParked(_ reply: ByteBuffer, _ context: ChannelHandlerContext) {
        parked -= 1
        guard context.channel.isActive else { return }
        if reply.readableBytes > 0 { reply.withUnsafeReadableBytes { write($0, context) } }
        context.flush()
        restartIdleTimer(context)
        resume(context)
    }

    private func resume(_ context: ChannelHandlerContext) {
        if transfer != nil { send(context) }
        process(context)
        context.flush()
    }

    /// Sends the next messages of a zone transfer, as long as the client takes them.
    private func send(_ context: ChannelHandlerContext) {
        while context.channel.isWritable, let message = transfer?.next() {
            message.withUnsafeBytes { write($0, context) }
            context.flush()
            restartIdleTimer(context)
        }
        if transfer?.isFinished == true {
            transfer?.log(to: worker.ring)
            transfer = nil
        }
    }

    // MARK: Limits

    private func setReading(_ on: Bool, _ context: ChannelHandlerContext) {
        guard on != reading else { return }
        reading = on
        context.channel.setOption(.autoRead, value: on).whenFailure { _ in }
    }

    private func closeIfDone(_ context: ChannelHandlerContext) {
        if closing, parked == 0, transfer == nil, context.channel.isActive {
            context.flush()
            context.close(promise: nil)
        }
    }

    /// A connection may be idle for so long, and a message may take no longer either.
    private func restartIdleTimer(_ context: ChannelHandlerContext) {
        idle?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        idle = context.eventLoop.scheduleTask(
            in: .milliseconds(Int64(clamping: limits.idleTimeout))
        ) {
            let (handler, context) = bound.value
            if handler.parked > 0 {
                handler.restartIdleTimer(context)
            } else {
                context.close(promise: nil)
            }
        }
    }
}
