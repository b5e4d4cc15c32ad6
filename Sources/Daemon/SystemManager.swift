import Glibc
import Platform

/// systemd's notification socket.
enum SystemManager {
    /// Sends one state line to NOTIFY_SOCKET (sd_notify(3)); does nothing if that is unset.
    static func notify(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }),
            (2...UnixSocket.longestPath).contains(path.utf8.count)
        else { return }
        UnixSocket.send(Array(state.utf8), to: path)
    }
}
