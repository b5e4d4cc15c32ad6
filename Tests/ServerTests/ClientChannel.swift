import NIOCore
import NIOEmbedded
import Synchronization

/// An embedded channel with a client's address, which counts subscriptions to its close future.
final class ClientChannel: Channel, @unchecked Sendable {
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
