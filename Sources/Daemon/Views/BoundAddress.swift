import Platform
import Transports

/// An address with its sockets.
struct BoundAddress {
    var stream: StreamListener.Bound
    /// By worker.
    var datagrams: [DatagramSocket]
    var address: SocketAddress { stream.address }
}
