public import DNSWire
public import Platform

/// Which upstream answered, and how.
public struct UpstreamReply: Hashable, Sendable, BitwiseCopyable {
    /// Index into the servers of the settings, which may be replaced.
    public let server: Int
    public let address: SocketAddress
    public let transport: UpstreamTransport
    /// From the query that it answers.
    public let microseconds: UInt32
}

/// What became of a fetch. `Answer` is what the acceptance check made of the message.
public enum FetchEvent<Answer: Sendable>: Sendable {
    /// NOERROR, NXDOMAIN or YXDOMAIN; or the SERVFAIL that the last upstream to be asked gave.
    case answered(Answer, UpstreamReply)
    /// No usable answer: SERVFAIL, with this extended error and text.
    case failed(ExtendedError, StaticString)
    /// The answer takes long (RFC 8767 5): who can be served a stale one may be taken off the list of waiters now.
    /// The fetch goes on for those that stay, and for the cache.
    case late
}

/// How forwarding is done. Times in microseconds.
public struct ForwardSettings: Sendable, Hashable {
    /// At most 64.
    public var servers: [UpstreamServer]
    /// How long a client is kept waiting.
    public var patience: UInt64 = 5_000_000
    /// When stale answers may step in (RFC 8767 5).
    public var staleAfter: UInt64 = 1_800_000
    /// Questions in flight; one more fails.
    public var maximumFlights = 10_000
    /// Waiters on one question; one more is refused.
    public var maximumWaiters = 1_000
    /// Sends names in random case and demands it back (draft-vixie-dnsext-dns0x20): 1 bit against forgery per letter.
    public var randomizesCase = false
    /// DNS cookies (RFC 7873).
    public var usesCookies = true
    /// UDP sockets per server that are in use at once.
    public var portsPerServer = 4
    /// A source port is given up after so many queries ...
    public var queriesPerPort = 512
    /// ... or after this time.
    public var portLifetime: UInt64 = 20_000_000
    /// A TCP connection without questions is closed after this time (RFC 7766 6.2.3).
    public var streamIdle: UInt64 = 10_000_000

    public init(servers: [UpstreamServer]) {
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
    public static let maximumServers = 64
}
