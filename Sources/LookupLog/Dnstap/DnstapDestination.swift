public import Platform

/// Where dnstap goes to.
public enum DnstapDestination: Hashable, Sendable, CustomStringConvertible {
    /// A file that is begun anew, never appended to.
    case file(path: String)
    /// A collector that listens on a Unix socket.
    case unix(path: String)
    /// A collector that listens on a TCP port.
    case tcp(SocketAddress)

    /// Bytes that the path of a Unix socket may have.
    public static let maximumSocketPath = 107

    /// As it is configured: `PATH`, `unix:PATH` or `tcp:ADDR:PORT`.
    public var description: String {
        switch self {
        case .file(let path): path
        case .unix(let path): "unix:\(path)"
        case .tcp(let address): "tcp:\(address)"
        }
    }
}
