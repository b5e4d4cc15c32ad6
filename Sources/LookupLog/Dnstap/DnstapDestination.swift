public import Platform

/// A destination of dnstap frames.
public enum DnstapDestination: Hashable, Sendable, CustomStringConvertible {
    /// A file, always started empty, never appended to.
    case file(path: String)
    /// A collector listening on a Unix socket.
    case unix(path: String)
    /// A collector listening on a TCP port.
    case tcp(SocketAddress)

    /// The most bytes in the path of a Unix socket.
    public static let maximumSocketPath = UnixSocket.longestPath

    /// As configured: `PATH`, `unix:PATH` or `tcp:ADDR:PORT`.
    public var description: String {
        switch self {
        case .file(let path): path
        case .unix(let path): "unix:\(path)"
        case .tcp(let address): "tcp:\(address)"
        }
    }
}
