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
    private let group: MultiThreadedEventLoopGroup
    private let store: LocalDataStore
    private let forwarding: Forwarding
    private let makeRing: @Sendable () -> LookupRing?
    private let connections = Atomic<Int>(0)
    private let isEnding = Atomic<Bool>(false)
    /// One per event loop: its handler and buffers are confined to that thread.
    private let states = ThreadSpecificVariable<StreamWorker>()
    private let channels = Mutex<[any Channel]>([])

    init(
        threads: Int, store: LocalDataStore, forwarding: Forwarding,
        makeRing: @escaping @Sendable () -> LookupRing?
    ) {
        group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        self.store = store
        self.forwarding = forwarding
        self.makeRing = makeRing
    }

    /// A listening socket.
    struct Bound: Sendable {
        let address: Resolution.SocketAddress
        fileprivate let channel: any Channel
    }

    /// Binds and listens on `address`; where port 0 was asked, the result has the one that the system chose.
    func listen(on address: Resolution.SocketAddress) throws -> Bound {
        let target = try NIOCore.SocketAddress(ipAddress: address.ip, port: Int(address.port))
        let channel = try bootstrap.bind(to: target).wait()
        channels.withLock { $0.append(channel) }
        let port = UInt16(clamping: channel.localAddress?.port ?? Int(address.port))
        return Bound(address: address.withPort(port), channel: channel)
    }

    /// Serves a socket that listens already.
    func listen(inherited descriptor: Int32) throws {
        let channel = try bootstrap.withBoundSocket(descriptor).wait()
        channels.withLock { $0.append(channel) }
    }

    func close(_ bound: Bound) {
        channels.withLock { $0.removeAll { $0 === bound.channel } }
        try? bound.channel.close().wait()
    }

    private var bootstrap: ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPause()) }
            }
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            // A client may send its last query, close its side, and wait for the answers.
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 * 1024, high: 256 * 1024))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.setUp(channel) }
            }
    }

    /// Stops accepting; connections that are open get their answers and are closed.
    func close() {
        for channel in channels.withLock({ $0 }) { try? channel.close().wait() }
    }

    /// Ends the event loops, and with them what is still open.
    ///
    /// First no loop takes up another query: its answer might come when the loop is no more.
    func shutDown() async {
        isEnding.store(true, ordering: .releasing)
        for loop in group.makeIterator() { try? await loop.submit { self.states.currentValue?.isEnding = true }.get() }
        try? await group.shutdownGracefully()
    }

    /// Event loops that have nothing to answer do not hold on to old data.
    func refresh() {
        for loop in group.makeIterator() { loop.execute { self.states.currentValue?.refresh() } }
    }

    private func setUp(_ channel: any Channel) throws {
        let limits = store.current().data.service.streams
        guard connections.load(ordering: .relaxed) < limits.maximumConnections, !isEnding.load(ordering: .acquiring)
        else {
            channel.close(promise: nil)
            return
        }
        connections.add(1, ordering: .relaxed)
        channel.closeFuture.whenComplete { _ in self.connections.subtract(1, ordering: .relaxed) }
        let worker: StreamWorker
        if let existing = states.currentValue {
            worker = existing
        } else {
            worker = StreamWorker(store: store, forwarding: forwarding, ring: makeRing())
            states.currentValue = worker
        }
        guard let remote = channel.remoteAddress, let client = remote.plain else {
            throw ChannelError.unknownLocalAddress
        }
        try channel.pipeline.syncOperations.addHandler(
            StreamConnection(worker: worker, client: client, limits: limits))
    }
}

/// Lets a listening socket rest when accept(2) has failed: without descriptors left it would be tried, and fail, in a
/// loop. (NIO's AcceptBackoffHandler holds back only reads that are asked for anew, which this one is not.)
private final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = Channel

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let channel = context.channel
        channel.setOption(.autoRead, value: false).whenFailure { _ in }
        channel.eventLoop.scheduleTask(in: .milliseconds(100)) {
            channel.setOption(.autoRead, value: true).whenFailure { _ in }
        }
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
    let forwarding: Forwarding
    let ring: LookupRing?
    /// No more queries are taken up.
    var isEnding = false
    private var snapshot: LocalDataStore.Snapshot
    private var handler: QueryHandler
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)

    init(store: LocalDataStore, forwarding: Forwarding, ring: LookupRing?) {
        self.store = store
        self.forwarding = forwarding
        self.ring = ring
        snapshot = store.current()
        handler = QueryHandler(service: snapshot.data.service, ring: ring)
    }

    deinit { buffer.deallocate() }

    func refresh() {
        guard store.generation != snapshot.generation else { return }
        snapshot = store.current()
        handler.service = snapshot.data.service
    }

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
        refresh()
        switch handler.handle(message, request, local: snapshot.data, into: buffer) {
        case .reply(let length):
            if handler.wantsPrefetch { forwarding.prefetch(handler.missedKey) }
            return .reply(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
        case .miss:
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
    private let limits: Configuration.Streams
    private var pending: ByteBuffer?
    private var parked = 0
    private var transfer: ZoneTransfer?
    private var reading = true
    /// The client sends no more.
    private var inputEnded = false
    /// Only what is written has still to get out.
    private var ending = false
    private var idle: Scheduled<Void>?

    init(worker: StreamWorker, client: Resolution.SocketAddress, limits: Configuration.Streams) {
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
            // What was read gives its room back: a client may leave half a message behind each time.
            pending?.discardReadBytes()
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
            inputEnded = true
            endIfDone(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        idle?.cancel()
        ending = true
        if let transfer { transfer.log(to: worker.ring) }
        transfer = nil
        context.fireChannelInactive()
    }

    // MARK: Messages

    /// Answers whole messages until one of the limits says to wait.
    private func process(_ context: ChannelHandlerContext) {
        while mayProceed(context), var buffer = pending, buffer.readableBytes >= 2 {
            let length = Int(buffer.getInteger(at: buffer.readerIndex, as: UInt16.self) ?? 0)
            // No message is shorter than its header: whoever sends this does not speak DNS.
            guard length >= Header.length else {
                pending = nil
                inputEnded = true
                break
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
        endIfDone(context)
    }

    /// Whether a whole message is still to be answered.
    private var hasMessage: Bool {
        guard let pending, let length = pending.getInteger(at: pending.readerIndex, as: UInt16.self) else {
            return false
        }
        return pending.readableBytes >= 2 + Int(length)
    }

    private func mayProceed(_ context: ChannelHandlerContext) -> Bool {
        !ending && !worker.isEnding && parked < limits.maximumPipelined && transfer == nil && context.channel.isWritable
            && context.channel.isActive
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

    /// Closes once everything that was asked is answered and on its way; the idle timer bounds how long that takes.
    private func endIfDone(_ context: ChannelHandlerContext) {
        guard inputEnded, !ending, parked == 0, transfer == nil, !hasMessage, context.channel.isActive else { return }
        ending = true
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in bound.value.close(promise: nil) }
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
