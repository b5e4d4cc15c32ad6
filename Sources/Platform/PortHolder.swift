import Glibc

/// Who has a port of this machine.
public enum PortHolder {
    /// The process that uses the port, as far as /proc shows it.
    public static func name(of address: SocketAddress) -> String? {
        guard let inode = inode(of: address) else { return nil }
        let wanted = "socket:[\(inode)]"
        guard let processes = opendir("/proc") else { return nil }
        defer { closedir(processes) }
        while let entry = readdir(processes) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let process = Int(name), let files = opendir("/proc/\(process)/fd") else { continue }
            defer { closedir(files) }
            while let file = readdir(files) {
                let number = withUnsafePointer(to: &file.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                var target = [CChar](repeating: 0, count: 64)
                guard readlink("/proc/\(process)/fd/\(number)", &target, 63) > 0,
                    String(decoding: target.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) == wanted
                else { continue }
                guard let command = try? FileText(path: "/proc/\(process)/comm") else { return "process \(process)" }
                return "\(String(decoding: command.bytes.prefix { $0 != 0x0A }, as: UTF8.self)) (process \(process))"
            }
        }
        return nil
    }

    /// The inode of the socket on `address`, or on the wildcard address of its port, from /proc/net.
    private static func inode(of address: SocketAddress) -> String? {
        let suffix = address.isIPv6 ? "6" : ""
        for table in ["udp", "tcp"] {
            guard let text = try? FileText(path: "/proc/net/\(table)\(suffix)") else { continue }
            let hexPort = String(address.port, radix: 16, uppercase: true)
            let port = String(repeating: "0", count: 4 - hexPort.count) + hexPort
            for line in String(decoding: text.bytes, as: UTF8.self).split(separator: "\n").dropFirst() {
                let fields = line.split(separator: " ", omittingEmptySubsequences: true)
                guard fields.count > 9, fields[1].hasSuffix(":" + port) else { continue }
                // State 0A is "listening"; for UDP 07 is "bound".
                guard fields[3] == "0A" || fields[3] == "07" else { continue }
                let local = fields[1].prefix { $0 != ":" }
                let isWildcard = local.allSatisfy { $0 == "0" }
                guard
                    isWildcard || address.isIPv6
                        || UInt32(local, radix: 16)?.byteSwapped == UInt32(truncatingIfNeeded: address.low)
                else { continue }
                return String(fields[9])
            }
        }
        return nil
    }
}
