import Glibc
package import Platform

/// Explains why an address can't be served, and what to do about it.
package enum BindFailure {
    package static func explain(_ address: SocketAddress, _ code: Int32, _ transport: String) -> ServiceFailure {
        switch code {
        case EADDRINUSE:
            return ServiceFailure(
                .problem,
                "\(address) is taken\(PortHolder.name(of: address).map { " by \($0)" } ?? ""); \(mend(address))")
        case EACCES, EPERM:
            return ServiceFailure(
                .permission,
                "\(address) can't be bound: ports below 1024 need a permission; run as root, or "
                    + "'setcap cap_net_bind_service=+ep' on the program, or have systemd open it (stub53.socket), "
                    + "or choose another port, as --listen 127.0.0.1:5300"
            )
        case EADDRNOTAVAIL:
            return ServiceFailure(
                .configuration,
                "\(address) is not an address of this machine; give --listen one that is, or one that is beside it: then "
                    + "this one is served when it comes")
        default:
            return ServiceFailure(
                .problem, "\(address) can't be bound for \(transport): \(String(cString: strerror(code)))")
        }
    }

    private static func mend(_ address: SocketAddress) -> String {
        if !address.isIPv6, address.low == 0x7F00_0035, address.port == 53 {
            return "if it is systemd-resolved, set DNSStubListener=no in /etc/systemd/resolved.conf and restart it, "
                + "or choose another address, as --listen 127.0.0.54:53"
        }
        return "end that program, or choose another address or port with --listen"
    }
}
