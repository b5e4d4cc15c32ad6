import Glibc

/// systemd's notification socket.
enum SystemManager {
    /// Sends one state line to NOTIFY_SOCKET (sd_notify(3)); does nothing if that is unset.
    static func notify(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET").map({ Array(String(cString: $0).utf8) }), path.count > 1,
            path.count < 108
        else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { target in
            target.copyBytes(from: path)
            // A leading "@" means the zero byte of an abstract socket.
            if path[0] == UInt8(ascii: "@") { target[0] = 0 }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        var message = Array(state.utf8)
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, &message, message.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}
