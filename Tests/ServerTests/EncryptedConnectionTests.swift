import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP2
import Synchronization
import Testing

@testable import Platform
@testable import Transports

/// TLS connections may stay open for days, so nothing may accumulate on them. The test controls their clock.
@Suite("An encrypted connection")
struct EncryptedConnectionTests {
    /// An embedded channel that counts subscriptions to its close future.
    private final class WatchedChannel: Channel, @unchecked Sendable {
        let base = EmbeddedChannel()
        let callbacks = Atomic(0)

        var closeFuture: EventLoopFuture<Void> {
            callbacks.add(1, ordering: .relaxed)
            return base.closeFuture
        }
        var allocator: ByteBufferAllocator { base.allocator }
        var pipeline: ChannelPipeline { base.pipeline }
        var localAddress: NIOCore.SocketAddress? { base.localAddress }
        var remoteAddress: NIOCore.SocketAddress? { try? NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 4711) }
        var parent: (any Channel)? { nil }
        var isWritable: Bool { base.isWritable }
        var isActive: Bool { base.isActive }
        var eventLoop: any EventLoop { base.eventLoop }
        var _channelCore: any ChannelCore { base._channelCore }

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
            base.setOption(option, value: value)
        }
        func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
            base.getOption(option)
        }
    }

    private struct Trial {
        let loop: EncryptedLoop
        let channel = WatchedChannel()
        let connection: EncryptedConnection

        /// Idle connections are closed after ten seconds.
        init() throws {
            loop = EncryptedLoop(responder: try StreamWorld().responder, count: StreamWorker.Count())
            try channel.base.connect(to: NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 853)).wait()
            connection = try #require(loop.open(channel))
        }

        func pass(_ time: TimeAmount) { channel.base.embeddedEventLoop.advanceTime(by: time) }

        var isOpen: Bool {
            channel.base.embeddedEventLoop.run()
            return !loop.isEmpty
        }
    }

    @Test("accumulates no callbacks, however long it stays open and answers are outstanding")
    func longLived() throws {
        let trial = try Trial()
        let connection = trial.connection
        for _ in 0..<1000 {
            connection.touch()
            connection.outstanding += 1
            trial.pass(.seconds(60))
            connection.outstanding -= 1
            trial.pass(.milliseconds(50))
        }
        #expect(trial.isOpen)
        #expect(trial.channel.callbacks.load(ordering: .relaxed) == 1)
        trial.pass(.seconds(10))
        #expect(!trial.isOpen)
    }

    @Test("is closed after its idle time, not before, and not while an answer is outstanding")
    func idle() throws {
        let trial = try Trial()
        let connection = trial.connection
        trial.pass(.milliseconds(9_999))
        connection.touch()
        trial.pass(.milliseconds(9_999))
        #expect(trial.isOpen)
        connection.outstanding = 2
        trial.pass(.hours(1))
        connection.outstanding = 1
        trial.pass(.hours(1))
        #expect(trial.isOpen)
        // After a late answer the client has a moment.
        connection.outstanding = 0
        trial.pass(.milliseconds(99))
        #expect(trial.isOpen)
        trial.pass(.milliseconds(1))
        #expect(!trial.isOpen)
        // An answer that arrives now is ignored, and no timer is left.
        connection.outstanding = 1
        connection.outstanding = 0
        trial.pass(.hours(1))
    }

    @Test("is closed at shutdown as soon as no answer is outstanding")
    func end() throws {
        let trial = try Trial()
        let connection = trial.connection
        connection.outstanding = 1
        trial.loop.end()
        trial.pass(.seconds(1))
        #expect(trial.isOpen)
        connection.outstanding = 0
        #expect(!trial.isOpen)
    }

    @Test("keeps no request of an ended HTTP/2 stream, whoever ended it")
    func abandonedStreams() throws {
        let trial = try Trial()
        let connection = trial.connection
        let handler = DoHOverHTTP2(trial.loop, connection)
        try trial.channel.pipeline.syncOperations.addHandler(handler)
        let head: HPACKHeaders = [":method": "POST", ":path": "/dns-query", "content-type": "application/dns-message"]
        for number in 0..<1000 {
            let stream = HTTP2StreamID(2 * number + 1)
            try trial.channel.base.writeInbound(HTTP2Frame(streamID: stream, payload: .headers(.init(headers: head))))
            let bytes = IOData.byteBuffer(ByteBuffer(repeating: 0, count: 100))
            try trial.channel.base.writeInbound(HTTP2Frame(streamID: stream, payload: .data(.init(data: bytes))))
            #expect(handler.streams.count == 1)
            // By us, after a client's error: there is no frame from the client.
            let end = StreamClosedEvent(streamID: stream, reason: .protocolError)
            trial.channel.pipeline.fireUserInboundEventTriggered(end)
        }
        #expect(handler.streams.isEmpty)
        connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
    }
}
