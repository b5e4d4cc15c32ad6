/// Bounds on TCP and TLS connections.
package struct StreamLimits: Hashable, Sendable {
    package var maximumConnections = 1000
    /// Connections of one client; nil: a part of them, but no fewer than 16.
    package var maximumPerClient: Int?
    /// Bytes of unfinished queries and unread answers, over all connections; one client may hold a part of them.
    package var maximumMemory = 16 << 20
    /// Queries of one connection that may wait for upstream at once.
    package var maximumPipelined = 100
    /// Milliseconds without a query after which a connection is closed (RFC 7766 6.2.3).
    package var idleTimeout: UInt64 = 10_000

    /// A client's part of the memory and of the connections: one in so many.
    static let clientShare = 4

    var connectionsPerClient: Int { maximumPerClient ?? max(16, maximumConnections / Self.clientShare) }

    package init() {}

    /// With no more connections than the process has descriptors for.
    package var fitting: StreamLimits { fitting(OpenFiles.limit) }

    /// `openFiles`: how many descriptors the process may have.
    func fitting(_ openFiles: Int) -> StreamLimits {
        var limits = self
        limits.maximumConnections = min(maximumConnections, OpenFiles.mostConnections(of: openFiles))
        return limits
    }
}
