import Foundation
import TestSupport
import Testing

/// A machine whose networks come, go and change: `d0` is its interface, at the other end is another machine.
@Suite(
    "A daemon whose networks change", .serialized,
    .enabled(if: Namespace.isAvailable, "networks of their own take namespaces: run as root"))
struct NetworkTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.99 over.test\n", to: "hosts")
    }

    /// The other machine.
    private func peer() async throws -> ProgramProcess {
        let peer = try ProgramProcess(
            "/usr/bin/unshare", ["-n", "/bin/sh", "-c", "echo there; exec cat"], endsWithUs: true)
        _ = try await peer.output.first(containing: "there")
        return peer
    }

    private func daemon(_ arguments: [String], after setup: String = "") async throws -> DaemonProcess {
        try await Namespace.daemon(
            "ip link set lo up\n" + setup, ["--hosts", folder.file("hosts"), "--zones", "none"] + arguments, in: folder,
            network: true)
    }

    /// The output of a shell script on the machine that `process` runs on.
    @discardableResult
    private func on(_ process: ProgramProcess, _ script: String) async throws -> String {
        let result = try await Command.run(
            ["-t", "\(process.identifier)", "-n", "/bin/sh", "-ec", script],
            executable: URL(filePath: "/usr/bin/nsenter"))
        #expect(result.errors.isEmpty, "\(script): \(result.errors)")
        return result.output
    }

    /// Connects the two machines by a cable between `d0` and `d1`.
    private func connect(_ daemon: DaemonProcess, _ peer: ProgramProcess) async throws {
        try await on(
            daemon.program,
            "ip link add d0 type veth peer name d1; ip link set d1 netns \(peer.identifier); ip link set d0 up")
        try await on(peer, "ip link set lo up; ip link set d1 up")
    }

    private func network(_ daemon: DaemonProcess, _ script: String, says text: String) async throws {
        let before = daemon.errors.all.count
        try await on(daemon.program, script)
        _ = try await daemon.errors.first(from: before, containing: text)
    }

    private let dig = "dig +short +tries=1 +time=\(longestWait)"

    @Test("serves clients of a network that it joins, and no longer those of one that it leaves")
    func clients() async throws {
        let (daemon, peer) = (try await daemon(["--no-upstream", "--listen", "0.0.0.0:53"]), try await peer())
        try await connect(daemon, peer)
        try await on(peer, "ip address add 10.77.0.2/24 dev d1; ip address add 10.78.0.2/24 dev d1")
        try await network(daemon, "ip address add 10.77.0.1/24 dev d0", says: "network    10.77.0.1/24 new")
        #expect(try await on(peer, "\(dig) @10.77.0.1 over.test") == "127.0.0.99\n")
        #expect(try await on(peer, "\(dig) +tcp @10.77.0.1 over.test") == "127.0.0.99\n")
        try await network(
            daemon, "ip address add 10.78.0.1/24 dev d0; ip address del 10.77.0.1/24 dev d0",
            says: "10.77.0.1/24 gone")
        try await on(daemon.program, "ip route add 10.77.0.0/24 dev d0")
        #expect(try await on(peer, "\(dig) @10.78.0.1 over.test") == "127.0.0.99\n")
        let refused = try await on(peer, "dig +tries=1 -b 10.77.0.2 @10.78.0.1 over.test")
        #expect(refused.contains("status: REFUSED"), "\(refused)")
        #expect(try await daemon.stop() == 0)
    }

    @Test("notices a network within seconds where the kernel announces none")
    func unannounced() async throws {
        let library = try await Preload.library(Preload.noNetworkEvents, in: folder)
        let daemon = try await daemon(
            ["--no-upstream", "--listen", "0.0.0.0:53"], after: "export LD_PRELOAD=\(library)")
        let peer = try await peer()
        _ = try await daemon.errors.first(containing: "changes of networks are not announced")
        try await connect(daemon, peer)
        try await on(peer, "ip address add 10.77.0.2/24 dev d1")
        try await network(daemon, "ip address add 10.77.0.1/24 dev d0", says: "network    10.77.0.1/24 new")
        #expect(try await on(peer, "\(dig) @10.77.0.1 over.test") == "127.0.0.99\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("serves an address that is not there yet once it comes, and again when it comes back")
    func addresses() async throws {
        try folder.write("", to: "state/empty")
        let daemon = try await daemon(
            [
                "--no-upstream", "--listen", "127.0.0.1:5300", "--listen", "10.77.0.1:5301", "--listen",
                "[fd00:77::1]:5302", "--listen", "tls://10.77.0.1:5303", "--control", folder.file("control.sock"),
            ], after: "export STATE_DIRECTORY=$folder/state")
        let peer = try await peer()
        #expect(try await on(daemon.program, "\(dig) @127.0.0.1 -p 5300 over.test") == "127.0.0.99\n")
        func waiting() async throws -> [String] {
            try await Command.run(["stats", "--control", folder.file("control.sock")]).output.split(separator: "\n")
                .filter { $0.contains("once this machine has the address") }.map(String.init)
        }
        #expect(daemon.output.all.filter { $0.hasSuffix(", once this machine has the address") }.count == 3)
        #expect(try await waiting().count == 3)
        try await connect(daemon, peer)
        try await on(
            peer, "ip address add 10.77.0.2/24 dev d1; ip address add fd00:77::2/64 dev d1 nodad")
        for _ in 0..<2 {
            try await network(
                daemon, "ip address add fd00:77::1/64 dev d0 nodad; ip address add 10.77.0.1/24 dev d0",
                says: "10.77.0.1/24 new")
            #expect(try await waiting().isEmpty)
            for server in [
                "@10.77.0.1 -p 5301", "+tcp @10.77.0.1 -p 5301", "@fd00:77::1 -p 5302", "+tcp @fd00:77::1 -p 5302",
                "+tls @10.77.0.1 -p 5303",
            ] {
                #expect(try await on(peer, "\(dig) \(server) over.test") == "127.0.0.99\n", "\(server)")
            }
            try await network(
                daemon, "ip address del fd00:77::1/64 dev d0; ip address del 10.77.0.1/24 dev d0",
                says: "10.77.0.1/24 gone")
            #expect(try await waiting().count == 3)
        }
        #expect(try await daemon.stop() == 0)
    }

    /// A server for www.example.net on the other machine's fe80::99, port 53.
    private func server(_ peer: ProgramProcess) async throws -> DaemonProcess {
        try folder.write(ZoneText.shop.replacing("shop.test", with: "example.net"), to: "served/example.net.zone")
        return try await DaemonProcess(
            ["--no-hosts", "--no-upstream", "--zones", folder.file("served"), "--listen", "[::]:53"],
            behind: ["/usr/bin/nsenter", "-t", "\(peer.identifier)", "-n"])
    }

    @Test("asks a server by the name of its interface, which comes, goes and comes anew", arguments: [false, true])
    func interface(isConfigured: Bool) async throws {
        try folder.write("nameserver fe80::99%d0\n", to: "resolv.conf")
        let daemon = try await daemon(
            ["--listen", "127.0.0.1:53", "--cache-size", "0"] + (isConfigured ? ["--upstream", "fe80::99%d0"] : []),
            after: "mount --bind $folder/resolv.conf \"$(readlink -f /etc/resolv.conf)\"")
        #expect(daemon.output.all.contains { $0.hasPrefix("upstream") && $0.contains("[fe80::99%d0]:53") })
        _ = try await daemon.errors.first(containing: "this machine has no such interface")
        let peer = try await peer()
        let server = try await server(peer)
        for round in 0..<2 {
            // Its number is another one each time.
            try await connect(daemon, peer)
            try await on(peer, "ip address add fe80::99/64 dev d1 nodad")
            try await asking("an answer by way of d0, round \(round)") {
                try await on(daemon.program, "dig +short +tries=1 @127.0.0.1 www.example.net || true")
                    == "198.51.100.7\n"
            }
            try await network(daemon, "ip link del d0", says: "reload     another network")
        }
        #expect(try await server.stop() == 0)
        #expect(try await daemon.stop() == 0)
    }

    @Test("asks anew once it is in another network: by another way to a server that did not answer on the old one")
    func path() async throws {
        let socket = folder.file("control.sock")
        let daemon = try await daemon(
            ["--listen", "127.0.0.1:53", "--upstream", "192.0.2.53", "--cache-size", "0", "--control", socket],
            after: "ip route add unreachable 192.0.2.53")
        // The state is published a moment later.
        func become(_ state: String) async throws {
            let request = ["-s", "--unix-socket", socket, "http://stub53/v1/upstreams"]
            try await asking(state) {
                try await Command.run(request, executable: URL(filePath: "/usr/bin/curl")).output
                    .contains("\"state\":\"\(state)\"")
            }
        }
        for _ in 0..<2 {
            #expect(try await on(daemon.program, "\(dig) @127.0.0.1 www.example.net") == "")
        }
        try await become("down")
        let peer = try await peer()
        try await connect(daemon, peer)
        try folder.write(ZoneText.shop.replacing("shop.test", with: "example.net"), to: "served/example.net.zone")
        try await on(peer, "ip address add 10.77.0.2/24 dev d1; ip address add 192.0.2.53/32 dev d1")
        let server = try await DaemonProcess(
            [
                "--no-hosts", "--no-upstream", "--zones", folder.file("served"), "--listen", "192.0.2.53:53",
            ], behind: ["/usr/bin/nsenter", "-t", "\(peer.identifier)", "-n"])
        try await network(
            daemon,
            "ip address add 10.77.0.1/24 dev d0; ip route replace 192.0.2.53 via 10.77.0.2",
            says: "another path to upstream")
        #expect(try await on(daemon.program, "\(dig) @127.0.0.1 www.example.net") == "198.51.100.7\n")
        try await become("up")
        #expect(try await server.stop() == 0)
    }

    @Test("after two hours of sleep, TTLs have run out, and servers are asked afresh")
    func asleep() async throws {
        try folder.write(ZoneText.shop.replacing("shop.test", with: "example.net"), to: "served/example.net.zone")
        let server = try await DaemonProcess([
            "--no-hosts", "--no-upstream", "--zones", folder.file("served"),
        ])
        let asleep = try folder.write("0", to: "asleep")
        let library = try await Preload.library(Preload.asleep, in: folder)
        let daemon = try await DaemonProcess(
            [
                "--hosts", folder.file("hosts"), "--zones", "none", "--upstream",
                "tcp://\(server.address):\(server.port)",
            ],
            behind: ["/usr/bin/env", "LD_PRELOAD=\(library)", "ASLEEP=\(asleep)"])
        func source() async throws -> String? {
            let before = daemon.output.all.count
            #expect(try await daemon.dig("www.example.net", "+short") == "198.51.100.7\n")
            return try await daemon.lookup("www.example.net.", "A", from: before)["source"] as? String
        }
        #expect(try await source() == "upstream")
        #expect(try await source() == "cache")
        // In place: the daemon has the file open.
        let file = try FileHandle(forWritingTo: URL(filePath: asleep))
        try file.write(contentsOf: Data("7200".utf8))
        try file.close()
        #expect(try await source() == "upstream")
        _ = try await daemon.errors.first(containing: "network    awake after 7200 s")
        #expect(try await source() == "cache")
        #expect(try await daemon.stop() == 0)
    }
}
