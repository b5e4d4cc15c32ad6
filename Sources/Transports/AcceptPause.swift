package import NIOCore
import Platform

/// Pauses a listening channel while the system has no descriptor or memory for its next connection.
///
/// SwiftNIO's `AcceptBackoffHandler` does not help: after a failed accept the channel still waits for connections, and
/// as one is there, it tries again at once, for ever.
package final class AcceptPause: ChannelInboundHandler {
    package typealias InboundIn = any Channel

    /// As long as that of `StreamWorker`.
    private static let length = TimeAmount.milliseconds(100)

    package init() {}

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let code = (error as? IOError)?.errnoCode, SystemError.isExhaustion(code) else {
            return context.fireErrorCaught(error)
        }
        let channel = context.channel
        // Not only no `read`: this also stops the wait for connections.
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        channel.eventLoop.scheduleTask(in: Self.length) { _ = channel.setOption(.autoRead, value: true) }
    }
}
