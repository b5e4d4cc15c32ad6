import Glibc

/// What the system keeps for a socket until it is read.
public enum ReceiveBuffer {
    /// Asks for room for `bytes`: beyond the system's limit (net.core.rmem_max) where this process may (CAP_NET_ADMIN), and
    /// up to it elsewhere.
    public static func enlarge(of descriptor: Int32, to bytes: Int32) {
        var bytes = bytes
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, size) != 0 else { return }
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, size)
    }
}
