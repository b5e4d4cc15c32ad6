import DNSWire
import Platform
import Synchronization
import Transports
import Upstream

/// Finds where upstream servers are asked that are not configured with that: looks up the addresses of hosts, and the
/// encrypted servers that plain ones announce. It does so again while one is down, and now and then.
///
/// A thread runs it, so that nobody waits for it.
final class ServerFinder: Sendable {
    private let state: ServedState
    private let forwarding: Forwarding
    let clock: WorkClock
    private let searches = Mutex<[UpstreamServer: Search]>([:])

    /// Times in microseconds.
    private struct Search {
        /// 0: never yet, except for what was found at the start.
        var last: UInt64 = 0
        var pause = shortestPause
        /// It was found once.
        var hasSucceeded = false
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
    func run() { clock.run { look(at: SystemClock.monotonic()) } }

    /// Looks again at once for all: the network is another one.
    func restart() {
        searches.withLock { $0 = [:] }
        clock.wake()
    }

    /// Searches for what is due; returns when the next search is, monotonic in microseconds.
    private func look(at now: UInt64) -> UInt64? {
        let (configuration, sources) = state.withLock { ($0.configuration, $0.sources) }
        let sought = sources.listed.filter {
            $0.unresolvedHost != nil || configuration.discovers && $0.transport.isPlain
        }
        let status = forwarding.status
        let due = searches.withLock { searches in
            searches = searches.filter { sought.contains($0.key) }
            return sought.filter { server in
                let place = sources.place(of: server)
                if status.contains(where: { $0.server == place && $0.state == .up }) {
                    searches[server]?.pause = Self.shortestPause
                }
                return time(of: server, searches[server], sources, status, now) <= now
            }
        }
        if !due.isEmpty { search(for: due, configuration, sources, status) }
        let after = state.withLock { $0.sources }
        return searches.withLock { searches in
            sought.map { time(of: $0, searches[$0], after, status, now) }.min()
        }
    }

    /// When `server` is to be looked for.
    private func time(
        of server: UpstreamServer, _ search: Search?, _ sources: LoadedSources, _ status: [UpstreamStatus],
        _ now: UInt64
    ) -> UInt64 {
        let place = sources.place(of: server)
        let isFound = place.unresolvedHost == nil && (server.unresolvedHost != nil || place != server)
        let isDown = status.contains { $0.server == place && $0.state == .down }
        guard let search else { return isFound && !isDown ? now + Self.renewal : now }
        if isFound && !isDown { return search.last + Self.renewal }
        // A plain server that announces nothing is asked in vain each time.
        return search.last + (server.unresolvedHost == nil && !search.hasSucceeded ? Self.renewal : search.pause)
    }

    private func search(
        for due: [UpstreamServer], _ configuration: Configuration, _ sources: LoadedSources, _ status: [UpstreamStatus]
    ) {
        var found: [UpstreamServer: UpstreamServer] = [:]
        let addresses = configuration.addresses(of: due.compactMap(\.unresolvedHost), sources.listed)
        for server in due {
            let place = sources.place(of: server)
            guard let host = server.unresolvedHost else {
                found[server] = DesignatedServers.find(for: server, authorities: sources.authorities) ?? server
                continue
            }
            let known = addresses[host] ?? []
            let isDown = status.contains { $0.server == place && $0.state == .down }
            // After one that is down comes the next; it may be its turn again later.
            let index = known.firstIndex { $0.ip == place.address.ip }.map { isDown ? $0 + 1 : $0 } ?? 0
            if !known.isEmpty { found[server] = server.at(known[index % known.count]) }
        }
        let end = SystemClock.monotonic()
        searches.withLock { searches in
            for server in due {
                var search = searches[server] ?? Search()
                if search.last != 0 { search.pause = min(search.pause * 2, Self.longestPause) }
                search.last = end
                if let place = found[server], place != server { search.hasSucceeded = true }
                searches[server] = search
            }
        }
        adopt(found)
    }

    private func adopt(_ found: [UpstreamServer: UpstreamServer]) {
        let isNew = state.withLock { state in
            found.contains {
                state.sources.listed.contains($0.key) && (state.sources.places[$0.key] ?? $0.key) != $0.value
            }
        }
        guard isNew else { return }
        let moves = state.change { state in
            var moves: [String] = []
            for (server, place) in found where state.sources.listed.contains(server) {
                let last = state.sources.places[server] ?? server
                guard last != place else { continue }
                state.sources.places[server] = place
                moves.append(
                    place == server ? "\(server) is asked without encryption" : "\(server) is asked as \(place)")
            }
            state.network = NetworkState(to: state.sources.upstream)
            forwarding.replace(state.forwarding)
            return moves.sorted()
        }
        for move in moves { Report.line("upstream   \(move)") }
    }
}

extension Configuration {
    /// The addresses of `hosts`, looked up with those of `listed` that are there without such a look-up, or else with the
    /// system's servers. Blocks for two seconds at most.
    fileprivate func addresses(of hosts: [Name], _ listed: [UpstreamServer]) -> [Name: [SocketAddress]] {
        hosts.isEmpty ? [:] : HostLookup.addresses(of: hosts, from: lookupServers(listed))
    }

    private func lookupServers(_ listed: [UpstreamServer]) -> [UpstreamServer] {
        let plain = listed.filter { $0.transport.isPlain && $0.domain.isRoot }
        return plain.isEmpty ? ResolvConf.read(ownAddresses: ownAddresses).servers : plain
    }

    /// Looks up the hosts of encrypted servers that no address is known of, all at once, so that the first query need not
    /// wait for that; for two seconds at most.
    func locateServers(of sources: inout LoadedSources) {
        let missing = sources.listed.filter { $0.unresolvedHost != nil && sources.places[$0] == nil }
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
