import Foundation
import TestSupport
import Testing

/// `stub53 exec`: one command uses stub53, the machine does not.
@Suite(
    "One command alone",
    .enabled(if: Namespace.isAvailable, "port 53 and mount namespaces are needed: run as root"))
struct ExecTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("192.0.2.14 acme.org\n", to: "hosts")
        try folder.write(ZoneText.shop, to: "shop.zone")
    }

    private static let systemFiles = ["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts"]
    private static func read(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    private let local = ["--hosts", "hosts", "--no-upstream"]

    private func exec(_ arguments: [String], behind wrapper: [String] = []) async throws -> Command.Result {
        var all = wrapper + [Command.executable.path, "exec"] + arguments
        let program = URL(filePath: all.removeFirst())
        return try await Command.run(all, executable: program, in: folder.path)
    }

    /// Starts a command that runs until it is stopped.
    private func start(_ arguments: [String], _ script: String) throws -> ProgramProcess {
        try ProgramProcess(
            Command.executable.path, ["exec"] + arguments + ["--", "sh", "-c", "\(script)\nexec sleep 60"],
            folder: folder.path)
    }

    /// The address in the resolv.conf printed by a command.
    private func server(_ program: ProgramProcess) async throws -> String {
        String(try await program.output.first { $0.hasPrefix("nameserver ") }.dropFirst("nameserver ".count))
    }

    // MARK: What the command sees

    @Test("sees the overrides, with getent, dig and curl; nothing changes outside meanwhile")
    func override() async throws {
        let before = (Self.systemFiles + ["/proc/self/mountinfo"]).map(Self.read)
        let web = try OneAnswerServer(body: "hello from here")
        try folder.write("127.0.0.1 acme.org\n", to: "hosts")
        let program = try start(
            local,
            """
            getent hosts acme.org
            dig +short acme.org
            dig +short +tcp www.acme.org | sed 's/^$/none/'
            curl -s http://acme.org:\(web.port)/; echo
            cat /etc/resolv.conf
            """)
        let address = try await server(program)
        #expect(
            program.output.all.prefix(3).map { $0.split(separator: " ").joined(separator: " ") }
                == ["127.0.0.1 acme.org", "127.0.0.1", "hello from here"])
        #expect(address.hasPrefix("127."))
        #expect((Self.systemFiles + ["/proc/self/mountinfo"]).map(Self.read) == before)
        program.signal(SIGTERM)
        #expect(try await program.exitCode() == 128 + SIGTERM)
        #expect(program.errors.all.isEmpty)
    }

    @Test("several run side by side, each with its own answers")
    func sideBySide() async throws {
        var programs: [ProgramProcess] = []
        var addresses: Set<String> = []
        for worker in 1...3 {
            try folder.write("192.0.2.\(worker) acme.org\n", to: "hosts\(worker)")
            let program = try start(
                ["--hosts", "hosts\(worker)", "--no-upstream"], "getent hosts acme.org; cat /etc/resolv.conf")
            addresses.insert(try await server(program))
            programs.append(program)
        }
        #expect(addresses.count == 3)
        for (index, program) in programs.enumerated() {
            #expect(program.output.all[0].hasPrefix("192.0.2.\(index + 1) "), "\(program.output.all)")
        }
        // The third is running, and so still is the first.
        var answers: Set<String> = []
        for address in addresses {
            let dig = ["@\(address)", "+short", "acme.org"]
            answers.insert(try await Command.run(dig, executable: URL(filePath: "/usr/bin/dig")).output)
        }
        #expect(answers == ["192.0.2.1\n", "192.0.2.2\n", "192.0.2.3\n"])
        for program in programs {
            program.signal(SIGINT)
            #expect(try await program.exitCode() == 128 + SIGINT)
        }
    }

    /// A machine whose resolv.conf is a link, and whose hosts file has an override.
    private static let otherMachine = """
        mkdir -p etc run
        mount -t tmpfs none etc
        cp -a /etc/passwd /etc/group etc
        printf 'passwd: files\\nhosts: files resolve [!UNAVAIL=return] mdns\\n' > etc/nsswitch.conf
        printf '127.0.0.1 localhost\\n203.0.113.1 acme.org\\n10.1.2.3 box.example.org box acme.org # us\\n' > etc/hosts
        printf '# made\\nnameserver 203.0.113.53\\nsearch acme.org\\noptions ndots:2\\n' > run/resolv.conf
        ln -s $PWD/run/resolv.conf etc/resolv.conf
        hostname box
        mount --rbind etc /etc

        """

    @Test("has the machine's search list and own name, but not its overrides, servers or other sources")
    func files() async throws {
        try folder.write("192.0.2.15 www.acme.org\n192.0.2.14 acme.org\n", to: "hosts")
        let result = try await exec(
            local + ["sh", "-c", "grep -v '^#' /etc/resolv.conf; cat /etc/nsswitch.conf /etc/hosts; getent hosts www"],
            behind: [
                "/usr/bin/unshare", "-mu", "/bin/sh", "-ec",
                Self.otherMachine + "\"$@\"; echo now $(cat /etc/resolv.conf | wc -l)", "sh",
            ])
        let lines = result.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 10, "\(result)")
        #expect(lines[0].hasPrefix("nameserver 127."))
        #expect(
            lines[1..<8] == [
                "search acme.org", "options ndots:2", "passwd: files", "hosts: files dns", "::1 localhost",
                "127.0.0.1 localhost", "10.1.2.3 box.example.org box",
            ])
        #expect(lines[8].split(separator: " ").joined(separator: " ") == "192.0.2.15 www.acme.org")
        // The target of the link is unchanged.
        #expect(lines[9] == "now 4")
    }

    @Test("keeps its files if the machine's are replaced, or another link replaces one")
    func replaced() async throws {
        let command = """
            echo up > up
            read line < done
            tries=0
            until grep -q stub53 /etc/resolv.conf && ! grep -q acme /etc/hosts; do
                tries=$((tries + 1)); [ $tries -lt 6000 ]; sleep 0.01
            done
            dig +short acme.org
            """
        let replacing = """
            mkfifo up done
            mkdir other
            "$@" &
            read line < up
            printf 'nameserver 203.0.113.54\\n' > run/new
            mv run/new run/resolv.conf
            printf '203.0.113.2 acme.org\\n' > /etc/new
            mv /etc/new /etc/hosts
            printf 'nameserver 203.0.113.55\\n' > other/resolv.conf
            ln -s $PWD/other/resolv.conf /etc/new
            mv /etc/new /etc/resolv.conf
            printf 'nameserver 203.0.113.56\\n' > other/new
            mv other/new other/resolv.conf
            echo > done
            wait $!
            cat /etc/resolv.conf
            """
        let result = try await exec(
            local + ["sh", "-ec", command],
            behind: ["/usr/bin/unshare", "-mu", "/bin/sh", "-ec", Self.otherMachine + replacing, "sh"])
        #expect(result.output == "192.0.2.14\nnameserver 203.0.113.56\n", "\(result)")
    }

    @Test("can run a nested one, which forwards unknown names to the outer one")
    func nested() async throws {
        let result = try await exec(
            local + ["--", Command.executable.path, "exec", "--zone", "shop.zone", "--"]
                + ["getent", "-s", "hosts:dns", "ahostsv4", "acme.org"])
        #expect(result.output.hasPrefix("192.0.2.14 "), "\(result)")
        let inner = try await exec(
            local + [Command.executable.path, "exec", "--zone", "shop.zone", "getent", "hosts", "www.shop.test"])
        #expect(inner.output.hasPrefix("198.51.100.7 "), "\(inner)")
    }

    // MARK: Ends

    @Test(
        "ends with the command's exit code",
        arguments: [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] as [(String, Int32)])
    func code(_ script: String, _ code: Int32) async throws {
        #expect(try await exec(local + ["--", "sh", "-c", script]).code == code)
    }

    @Test("reports a missing command, and ends as a shell does")
    func missing() async throws {
        let missing = try await exec(local + ["no-such-command"])
        #expect(missing.code == 127)
        #expect(missing.errors.hasPrefix("stub53: 'no-such-command' can't be run: No such file or directory; check "))
        let file = try await exec(local + ["./hosts"])
        #expect(file.code == 126)
        #expect(file.errors.contains("'./hosts' can't be run: Permission denied"))
    }

    @Test("passes input, arguments and signals to the command", arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1])
    func signals(_ number: Int32) async throws {
        let program = try ProgramProcess(
            Command.executable.path,
            ["exec"] + local
                + [
                    "sh", "-c",
                    "trap 'echo got it; kill -9 $!; exit 5' TERM INT HUP QUIT USR1; sleep 60 & echo \"$@\"; wait",
                ]
                + ["sh", "--log", "-x", "--", "two words"], folder: folder.path)
        #expect(try await program.output.first { _ in true } == "--log -x -- two words")
        program.signal(number)
        #expect(try await program.exitCode() == 5)
        #expect(program.output.all.last == "got it")
    }

    @Test("killed with SIGKILL, leaves neither daemon nor command behind")
    func killed() async throws {
        let scratch = try TemporaryFolder()
        let program = try ProgramProcess(
            "/usr/bin/env",
            ["TMPDIR=\(scratch.path)", Command.executable.path, "exec"] + local
                + ["sh", "-c", "echo $$; cat /etc/resolv.conf; exec sleep 60"], folder: folder.path)
        let address = try await server(program)
        let command = try #require(pid_t(program.output.all[0]))
        #expect(!canBind(address))
        program.signal(SIGKILL)
        try await eventually("the daemon ends") { canBind(address) }
        try await eventually("the command ends") { kill(command, 0) != 0 }

        // What it could not remove itself, the next one does; nothing else.
        let left = try scratch.names { $0.hasPrefix("stub53-exec-") }
        #expect(left.count == 1)
        try scratch.write("kept", to: "elsewhere/file")
        try FileManager.default.createSymbolicLink(
            atPath: scratch.file("stub53-exec-linked"), withDestinationPath: scratch.file("elsewhere"))
        try scratch.write("kept", to: "stub53-exec-others/file")
        try #require(chown(scratch.file("stub53-exec-others"), 65_534, 65_534) == 0)
        let running = try ProgramProcess(
            "/usr/bin/env",
            ["TMPDIR=\(scratch.path)", Command.executable.path, "exec"] + local
                + ["sh", "-c", "cat /etc/resolv.conf; exec sleep 60"], folder: folder.path)
        _ = try await server(running)
        let own = try scratch.names { $0.hasPrefix("stub53-exec-") }
        #expect(own.count == 3 && left.isDisjoint(with: own), "\(own)")
        let next = try await exec(
            local + ["true"], behind: ["/usr/bin/env", "TMPDIR=\(scratch.path)"])
        #expect(next.code == 0)
        #expect(try scratch.names { $0.hasPrefix("stub53-exec-") } == own)
        running.signal(SIGTERM)
        #expect(try await running.exitCode() == 128 + SIGTERM)
        #expect(
            try scratch.names { _ in true } == ["elsewhere", "stub53-exec-linked", "stub53-exec-others"])
        for file in ["elsewhere/file", "stub53-exec-others/file"] {
            #expect(FileManager.default.fileExists(atPath: scratch.file(file)))
        }
    }

    // MARK: The log

    @Test("--log shows the command's lookups on standard error once it has ended")
    func log() async throws {
        let zone = ["--no-hosts", "--zone", "shop.zone", "--no-upstream"]
        let result = try await exec(zone + ["--log", "--", "getent", "ahostsv4", "www.shop.test"])
        #expect(result.output.contains("198.51.100.7"))
        let lines = result.errors.split(separator: "\n")
        #expect(lines.count == 1, "\(result.errors)")
        #expect(lines.first?.contains(" www.shop.test. ") == true && lines.first?.contains("shop.zone:6 ") == true)
        let json = try await exec(zone + ["--json", "--", "getent", "ahostsv4", "www.shop.test"])
        #expect(json.errors.contains(#""name":"www.shop.test.","type":"A""#), "\(json.errors)")
        // Also with the form as a word; a word that is none belongs to the command.
        let word = try await exec(zone + ["--log", "json", "getent", "ahostsv4", "www.shop.test"])
        #expect(word.errors.contains(#""name":"www.shop.test.","type":"A""#), "\(word)")
        let plain = try await exec(zone + ["--log", "getent", "ahostsv4", "www.shop.test"])
        #expect(plain.errors.contains(" www.shop.test. ") && plain.output.contains("198.51.100.7"), "\(plain)")
        let none = try await exec(zone + ["--", "getent", "ahostsv4", "www.shop.test"])
        #expect(none.errors.isEmpty)
    }

    // MARK: The running daemon

    @Test("attaches to a running daemon")
    func attach() async throws {
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("hosts"), "--no-upstream", "--listen", "\(ownLoopbackAddress()):53",
        ])
        let result = try await exec(["--server", daemon.address, "getent", "hosts", "acme.org"])
        #expect(result.output.hasPrefix("192.0.2.14 "), "\(result)")
        let lookup = try await daemon.lookup("acme.org.", "A")
        #expect(lookup["source"] as? String == "hosts")
        #expect(try await daemon.stop() == 0)
    }

    @Test("attaches for an unprivileged user too, who stays the same user")
    func plainUser() async throws {
        let user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("hosts"), "--no-upstream", "--listen", "\(ownLoopbackAddress()):53",
        ])
        let result = try await exec(
            ["--server", daemon.address, "sh", "-c", "getent hosts acme.org; cat /etc/resolv.conf; id -u; id -g"],
            behind: user)
        let lines = result.output.split(separator: "\n")
        #expect(lines.first?.hasPrefix("192.0.2.14 ") == true, "\(result)")
        #expect(lines.contains("nameserver \(daemon.address)"))
        #expect(lines.suffix(2) == ["65534", "65534"])
        #expect(try await daemon.stop() == 0)
    }

    @Test("starts a private daemon for an unprivileged user who may use port 53; otherwise explains, and exits 77")
    func plainUserPrivately() async throws {
        let user = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\""
        for (start, code) in [(53, 0), (1024, 77)] as [(Int, Int32)] {
            let setup = "ip link set lo up; echo \(start) > /proc/sys/net/ipv4/ip_unprivileged_port_start"
            let result = try await exec(
                local + ["getent", "hosts", "acme.org"],
                behind: ["/usr/bin/unshare", "-n", "/bin/sh", "-ec", "\(setup); \(user)", "sh"])
            #expect(result.code == code, "\(result)")
            if code == 0 {
                #expect(result.output.hasPrefix("192.0.2.14 "), "\(result)")
            } else {
                #expect(result.errors.contains("needs port 53") && result.errors.contains("setcap"), "\(result.errors)")
                #expect(result.errors.contains("ip_unprivileged_port_start=53"))
            }
        }
    }

    // MARK: What can't be

    @Test("without a namespace explains why, names alternatives, and exits 77")
    func noNamespace() async throws {
        let result = try await exec(
            local + ["true"],
            behind: [
                "/usr/bin/unshare", "-Urn", "/bin/sh", "-ec",
                "ip link set lo up; echo 0 > /proc/sys/user/max_user_namespaces; "
                    + "exec setpriv --bounding-set=-sys_admin \"$@\"", "sh",
            ])
        #expect(result.code == 77, "\(result)")
        #expect(result.errors.contains("unshare: No space left on device"), "\(result.errors)")
        #expect(result.errors.contains("sysctl user.max_user_namespaces") && result.errors.contains("--dns"))
    }

    @Test("without a daemon says how to get one")
    func nobody() async throws {
        let address = ownLoopbackAddress()
        let result = try await exec(["--server", address, "true"])
        #expect(result.code == 1)
        #expect(result.errors.hasPrefix("stub53: no daemon answers at \(address):53: "), "\(result.errors)")
        #expect(result.errors.contains("stub53 serve") && result.errors.contains("--hosts"))
    }

    @Test("with invalid sources ends with the daemon's message and exit code")
    func badSources() async throws {
        let result = try await exec(["--zone", "missing.zone", "true"])
        #expect(result.code == 78)
        #expect(result.errors.contains("missing.zone"), "\(result.errors)")
    }

    @Test(
        "rejects wrong usage",
        arguments: [
            ([], "The command is missing"), (["--"], "The command is missing"),
            (["--hots", "x", "true"], "Unknown option '--hots'"),
            (["--server", "127.0.0.1:5300", "true"], "resolv.conf knows only 53"),
            (["--server", "127.0.0.1", "--no-hosts", "true"], "leave one out"),
            (["--log", "true"], "--log shows a private one's"), (["--browser", "chromium"], "The URL is missing"),
            (["--browser", "lynx", "http://acme.org"], "chromium"),
        ] as [([String], String)])
    func usage(_ arguments: [String], _ complaint: String) async throws {
        let result = try await exec(arguments)
        #expect(result.code == 64)
        #expect(result.errors.contains(complaint), "\(result.errors)")
    }
}

extension TemporaryFolder {
    /// The names in it that fit.
    fileprivate func names(_ fits: (String) -> Bool) throws -> Set<String> {
        Set(try FileManager.default.contentsOfDirectory(atPath: path).filter(fits))
    }
}

/// Whether port 53 of `address` is free for UDP.
private func canBind(_ address: String) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = UInt16(53).bigEndian
    inet_pton(AF_INET, address, &name.sin_addr)
    return withUnsafePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}

/// A web server that answers one request.
private struct OneAnswerServer {
    let port: UInt16

    init(body: String) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard let port = bindLoopback(descriptor, 0), listen(descriptor, 1) == 0 else {
            close(descriptor)
            throw LineReader.Missing(description: "no free port")
        }
        self.port = port
        Thread.detachNewThread {
            let client = accept(descriptor, nil, nil)
            var request = [UInt8](repeating: 0, count: 4096)
            _ = recv(client, &request, request.count, 0)
            let response = Array("HTTP/1.0 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
            _ = send(client, response, response.count, Int32(MSG_NOSIGNAL))
            close(client)
            close(descriptor)
        }
    }
}
