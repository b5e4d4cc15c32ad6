import Glibc

/// The limit on this process's descriptors, and who gets how many of them.
///
/// Sockets, files, connections and questions to upstream all need descriptors. Each kind of connection has a share, so
/// that one can't take what the others need.
package enum OpenFiles {
    /// Raises the soft limit, which is meant for programs that use select(2).
    package static func raiseLimit() {
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = min(limit.rlim_max, most)
        setrlimit(resource, &limit)
    }

    /// How many descriptors this process may have.
    package static var limit: Int {
        var limit = rlimit()
        return getrlimit(resource, &limit) == 0 ? Int(min(limit.rlim_cur, most)) : Int(most)
    }

    /// The connections that the page may have at once; the control socket has as many.
    package static var mostPageConnections: Int { mostPageConnections(of: limit) }

    static func mostPageConnections(of limit: Int) -> Int { max(least, min(200, available(of: limit) / 4)) }

    /// How many DNS connections there is room for.
    static func mostConnections(of limit: Int) -> Int {
        max(least, available(of: limit) - 2 * mostPageConnections(of: limit))
    }

    /// Without what sockets, files and upstream need: a quarter.
    private static func available(of limit: Int) -> Int { limit - max(160, limit / 4) }

    /// Even if the limit is too low for them: a listener that is out of descriptors pauses.
    private static let least = 8
    private static let most: rlim_t = 1 << 20
    private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
}
