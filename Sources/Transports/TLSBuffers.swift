import NIOCore

/// Two handlers around SwiftNIO's for TLS, which would hold far more memory than the bytes that wait: for each
/// connection a buffer as large as the most that was ever encrypted at once, and another such buffer for each record
/// that a client has not taken.
enum TLSBuffers {
    /// Passes on a record's worth of answers at a time, so that no more is encrypted at once.
    final class Pieces: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        /// Bytes; with what TLS adds, a record of them fits the buffer that each connection has from the start.
        static let size = 16_000
        private var unflushed = 0

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            var bytes = unwrapOutboundIn(data)
            // Nothing else is written in between: only the event loop finds that a client takes data again, not a flush.
            while unflushed + bytes.readableBytes > Self.size {
                if let piece = bytes.readSlice(length: Self.size - unflushed), piece.readableBytes > 0 {
                    context.write(wrapOutboundOut(piece), promise: nil)
                }
                flush(context: context)
            }
            unflushed += bytes.readableBytes
            context.write(wrapOutboundOut(bytes), promise: promise)
        }

        func flush(context: ChannelHandlerContext) {
            unflushed = 0
            context.flush()
        }
    }

    /// Copies what is short, so that TLS uses its buffer again.
    final class Copies: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            let bytes = unwrapOutboundIn(data)
            guard bytes.readableBytes <= bytes.storageCapacity / 2 else {
                return context.write(wrapOutboundOut(bytes), promise: promise)
            }
            context.write(wrapOutboundOut(ByteBuffer(bytes: bytes.readableBytesView)), promise: promise)
        }
    }
}
