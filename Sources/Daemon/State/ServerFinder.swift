import Cassettes
import DNSWire
import Platform
import Synchronization
import Transports
import Upstream

/// Finds where upstream servers are asked that are not configured with that: looks up the addresses of hosts, and the
/// encrypted servers that plain ones announce. It does so again while one is down, and in another network.
///
/// A thread runs it, so that nobody waits for it.
final class ServerFinder: Sendable {
    private let state: ServedState
    private let forwarding: Forwarding
    let clock: WorkClock
    private let searches = Mutex(Searches())

    private struct Searches {
        var of: [UpstreamServer: Search] = [:]
        /// Raised when the network is another one: what was found in the earlier one does not count.
        var network: UInt64 = 0
    }

    /// Times are monotonic, in microseconds.
    private struct Search {
        /// When the next is due.
        var next: UInt64
        /// When the last one ended; 0: there was none.
        var last: UInt64 = 0
        var pause = shortestPause
    }

    private static let shortestPause: UInt64 = 5_000_000
    private static let longestPause: UInt64 = 300_000_000
    private static let renewal: UInt64 = 3_600_000_000

    init(_ state: ServedState, _ forwarding: Forwarding, _ clock: WorkClock) {
        self.state = state
        self.forwarding = forwarding
        self.clock = clock
    }

    /// Keeps looking; returns after `clock` has ended.
    func run() { clock.run { look() } }

    /// Looks again at once for all: the network is another one.
    func restart() {
        searches.withLock { searches in
            searches.network += 1
            for server in searches.of.keys { searches.of[server] = Search(next: 0) }
        }
        clock.wake()
    }

    /// Searches for what is due; returns when the next search is, monotonic in microseconds.
    private func look() -> UInt64? {
        let now = SystemClock.monotonic()
        let (configuration, sources) = state.withLock { ($0.configuration, $0.sources) }
        let sought = sources.listed.filter { configuration.seeks($0) }
        let status = forwarding.status
        func isDown(_ server: UpstreamServer) -> Bool { health(of: server) == .down }
        func health(of server: UpstreamServer) -> UpstreamStatus.State? {
            let place = sources.place(of: server)
            return status.first { $0.server == place }?.state
        }
        let due = searches.withLock { searches in
            searches.of = searches.of.filter { sought.contains($0.key) }
            return sought.filter { server in
                let isFound = sources.places[server] != nil
                var search = searches.of[server] ?? Search(next: isFound ? now + Self.renewal : now)
                if isFound, isDown(server) { search.next = search.last == 0 ? now : search.last + search.pause }
                if health(of: server) == .up { search.pause = Self.shortestPause }
                searches.of[server] = search
                return search.next <= now
            }
        }
        let hosts = due.filter { $0.unresolvedHost != nil }
        if !hosts.isEmpty { lookUp(hosts, configuration, sources, isDown: isDown) }
        for server in due where server.unresolvedHost == nil {
            if clock.hasEnded { return nil }
            discover(server, configuration, sources, health(of: server))
        }
        return searches.withLock { $0.of.values.map(\.next).min() }
    }

    private func lookUp(
        _ hosts: [UpstreamServer], _ configuration: Configuration, _ sources: LoadedSources,
        isDown: (UpstreamServer) -> Bool
    ) {
        let network = searches.withLock { $0.network }
        let addresses = configuration.addresses(of: hosts.compactMap(\.unresolvedHost), sources.listed, clock.signal)
        for server in hosts {
            let known = server.unresolvedHost.flatMap { addresses[$0] } ?? []
            guard !known.isEmpty else {
                end(server, network, place: nil, isSettled: false)
                continue
            }
            let place = sources.place(of: server)
            // After one that is down comes the next; it may be its turn again later.
            let index = known.firstIndex { $0.ip == place.address.ip }.map { isDown(server) ? $0 + 1 : $0 } ?? 0
            end(server, network, place: server.at(known[index % known.count]), isSettled: !isDown(server))
        }
    }

    private func discover(
        _ server: UpstreamServer, _ configuration: Configuration, _ sources: LoadedSources,
        _ health: UpstreamStatus.State?
    ) {
        let network = searches.withLock { $0.network }
        // Nobody waits until it is known what has become of the encrypted one.
        if health == .down { end(server, network, place: server, isSettled: false) }
        // One that answers stays: a lost datagram must not talk us out of it.
        if health == .up, sources.places[server] != nil { return end(server, network, place: nil, isSettled: true) }
        let own = configuration.ownAddresses
        let found = DesignatedServers.find(
            for: server, authorities: sources.authorities, until: clock.signal,
            excluding: { candidate in own.contains { candidate.reaches($0) } })
        switch found {
        case .found(let place): end(server, network, place: place, isSettled: true)
        case .none: end(server, network, place: server, isSettled: true)
        case .unverified: end(server, network, place: server, isSettled: false)
        case .unanswered: end(server, network, place: nil, isSettled: false)
        }
    }

    /// Ends a search, whose result is `place`, or none. If it is not settled, the next follows after a pause.
    private func end(_ server: UpstreamServer, _ network: UInt64, place: UpstreamServer?, isSettled: Bool) {
        let isCurrent = searches.withLock { searches in
            guard searches.network == network, var search = searches.of[server] else { return false }
            search.last = SystemClock.monotonic()
            search.next = search.last + (isSettled ? Self.renewal : search.pause)
            if !isSettled { search.pause = min(search.pause * 2, Self.longestPause) }
            searches.of[server] = search
            return true
        }
        if isCurrent, let place { adopt(place, for: server) }
    }

    private func adopt(_ place: UpstreamServer, for server: UpstreamServer) {
        func isNew(_ state: LoadedState) -> Bool {
            state.keeps(server) && (state.sources.places[server] ?? server) != place
        }
        guard state.withLock({ isNew($0) }) else { return }
        let isMoved = state.change { state in
            guard isNew(state) else { return false }
            state.sources.places[server] = place == server ? nil : place
            // The path to it is another one; that is no change of network.
            state.network = NetworkState(state.network.addresses, to: state.sources.upstream)
            forwarding.replace(state.forwarding)
            return true
        }
        guard isMoved else { return }
        Report.line(
            "upstream   \(server) is asked " + (place == server ? "without encryption" : "as \(place)"))
    }
}

extension Configuration {
    /// Whether it has to be found where `server` is asked.
    func seeks(_ server: UpstreamServer) -> Bool {
        !cassette.isOffline && (server.unresolvedHost != nil || discovers && server.transport.isPlain)
    }

    /// The addresses of `hosts`, looked up with those of `listed` that are there without such a look-up, or else with the
    /// system's servers. Blocks for two seconds at most, or until `signal` ends.
    fileprivate func addresses(
        of hosts: [Name], _ listed: [UpstreamServer], _ signal: WakeSignal? = nil
    ) -> [Name: [SocketAddress]] {
        hosts.isEmpty ? [:] : HostLookup.addresses(of: hosts, from: lookupServers(listed), until: signal)
    }

    private func lookupServers(_ listed: [UpstreamServer]) -> [UpstreamServer] {
        let plain = listed.filter { $0.partition == 0 && $0.transport.isPlain && $0.domain.isRoot }
        return plain.isEmpty ? ResolvConf.read(ownAddresses: ownAddresses).servers : plain
    }

    /// Looks up the hosts of encrypted servers that no address is known of, all at once, so that the first query need not
    /// wait for that; for two seconds at most.
    func locateServers(of sources: inout LoadedSources) {
        let missing = sources.listed.filter { $0.unresolvedHost != nil && seeks($0) && sources.places[$0] == nil }
        let known = addresses(of: missing.compactMap(\.unresolvedHost), sources.listed)
        for server in missing {
            guard let host = server.unresolvedHost else { continue }
            if let address = known[host]?.first {
                sources.places[server] = server.at(address)
                continue
            }
            let names = lookupServers(sources.listed).map { "\($0)" }.joined(separator: ", ")
            sources.diagnostics.warning(
                Place(path: "\(server)"),
                "no address of \(host) is known yet (asked: \(names.isEmpty ? "nobody" : names)); give it: "
                    + "\(server)#ADDR")
        }
    }
}
