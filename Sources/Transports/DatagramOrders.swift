package import Platform
import Synchronization

/// Sockets that a UDP worker takes or gives up while it runs.
package final class DatagramOrders: Sendable {
    enum Order: Sendable {
        case open(DatagramSocket)
        case close(SocketAddress)
    }

    private let orders = Mutex<[Order]>([])
    private let signal: WakeSignal

    package init(_ signal: WakeSignal) { self.signal = signal }

    package func open(_ socket: DatagramSocket) { add(.open(socket)) }

    package func close(_ address: SocketAddress) { add(.close(address)) }

    private func add(_ order: Order) {
        orders.withLock { $0.append(order) }
        signal.wake()
    }

    func take() -> [Order] {
        orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
    }
}
