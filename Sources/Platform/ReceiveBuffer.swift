import Glibc

/// The kernel's receive buffer of a socket.
public enum ReceiveBuffer {
    /// Requests a buffer of `bytes`; with CAP_NET_ADMIN even beyond the system's limit (net.core.rmem_max).
    public static func enlarge(of descriptor: Int32, to bytes: Int32) {
        var bytes = bytes
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, size) != 0 else { return }
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, size)
    }
}
