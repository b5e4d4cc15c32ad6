/// The UDP sockets to each server: a small pool with random source ports, each used for many queries.
///
/// A forger has to guess port and ID, so ports are many, change often, and don't depend on anything a forger can see.
struct SourcePorts {
    private struct Port {
        var server: Int
        var outstanding = 0
        var queries = 0
        var opened: UInt64
        /// Takes no more queries; closed when none is outstanding.
        var isRetired = false
        var isOpen = true
    }

    private struct Pool {
        /// Ports open to new queries.
        var ports: [Int] = []
        /// The port for the current burst, so that its queries leave in one system call.
        var current = -1
    }

    private let settings: ForwardSettings
    private var ports: [Port] = []
    private var pools: [Pool]
    private var free: [Int] = []
    /// Free once the outbox, which may still refer to them, is empty.
    private var closed: [Int] = []

    /// More on one socket would leave too few unused IDs.
    private static let maximumOutstanding = 8_192

    init(_ settings: ForwardSettings) {
        self.settings = settings
        pools = Array(repeating: Pool(), count: settings.servers.count)
    }

    /// A port for the next query to `server`: any of its pool, the same for a whole burst, and not `avoided`, where an
    /// answer did not come. `random` is drawn for this call.
    mutating func take(
        for server: Int, avoiding avoided: Int, random: UInt64, now: UInt64, _ actions: inout [ForwardCore.Action]
    ) -> Int {
        let port = choose(server, avoided, random, now, &actions)
        pools[server].current = port
        ports[port].outstanding += 1
        ports[port].queries += 1
        return port
    }

    private mutating func choose(
        _ server: Int, _ avoided: Int, _ random: UInt64, _ now: UInt64, _ actions: inout [ForwardCore.Action]
    ) -> Int {
        let current = pools[server].current
        if current >= 0, current != avoided, isFresh(current, now) { return current }
        for port in pools[server].ports where !isFresh(port, now) { retire(port, &actions) }
        let pool = pools[server].ports
        let size = max(settings.portsPerServer, 1)
        let slot = Int(random % UInt64(size))
        if slot < pool.count, pool[slot] != avoided { return pool[slot] }
        if pool.count >= size {
            if let other = pool.first(where: { $0 != avoided }) { return other }
            // Even a pool of one gives a retry another port.
            retire(avoided, &actions)
        }
        return open(server, now, &actions)
    }

    private func isFresh(_ port: Int, _ now: UInt64) -> Bool {
        ports[port].isOpen && !ports[port].isRetired && ports[port].queries < settings.queriesPerPort
            && now < ports[port].opened + settings.portLifetime && ports[port].outstanding < Self.maximumOutstanding
    }

    private mutating func open(_ server: Int, _ now: UInt64, _ actions: inout [ForwardCore.Action]) -> Int {
        let number: Int
        if let port = free.popLast() {
            number = port
            ports[number] = Port(server: server, opened: now)
        } else {
            number = ports.count
            ports.append(Port(server: server, opened: now))
        }
        pools[server].ports.append(number)
        actions.append(.open(.port(number), server: server))
        return number
    }

    /// A query sent from `port` is no longer outstanding.
    mutating func release(_ port: Int, _ actions: inout [ForwardCore.Action]) {
        ports[port].outstanding -= 1
        closeIfDone(port, &actions)
    }

    /// Takes `port` out of use; it is closed once nothing is outstanding.
    mutating func retire(_ port: Int, _ actions: inout [ForwardCore.Action]) {
        guard !ports[port].isRetired else { return }
        ports[port].isRetired = true
        let server = ports[port].server
        pools[server].ports.removeAll { $0 == port }
        if pools[server].current == port { pools[server].current = -1 }
        closeIfDone(port, &actions)
    }

    private mutating func closeIfDone(_ port: Int, _ actions: inout [ForwardCore.Action]) {
        guard ports[port].isRetired, ports[port].isOpen, ports[port].outstanding == 0 else { return }
        ports[port].isOpen = false
        actions.append(.close(.port(port)))
        closed.append(port)
    }

    /// The server whose queries are outstanding on `port`; nil if there are none.
    func waitingServer(on port: Int) -> Int? {
        port < ports.count && ports[port].isOpen && ports[port].outstanding > 0 ? ports[port].server : nil
    }

    /// Retires `port` after a network error if it is still open.
    mutating func fail(_ port: Int, _ actions: inout [ForwardCore.Action]) {
        if port < ports.count, ports[port].isOpen { retire(port, &actions) }
    }

    /// The burst was sent: the next one uses other ports.
    mutating func endBurst() {
        for server in pools.indices { pools[server].current = -1 }
        free += closed
        closed.removeAll(keepingCapacity: true)
    }
}
