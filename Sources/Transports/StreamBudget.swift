import Platform
import Synchronization

/// What all streams may hold together: connections, and bytes of unfinished queries and unread answers. One client has
/// a share of each, so that it can't keep others out: of the memory also no more than half of what the others leave, so
/// that many clients can't use it up. A client is what `SocketAddress.client` takes for one.
package final class StreamBudget: Sendable {
    /// What one client holds.
    fileprivate final class Client: Sendable {
        let bytes = Atomic<Int>(0)
    }

    private struct Table {
        var connections = 0
        var clients: [SocketAddress: (client: Client, connections: Int)] = [:]

        enum Refusal: Error { case total, client }

        mutating func open(
            _ key: SocketAddress, _ limits: StreamLimits
        ) -> Result<Client, Refusal> {
            guard connections < limits.maximumConnections else { return .failure(.total) }
            let entry = clients[key] ?? (Client(), 0)
            guard entry.connections < limits.connectionsPerClient else { return .failure(.client) }
            connections += 1
            clients[key] = (entry.client, entry.connections + 1)
            return .success(entry.client)
        }

        mutating func close(_ key: SocketAddress) {
            connections -= 1
            guard let entry = clients[key] else { return }
            clients[key] = entry.connections > 1 ? (entry.client, entry.connections - 1) : nil
        }
    }

    private let table = Mutex(Table())
    private let bytes = Atomic<Int>(0)
    private let lastReport = Atomic<UInt64>(0)

    package init() {}

    /// Admits a connection; nil if there are too many, over all or of this client.
    func open(_ client: SocketAddress, _ limits: StreamLimits) -> StreamShare? {
        let refusal: String
        switch table.withLock({ $0.open(client.client, limits) }) {
        case .success(let entry):
            return StreamShare(of: client, entry, in: self)
        case .failure(.client): refusal = "as many are open from there as tcp.max-per-client allows"
        case .failure(.total): refusal = "as many are open as tcp.max-connections allows"
        }
        report("refused a connection from \(client.ip): \(refusal)")
        return nil
    }

    fileprivate func close(_ client: SocketAddress, _ entry: Client, _ held: Int) {
        giveBack(held, entry)
        table.withLock { $0.close(client.client) }
    }

    fileprivate func take(_ count: Int, _ client: Client, _ limits: StreamLimits) -> Bool {
        let (before, after) = client.bytes.add(count, ordering: .relaxed)
        let left = limits.maximumMemory - (bytes.load(ordering: .relaxed) - before)
        guard after <= min(limits.maximumMemory / StreamLimits.clientShare, left / 2) else {
            client.bytes.subtract(count, ordering: .relaxed)
            return false
        }
        bytes.add(count, ordering: .relaxed)
        return true
    }

    fileprivate func giveBack(_ count: Int, _ client: Client) {
        client.bytes.subtract(count, ordering: .relaxed)
        bytes.subtract(count, ordering: .relaxed)
    }

    /// Bytes held by all streams beyond what each has of its own.
    var held: Int { bytes.load(ordering: .relaxed) }

    /// Says so once a minute at most: clients must not fill the disk with it.
    fileprivate func report(_ text: @autoclosure () -> String) {
        let now = SystemClock.monotonic()
        let last = lastReport.load(ordering: .relaxed)
        guard last == 0 || now >= last + 60_000_000 else { return }
        guard lastReport.compareExchange(expected: last, desired: now, ordering: .relaxed).exchanged else { return }
        Report.problem(text())
    }
}

/// One connection's part of the budget, given back when it is released. Used by the connection's thread only.
final class StreamShare {
    /// Bytes that each connection has of its own: an ordinary query fits, whatever others hold.
    private static let own = 4096

    private let budget: StreamBudget
    private let address: SocketAddress
    private let client: StreamBudget.Client
    /// Bytes taken from the budget.
    private var taken = 0

    fileprivate init(of address: SocketAddress, _ client: StreamBudget.Client, in budget: StreamBudget) {
        self.address = address
        self.client = client
        self.budget = budget
    }

    deinit { budget.close(address, client, taken) }

    /// Notes how many bytes the connection holds now; false if that is too much, and the caller must let some go.
    func hold(_ bytes: Int, _ limits: StreamLimits) -> Bool {
        let wanted = max(0, bytes - Self.own)
        guard wanted != taken else { return true }
        if wanted > taken {
            guard budget.take(wanted - taken, client, limits) else {
                budget.report(
                    "closed a stream of \(address.ip): unfinished queries and unread answers take as much memory as "
                        + "tcp.max-memory allows")
                return false
            }
        } else {
            budget.giveBack(taken - wanted, client)
        }
        taken = wanted
        return true
    }
}
