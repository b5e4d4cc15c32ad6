/// Bounds on TCP connections.
package struct StreamLimits: Hashable, Sendable {
    package var maximumConnections = 1000
    /// Queries of one connection that may wait for upstream at once.
    package var maximumPipelined = 100
    /// Milliseconds without a query after which a connection is closed (RFC 7766 6.2.3).
    package var idleTimeout: UInt64 = 10_000

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
