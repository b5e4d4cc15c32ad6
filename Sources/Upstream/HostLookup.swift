public import DNSWire
import Lookup
public import Platform

/// Looks up the addresses of servers' hosts with other servers, before anything else can be asked.
public enum HostLookup {
    /// The addresses of each of `hosts` (port 0), IPv4 first, as `servers` know them: all are looked up at once, for
    /// `timeout` microseconds. Blocks, unless `signal` ends.
    public static func addresses(
        of hosts: [Name], from servers: [UpstreamServer], timeout: UInt64 = 2_000_000,
        until signal: WakeSignal? = nil
    ) -> [Name: [SocketAddress]] {
        let keys = hosts.flatMap { host in
            [RecordType.a, .aaaa].map { FetchKey(host, Question(type: $0, mayForward: true)) }
        }
        let answers = DirectQueries.answers(to: keys, from: servers, timeout: timeout, until: signal)
        var found: [Name: [SocketAddress]] = [:]
        for (index, host) in hosts.enumerated() {
            found[host] = answers[(2 * index)..<(2 * index + 2)].flatMap { $0?.addresses ?? [] }
        }
        return found
    }
}
