import Foundation

/// Runs programs with their own file system, and optionally network, because they read files at fixed paths.
package enum Namespace {
    package static let isAvailable =
        getuid() == 0 && (try? probe("/usr/bin/unshare", ["-U", "-r", "-m", "-n", "true"])) == 0

    /// The command prefix that runs a program after `setup`, a shell script that can use `$folder`.
    package static func entry(_ setup: String, in folder: TemporaryFolder, network: Bool = false) -> [String] {
        ["/usr/bin/unshare", network ? "-mn" : "-m"]
            + ["/bin/sh", "-ec", "folder=\(folder.path)\n\(setup)\nexec \"$@\"", "sh"]
    }

    /// Runs the daemon after `setup`.
    package static func daemon(
        _ setup: String, _ arguments: [String], in folder: TemporaryFolder, network: Bool = false
    ) async throws -> DaemonProcess {
        try await DaemonProcess(arguments, behind: entry(setup, in: folder, network: network))
    }

    /// The command prefix that makes a client's system resolve names at `address`, and, if that fails, at `others`.
    ///
    /// The only place where tests do this. `order`: the hosts entry of nsswitch.conf. The machine's own hosts file is
    /// hidden. resolv.conf can't name a port: it is 53.
    package static func client(
        of address: String, others: [String] = [], order: String = "files dns", in folder: TemporaryFolder
    ) throws -> [String] {
        let servers = ([address] + others).map { "nameserver \($0)\n" }.joined()
        try folder.write("\(servers)options timeout:30 attempts:1\n", to: "system/resolv.conf")
        try folder.write("passwd: files\ngroup: files\nhosts: \(order)\n", to: "system/nsswitch.conf")
        try folder.write("127.0.0.1 localhost\n::1 localhost\n", to: "system/hosts")
        return entry(
            """
            mount --bind $folder/system/resolv.conf "$(readlink -f /etc/resolv.conf)"
            mount --bind $folder/system/nsswitch.conf /etc/nsswitch.conf
            mount --bind $folder/system/hosts /etc/hosts
            """, in: folder)
    }

    private static func probe(_ executable: String, _ arguments: [String]) throws -> Int32 {
        try SpawnedProcess(executable, arguments).wait()
    }
}
