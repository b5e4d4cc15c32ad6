import Foundation
import TestSupport
import Testing

@Suite(
    "The system's own files",
    .enabled(if: Namespace.isAvailable, "to show the daemon files of their own, namespaces are needed: run as root"))
struct SystemFilesTests {
    private let folder: TemporaryFolder
    private let address = ownLoopbackAddress()

    init() throws {
        folder = try TemporaryFolder()
        try folder.write(ZoneText.shop, to: "zones/shop.zone")
    }

    private static let resolvConf = """
        mount --bind $folder/resolv.conf "$(readlink -f /etc/resolv.conf)"
        """

    /// A server for one zone on port 53 of its own address, which a resolv.conf can name.
    private func server(_ answer: String) async throws -> DaemonProcess {
        try folder.write(
            ZoneText.shop.replacing("shop.test", with: "example.net").replacing("198.51.100.7", with: answer),
            to: "\(answer)/example.net.zone")
        return try await DaemonProcess([
            "--no-hosts", "--no-upstream", "--zones", folder.file(answer), "--listen", "\(ownLoopbackAddress()):53",
        ])
    }

    private func daemon(
        _ setup: String = resolvConf, _ more: [String] = [], network: Bool = false
    ) async throws -> DaemonProcess {
        try await Namespace.daemon(
            setup, ["--no-hosts", "--zones", folder.file("zones"), "--listen", "\(address):53"] + more, in: folder,
            network: network)
    }

    @Test("if resolv.conf lists only our own address, that is reported, and we never ask ourselves")
    func onlyUs() async throws {
        try folder.write("nameserver \(address)\n", to: "resolv.conf")
        let daemon = try await daemon()
        #expect(daemon.output.all.contains { $0.hasPrefix("upstream") && $0.contains("none") })
        #expect(
            try await daemon.errors.first(containing: "is an address of our own").hasPrefix("/etc/resolv.conf:1: "))
        let answer = try await daemon.dig("www.example.net")
        #expect(answer.contains("status: REFUSED") && answer.contains("EDE: 22"), "\(answer)")
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        // If the daemon asked itself there would be more than these two lines.
        #expect(try await daemon.stop() == 0)
        #expect(daemon.output.all.filter { $0.hasPrefix("{") }.count == 2)
    }

    @Test("the servers in resolv.conf are asked, except our own address")
    func system() async throws {
        let server = try await server("192.0.2.10")
        try folder.write(
            "# made by hand\nnameserver \(address)\nnameserver \(server.address)\nsearch a.b\n", to: "resolv.conf")
        let daemon = try await daemon()
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.10\n")
        let lookup = try await daemon.lookup("www.example.net.", "A")
        #expect((lookup["upstream"] as? String)?.hasPrefix("\(server.address):53") == true, "\(lookup)")
        #expect(try await daemon.stop() == 0)
    }

    @Test("if resolv.conf lists only systemd-resolved's stub, the servers behind it are asked")
    func resolved() async throws {
        let server = try await server("192.0.2.11")
        try folder.write("nameserver 127.0.0.53\noptions edns0 trust-ad\n", to: "resolv.conf")
        try folder.write("nameserver \(server.address)\n", to: "behind")
        let daemon = try await daemon(
            Self.resolvConf + """

                mount -t tmpfs none /run
                mkdir -p /run/systemd/resolve
                cp $folder/behind /run/systemd/resolve/resolv.conf
                """)
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.11\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("listening on a wildcard address, any address of this machine in resolv.conf counts as our own")
    func everywhere() async throws {
        try folder.write("nameserver 10.99.98.97\n", to: "resolv.conf")
        let daemon = try await Namespace.daemon(
            Self.resolvConf + """

                ip link set lo up
                ip address add 10.99.98.97/32 dev lo
                """,
            ["--no-hosts", "--zones", folder.file("zones"), "--listen", "0.0.0.0:53"], in: folder, network: true)
        #expect(daemon.output.all.contains { $0.hasPrefix("upstream") && $0.contains("none") })
        let answer = try await Command.run(
            ["-t", "\(daemon.program.identifier)", "-n", "dig", "@10.99.98.97", "+tries=1", "www.example.net"],
            executable: URL(filePath: "/usr/bin/nsenter")
        ).output
        #expect(answer.contains("status: REFUSED"), "\(answer)")
        #expect(try await daemon.stop() == 0)
        #expect(daemon.output.all.filter { $0.hasPrefix("{") }.count == 1)
    }

    @Test("another resolv.conf, as after a change of networks, is followed: servers change, appear and go")
    func change() async throws {
        let first = try await server("192.0.2.12")
        let second = try await server("192.0.2.13")
        try folder.write("nameserver \(first.address)\n", to: "resolv.conf")
        let daemon = try await daemon()
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.12\n")
        for (text, name, expected) in [
            ("nameserver \(second.address)\n", "ns.example.net", second), ("", "other.example.net", nil),
            ("nameserver \(first.address)\n", "www.ns.example.net", first),
        ] as [(String, String, DaemonProcess?)] {
            let before = daemon.errors.all.count
            try folder.write(text, to: "resolv.conf")
            _ = try await daemon.errors.first(from: before) { $0.hasPrefix("reload ") }
            let answer = try await daemon.dig(name)
            if let expected {
                #expect(answer.contains("flags: qr rd ra;"), "\(answer)")
                let lookup = try await daemon.lookup("\(name).", "A")
                #expect((lookup["upstream"] as? String)?.hasPrefix("\(expected.address):53") == true, "\(lookup)")
            } else {
                #expect(answer.contains("status: REFUSED") && answer.contains("EDE: 22"), "\(answer)")
                #expect(answer.contains("no upstream server is known"), "\(answer)")
                // What is held is still given.
                #expect(try await daemon.dig("ns.example.net").contains("status: NOERROR"))
            }
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("a route leaves all other names to the servers of resolv.conf, whatever these are")
    func beside() async throws {
        let first = try await server("192.0.2.12")
        let second = try await server("192.0.2.13")
        let corp = try await server("192.0.2.14")
        try folder.write("nameserver \(first.address)\n", to: "resolv.conf")
        let daemon = try await daemon(Self.resolvConf, ["--upstream", "ns.example.net=\(corp.address)"])
        let asked: (String) async throws -> String? = { try await daemon.lookup($0, "A")["upstream"] as? String }
        _ = try await daemon.dig("ns.example.net")
        #expect(try await asked("ns.example.net.")?.hasPrefix("\(corp.address):53") == true)
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.12\n")
        try folder.write("nameserver \(second.address)\n", to: "resolv.conf")
        _ = try await daemon.errors.first { $0.hasPrefix("reload ") }
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.13\n")
        let before = daemon.errors.all.count
        try folder.write("", to: "resolv.conf")
        _ = try await daemon.errors.first(from: before) { $0.hasPrefix("reload ") }
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.13\n")
        #expect(try await daemon.dig("other.example.net").contains("EDE: 22"))
        _ = try await daemon.dig("a.ns.example.net")
        #expect(try await asked("a.ns.example.net.")?.hasPrefix("\(corp.address):53") == true)
        #expect(try await daemon.stop() == 0)
    }

    @Test("if the system can't watch more files, the daemon still serves, and SIGHUP reloads")
    func unwatched() async throws {
        try folder.write("127.0.0.31 over.test\n", to: "hosts")
        let daemon = try await DaemonProcess(
            ["--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--no-upstream"],
            behind: [
                "/usr/bin/unshare", "-Ur", "/bin/sh", "-ec",
                "echo 0 > /proc/sys/user/max_inotify_instances; exec \"$@\"", "sh",
            ])
        _ = try await daemon.errors.first(containing: "files are not watched: inotify_init1: Too many open files")
        try folder.write("127.0.0.32 over.test\n", to: "hosts")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.31\n")
        daemon.program.signal(SIGHUP)
        _ = try await daemon.errors.first { $0.hasPrefix("reload     SIGHUP") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.32\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("a hosts file that is a mount point, as in containers, is reloaded when edited outside")
    func mounted() async throws {
        try folder.write("127.0.0.31 over.test\n", to: "outside/hosts")
        try folder.write("", to: "inside/hosts")
        let daemon = try await Namespace.daemon(
            "mount --bind $folder/outside/hosts $folder/inside/hosts",
            ["--hosts", folder.file("inside/hosts"), "--zones", folder.file("zones"), "--no-upstream"], in: folder)
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.31\n")
        try folder.append("127.0.0.32 over.test\n", to: "outside/hosts")
        _ = try await daemon.errors.first { $0.hasPrefix("reload ") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.31\n127.0.0.32\n")
    }
}
