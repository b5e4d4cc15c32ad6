public import DNSWire
public import Platform

/// Which upstream answered, and how.
public struct UpstreamReply: Hashable, Sendable, BitwiseCopyable {
    /// Index into the servers of the settings, which may have been replaced since; -1: none of them.
    public let server: Int
    /// Nil: it is a recorded reply.
    public let address: SocketAddress?
    public let transport: UpstreamTransport
    /// Time since the query was sent.
    public let microseconds: UInt32
    /// The connection that it came over.
    public let setup: UpstreamSetup
    /// The server was asked with less EDNS than it is known to take, because it had not answered: signatures may be
    /// missing.
    public let isReduced: Bool
    /// The cassette's line, if it is a recorded reply.
    public var place = Place.nowhere
    /// A later lookup of the question gets another recorded reply, so this one is not to be cached.
    public var hasSuccessor = false
}

/// The outcome of a fetch. `Answer` is what the acceptance check made from the message.
public enum FetchEvent<Answer: Sendable>: Sendable {
    /// NOERROR, NXDOMAIN or YXDOMAIN; or the SERVFAIL of the last server asked.
    case answered(Answer, UpstreamReply)
    /// No usable answer: SERVFAIL, with this extended error and text.
    case failed(ExtendedError, StaticString)
    /// The answer is taking long (RFC 8767 5): waiters that can get a stale answer may be removed from the list now.
    /// The fetch goes on for the others, and for the cache.
    case late
}

/// How forwarding is done. Times in microseconds.
public struct ForwardSettings: Sendable, Hashable {
    /// At most 64.
    public var servers: [UpstreamServer]
    /// How long a client is kept waiting: less than clients wait, the first of which gives up after 5 s.
    public var clientTimeout: UInt64 = 4_000_000
    /// When stale answers may be used (RFC 8767 5).
    public var staleAfter: UInt64 = 1_800_000
    /// Questions in flight; more fail.
    public var maximumFlights = 10_000
    /// Waiters per question; more are refused.
    public var maximumWaiters = 1_000
    /// Sends names in random case and requires it back (draft-vixie-dnsext-dns0x20): 1 bit against forgery per letter.
    public var randomizesCase = false
    /// DNS cookies (RFC 7873).
    public var usesCookies = true
    /// UDP sockets per server in use at once.
    public var portsPerServer = 32
    /// A source port is retired after this many queries ...
    public var queriesPerPort = 128
    /// ... or after this time.
    public var portLifetime: UInt64 = 20_000_000
    /// A TCP connection without outstanding queries is closed after this time (RFC 7766 6.2.3).
    public var streamIdle: UInt64 = 10_000_000
    /// The same for an encrypted one, which is dearer to open: servers close them sooner.
    public var encryptedIdle: UInt64 = 120_000_000

    public init(servers: [UpstreamServer]) {
        self.servers = Array(servers.prefix(Self.maximumServers))
    }

    /// The same within limits, so that no sum of times overflows and no socket runs out of IDs.
    var bounded: ForwardSettings {
        var settings = self
        let longest: UInt64 = 86_400_000_000
        settings.servers = Array(servers.prefix(Self.maximumServers))
        settings.clientTimeout = min(clientTimeout, longest)
        settings.staleAfter = min(staleAfter, longest)
        settings.portLifetime = min(portLifetime, longest)
        settings.streamIdle = min(streamIdle, longest)
        settings.encryptedIdle = min(encryptedIdle, longest)
        settings.maximumFlights = min(max(maximumFlights, 0), 50_000)
        settings.portsPerServer = min(max(portsPerServer, 1), 64)
        settings.queriesPerPort = max(queriesPerPort, 1)
        return settings
    }

    /// More are ignored: the servers a flight has tried are bits of one word.
    public static let maximumServers = 64
}
