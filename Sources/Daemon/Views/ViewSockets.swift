import Glibc
import LookupLog
import Platform
import Synchronization
import Transports

/// The sockets of addresses at which views are asked: opened and closed while the service runs.
final class ViewSockets: Sendable {
    private struct Open: Sendable {
        var address: SocketAddress
        var stream: StreamListener.Bound
        var views: Set<String>
    }

    private let listener: StreamListener
    private let orders: [DatagramOrders]
    /// By the address that was asked for.
    private let open = Mutex<[SocketAddress: Open]>([:])
    /// The daemon's own addresses: a view may be asked there, too.
    private let served = Mutex<[SocketAddress]>([])
    private let turn = Mutex<Void>(())

    init(_ listener: StreamListener, _ orders: [DatagramOrders]) {
        self.listener = listener
        self.orders = orders
    }

    /// Changes of views, one at a time.
    func exclusively<Value: Sendable, Problem: Error>(
        _ body: () throws(Problem) -> Value
    ) throws(Problem) -> Value {
        try turn.withLock { _ throws(Problem) in try body() }
    }

    /// What the daemon serves anyway need not be opened.
    func take(served addresses: [SocketAddress]) { served.withLock { $0 = addresses } }

    private func isServed(_ asked: SocketAddress) -> Bool {
        served.withLock { served in
            served.contains {
                $0 == asked || $0.isUnspecified && $0.port == asked.port && $0.isIPv6 == asked.isIPv6
            }
        }
    }

    /// Opens what the view needs, and closes what it no longer needs; returns its addresses.
    func open(
        for view: ViewSettings, bind: (SocketAddress) throws -> BoundAddress
    ) throws -> [SocketAddress] {
        var addresses: [SocketAddress] = []
        for asked in view.listen.plain {
            if asked.port > 0, isServed(asked) {
                addresses.append(asked)
                continue
            }
            // Port 0 takes another port each time.
            let known = open.withLock { open -> SocketAddress? in
                guard asked.port > 0 || open[asked]?.views.contains(view.name) == true, open[asked] != nil else {
                    return nil
                }
                open[asked]?.views.insert(view.name)
                return open[asked]?.address
            }
            if let known {
                addresses.append(known)
                continue
            }
            let bound: BoundAddress
            do { bound = try bind(asked) } catch {
                close(view.name) { addresses.contains($0) }
                throw error
            }
            for (order, socket) in zip(orders, bound.datagrams) { order.open(socket) }
            open.withLock { $0[asked] = Open(address: bound.stream.address, stream: bound.stream, views: [view.name]) }
            addresses.append(bound.stream.address)
        }
        close(view.name) { !view.listen.plain.contains($0) }
        return addresses
    }

    /// Closes what no other view needs, of what `isGone`.
    func close(_ view: String, where isGone: (SocketAddress) -> Bool = { _ in true }) {
        let closed = open.withLock { open -> [Open] in
            var closed: [Open] = []
            for key in Array(open.keys) where isGone(key) {
                open[key]?.views.remove(view)
                if let one = open[key], one.views.isEmpty {
                    closed.append(one)
                    open[key] = nil
                }
            }
            return closed
        }
        for one in closed {
            listener.close(one.stream)
            for order in orders { order.close(one.address) }
        }
    }

    /// The views that have sockets.
    var views: Set<String> { open.withLock { $0.values.reduce(into: []) { $0.formUnion($1.views) } } }
}
