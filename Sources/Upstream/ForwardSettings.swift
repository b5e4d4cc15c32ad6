package import DNSWire
package import Platform

/// Which upstream answered, and how.
package struct UpstreamReply: Hashable, Sendable, BitwiseCopyable {
    /// Index into the servers of the settings, which may be replaced.
    package let server: Int
    package let address: SocketAddress
    package let transport: UpstreamTransport
    /// From the query that it answers.
    package let microseconds: UInt32
}

/// What became of a fetch. `Answer` is what the acceptance check made of the message.
package enum FetchEvent<Answer: Sendable>: Sendable {
    /// NOERROR, NXDOMAIN or YXDOMAIN; or the SERVFAIL that the last upstream to be asked gave.
    case answered(Answer, UpstreamReply)
    /// No usable answer: SERVFAIL, with this extended error and text.
    case failed(ExtendedError, StaticString)
    /// The answer takes long (RFC 8767 5): who can be served a stale one may be taken off the list of waiters now.
    /// The fetch goes on for those that stay, and for the cache.
    case late
}

/// How forwarding is done. Times in microseconds.
package struct ForwardSettings: Sendable, Hashable {
    /// At most 64.
    package var servers: [UpstreamServer]
    /// How long a client is kept waiting.
    package var patience: UInt64 = 5_000_000
    /// When stale answers may step in (RFC 8767 5).
    package var staleAfter: UInt64 = 1_800_000
    /// Questions in flight; one more fails.
    package var maximumFlights = 10_000
    /// Waiters on one question; one more is refused.
    package var maximumWaiters = 1_000
    /// Sends names in random case and demands it back (draft-vixie-dnsext-dns0x20): 1 bit against forgery per letter.
    package var randomizesCase = false
    /// DNS cookies (RFC 7873).
    package var usesCookies = true
    /// UDP sockets per server that are in use at once.
    package var portsPerServer = 4
    /// A source port is given up after so many queries ...
    package var queriesPerPort = 512
    /// ... or after this time.
    package var portLifetime: UInt64 = 20_000_000
    /// A TCP connection without questions is closed after this time (RFC 7766 6.2.3).
    package var streamIdle: UInt64 = 10_000_000

    package init(servers: [UpstreamServer]) {
        self.servers = Array(servers.prefix(Self.maximumServers))
    }

    /// The same within limits that keep every sum of times from overflowing and every socket's IDs from running out.
    var bounded: ForwardSettings {
        var settings = self
        let longest: UInt64 = 86_400_000_000
        settings.servers = Array(servers.prefix(Self.maximumServers))
        settings.patience = min(patience, longest)
        settings.staleAfter = min(staleAfter, longest)
        settings.portLifetime = min(portLifetime, longest)
        settings.streamIdle = min(streamIdle, longest)
        settings.maximumFlights = min(max(maximumFlights, 0), 50_000)
        settings.portsPerServer = min(max(portsPerServer, 1), 64)
        settings.queriesPerPort = max(queriesPerPort, 1)
        return settings
    }

    /// More than this are not used: what a flight has tried is one machine word.
    package static let maximumServers = 64
}
