import Foundation
import TestSupport
import Testing

/// What an operator sees of the running daemon over its control socket.
@Suite("The control socket")
struct ControlTests {
    /// A daemon with control socket and history.
    final class World: Sendable {
        let folder: TemporaryFolder
        let daemon: DaemonProcess
        var socket: String { folder.file("run/control.sock") }

        init(_ more: [String] = ["--no-upstream"]) async throws {
            folder = try TemporaryFolder()
            try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
            try folder.write(
                """
                $ORIGIN acme.org.
                $TTL 3600
                @ IN SOA ns hostmaster 1 7200 3600 1209600 300
                @ NS ns
                ns A 152.153.81.53
                @ A 152.153.81.14
                www CNAME over

                """, to: "zones/acme.org.zone")
            daemon = try await DaemonProcess(
                [
                    "--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--control",
                    folder.file("run/control.sock"), "--history", folder.file("state/history.db"), "--log-file",
                    folder.file("log"),
                ] + more)
            _ = try await daemon.output.first { $0.hasPrefix("control") }
        }

        /// Runs `stub53 WORDS --control SOCKET`.
        func run(_ words: String...) async throws -> Command.Result {
            try await Command.run(words + ["--control", socket])
        }

        func json(_ words: String...) async throws -> [String: Any] {
            let result = try await Command.run(words + ["--control", socket])
            return try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any] ?? [:]
        }
    }

    @Test("The socket is accessible to its owner and group only, and removed with the daemon")
    func socketFile() async throws {
        let world = try await World()
        let attributes = try FileManager.default.attributesOfItem(atPath: world.socket)
        #expect((attributes[.posixPermissions] as? Int) == 0o660)
        #expect(try await world.daemon.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: world.socket))
        let result = try await world.run("stats")
        #expect(result.code == 1 && result.errors.contains("no daemon has a control socket at"))
    }

    @Test("The socket never has wider rights, whatever the mask for new files")
    func socketMode() async throws {
        let folder = try TemporaryFolder()
        let library = try await Preload.library(Preload.socketModes, in: folder)
        let modes = folder.file("modes")
        let daemon = try await DaemonProcess(
            [
                "--no-hosts", "--no-upstream", "--control", folder.file("control.sock"), "--log-file",
                folder.file("log"),
            ],
            behind: [
                "/bin/sh", "-c", "umask 0; export LD_PRELOAD=\(library) SOCKET_MODES=\(modes); exec \"$@\"", "sh",
            ])
        _ = try await daemon.output.first { $0.hasPrefix("control") }
        #expect(try String(contentsOfFile: modes, encoding: .utf8) == "660\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("A socket left by a killed daemon is replaced; one in use is not")
    func socketTaken() async throws {
        let world = try await World()
        let more = ["--no-hosts", "--no-upstream", "--control", world.socket, "--listen", "127.0.0.1:0"]
        let second = try await Command.run(["serve", "--inspector", "off", "--history", "off"] + more)
        #expect(second.code == 78 && second.errors.contains("another daemon has it"), "\(second.errors)")
        world.daemon.program.signal(SIGKILL)
        _ = try await world.daemon.program.exitCode()
        let third = try await DaemonProcess(more)
        #expect(try await world.run("stats").code == 0)
        _ = third
    }

    @Test("stats counts lookups by source, code and type")
    func stats() async throws {
        let world = try await World()
        for name in ["over.acme.org", "acme.org", "nope.acme.org"] { _ = try await world.daemon.dig(name) }
        _ = try await world.daemon.dig("+tcp", "over.acme.org", "AAAA")
        let stats = try await world.json("stats", "--json")
        #expect(stats["by_source"] as? [String: Int] == ["hosts": 2, "zone": 2])
        #expect(stats["by_rcode"] as? [String: Int] == ["NOERROR": 3, "NXDOMAIN": 1])
        #expect(stats["by_transport"] as? [String: Int] == ["tcp": 1, "udp": 3])
        let text = try await world.run("stats").output
        #expect(text.contains("lookups    4\n") && text.contains("sources    hosts 2  zone 2"))
    }

    @Test("reload shows what changed and what is wrong, with exit code 1")
    func reload() async throws {
        let world = try await World()
        let fine = try await world.run("reload")
        #expect(fine.code == 0 && fine.output == "overrides 1 names\n")
        try world.folder.write("127.0.0.14 over.acme.org\n127.0.0.999 bad.acme.org\n", to: "hosts")
        let bad = try await world.run("reload")
        #expect(bad.code == 1 && bad.errors.contains("\(world.folder.file("hosts")):2: "), "\(bad.errors)")
    }

    @Test("log shows stored lookups as in the log file, selected by filters")
    func log() async throws {
        let world = try await World()
        for (name, type) in [
            ("over.acme.org", "A"), ("www.acme.org", "A"), ("acme.org", "MX"), ("nope.acme.org", "A"),
            ("localhost", "AAAA"),
        ] { _ = try await world.daemon.dig(name, type) }
        let all = try await world.run("log", "--json").output
        #expect(all.split(separator: "\n").count == 5)
        #expect(all == (try String(contentsOfFile: world.folder.file("log"), encoding: .utf8)))

        func names(_ words: String...) async throws -> [String] {
            let result = try await Command.run(["log", "--json", "--control", world.socket] + words)
            #expect(result.code == 0, "\(result.errors)")
            return try result.output.split(separator: "\n").map {
                let line = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
                return line?["name"] as? String ?? ""
            }
        }
        #expect(try await names("--rcode", "NXDOMAIN") == ["nope.acme.org."])
        #expect(try await names("--source", "hosts") == ["over.acme.org.", "www.acme.org."])
        #expect(try await names("--name", "*.acme.org", "--type", "A").count == 3)
        #expect(try await names("--since", "10m", "name:localhost", "type:AAAA") == ["localhost."])
        #expect(try await names("-n", "2") == ["nope.acme.org.", "localhost."])
        #expect(try await names("--client", "127.0.0.9") == [])
        let wrong = try await world.run("log", "--type", "HTTPSS")
        #expect(wrong.code == 64 && wrong.errors.contains("did you mean HTTPS?"), "\(wrong.errors)")
    }

    @Test("log reads the history's file if no daemon runs")
    func logOffline() async throws {
        let world = try await World()
        _ = try await world.daemon.dig("over.acme.org")
        #expect(try await world.daemon.stop() == 0)
        let result = try await Command.run(["log", "--history", world.folder.file("state/history.db")])
        #expect(result.code == 0 && result.output.contains("over.acme.org.") && result.output.contains("hosts:1"))
    }

    @Test("log --follow continues after stored lookups without losing or repeating any")
    func follow() async throws {
        let world = try await World()
        for index in 0..<20 { _ = try await world.daemon.dig("n\(index).acme.org") }
        let follower = try ProgramProcess(
            Command.executable.path, ["log", "-f", "-n", "50", "--json", "--control", world.socket])
        for index in 20..<40 { _ = try await world.daemon.dig("n\(index).acme.org") }
        _ = try await follower.output.first(containing: "\"n39.acme.org.\"")
        let expected = try String(contentsOfFile: world.folder.file("log"), encoding: .utf8).split(separator: "\n")
        #expect(follower.output.all.filter { !$0.isEmpty } == expected.map(String.init))
        follower.signal(SIGTERM)
    }

    @Test("log --follow shows only what its filter selects")
    func followFiltered() async throws {
        let world = try await World()
        _ = try await world.daemon.dig("first.acme.org")
        let follower = try ProgramProcess(
            Command.executable.path, ["log", "-f", "--json", "--rcode", "NXDOMAIN", "--control", world.socket])
        // It subscribes before it shows stored lookups.
        _ = try await follower.output.first(containing: "first.acme.org")
        for name in ["acme.org", "nope.acme.org", "over.acme.org", "last.acme.org"] {
            _ = try await world.daemon.dig(name)
        }
        _ = try await follower.output.first(containing: "last.acme.org")
        #expect(follower.output.all.count == 3)
        follower.signal(SIGTERM)
    }

    @Test("A subscriber that does not read, and an open page, don't delay the end")
    func slowReader() async throws {
        let world = try await World(["--no-upstream", "--inspector", "127.0.0.1:0"])
        let page = try await world.daemon.output.first { $0.hasPrefix("inspector ") }
        let url = try #require(page.split(separator: " ").last)
        let browser = try ProgramProcess("/usr/bin/curl", ["-sN", "\(url)/events"])
        _ = try await browser.output.first(containing: "event: pulse")
        // It subscribes to everything and stops without reading.
        let script = """
            import socket, time
            s = socket.socket(socket.AF_UNIX)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.connect('\(world.socket)')
            s.sendall(b'GET /v1/lookups/live HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
            s.recv(1)
            print('watches', flush=True)
            time.sleep(3600)
            """
        let watcher = try ProgramProcess("/usr/bin/python3", ["-c", script])
        _ = try await watcher.output.first(containing: "watches")
        let client = try DatagramClient(port: world.daemon.port)
        for id in 0..<2000 as Range<UInt16> {
            client.send(Wire.query("over.acme.org.", id: id))
            if id % 50 == 0 { _ = try await client.receive() }
        }
        _ = try await world.run("log", "-n", "1")
        // They would not end by themselves.
        world.daemon.program.signal(SIGTERM)
        #expect(try await world.daemon.program.exitCode() == 0)
        watcher.signal(SIGKILL)
    }

    @Test("A page of another site can load nothing from the inspector; following a link is allowed")
    func crossSite() async throws {
        let world = try await World(["--no-upstream", "--inspector", "127.0.0.1:0"])
        let page = try await world.daemon.output.first { $0.hasPrefix("inspector ") }
        let url = try #require(page.split(separator: " ").last)
        func status(_ path: String, _ headers: String...) async throws -> String {
            try await Command.run(
                ["-s", "-o", "/dev/null", "-w", "%{http_code}", "\(url)\(path)"] + headers.flatMap { ["-H", $0] },
                executable: URL(filePath: "/usr/bin/curl")
            ).output
        }
        #expect(try await status("/?q=a", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors") == "403")
        #expect(try await status("/events", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors") == "403")
        let link = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"]
        #expect(try await status("/", link[0], link[1], "Sec-Fetch-Dest: document") == "200")
        #expect(try await status("/", link[0], link[1], "Sec-Fetch-Dest: iframe") == "403")
        #expect(try await status("/app.js", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors") == "200")
        #expect(try await status("/?q=\(String(repeating: "a", count: 9000))") == "414")
        #expect(try await status("/?q=since:1000000000w") == "200")
        #expect(try await status("/name") == "200")
        #expect(try await world.daemon.stop() == 0)
    }

    @Test("A subscriber that leaves frees its place, even if nothing matched its filter")
    func watchersGo() async throws {
        let world = try await World()
        let script = """
            import socket, time
            def watch():
                s = socket.socket(socket.AF_UNIX)
                s.connect('\(world.socket)')
                s.sendall(b'GET /v1/lookups/live?filter=name:never.example HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
                status = s.recv(12)
                s.close()
                return status
            for _ in range(70): watch()
            end = time.monotonic() + \(longestWait)
            while time.monotonic() < end:
                status = watch()
                if status == b'HTTP/1.1 200': break
                time.sleep(0.02)
            print(status.decode())
            """
        let result = try await Command.run(["-c", script], executable: URL(filePath: "/usr/bin/python3"))
        #expect(result.output == "HTTP/1.1 200\n", "\(result.errors)")
    }

    @Test("Without log and history, lookups are still counted")
    func countedOnly() async throws {
        let daemon = try await DaemonProcess([
            "--no-hosts", "--no-upstream", "--log", "none", "--inspector", "127.0.0.1:0",
        ])
        let page = try await daemon.output.first { $0.hasPrefix("inspector ") }
        _ = try await daemon.dig("localhost")
        let metrics = try await Command.run(
            ["-s", "\(try #require(page.split(separator: " ").last))/metrics"],
            executable: URL(filePath: "/usr/bin/curl"))
        #expect(metrics.output.contains(#"stub53_lookup_duration_seconds_count{source="special"} 1"#))
        #expect(try await daemon.stop() == 0)
    }

    @Test("log reads what a killed daemon has stored, although its socket still exists")
    func logAfterKill() async throws {
        let world = try await World()
        _ = try await world.daemon.dig("over.acme.org")
        _ = try await world.run("log")
        world.daemon.program.signal(SIGKILL)
        _ = try await world.daemon.program.exitCode()
        let result = try await Command.run(
            [
                "RUNTIME_DIRECTORY=\(world.folder.file("run"))", "STATE_DIRECTORY=\(world.folder.file("state"))",
                Command.executable.path, "log",
            ], executable: URL(filePath: "/usr/bin/env"))
        #expect(result.code == 0 && result.output.contains("over.acme.org."), "\(result.errors)")
    }

    @Test("log --follow --csv has a header even without stored lookups")
    func followCSV() async throws {
        let world = try await World(["--no-upstream", "--history", "off"])
        let follower = try ProgramProcess(
            Command.executable.path, ["log", "-f", "--csv", "--control", world.socket])
        _ = try await follower.output.first { $0.hasPrefix("time,id,client,") }
        _ = try await world.daemon.dig("over.acme.org")
        _ = try await follower.output.first(containing: ",over.acme.org.,A,IN,")
        follower.signal(SIGTERM)
    }

    @Test("log --pcap writes packets that tshark reads, with the reason as a comment")
    func pcap() async throws {
        let world = try await World()
        _ = try await world.daemon.dig("www.acme.org")
        let file = world.folder.file("lookups.pcapng")
        let result = try await world.run("log", "--pcap", file)
        #expect(result.code == 0, "\(result.errors)")
        let packets = try await Command.run(
            ["-r", file, "-T", "fields", "-e", "dns.qry.name", "-e", "dns.a", "-e", "frame.comment"],
            executable: URL(filePath: "/usr/bin/tshark"))
        let lines = packets.output.split(separator: "\n")
        #expect(lines.count == 2)
        let answer = lines.last ?? ""
        #expect(answer.hasPrefix("www.acme.org\t127.0.0.14\t"), "\(packets.output) \(packets.errors)")
        #expect(answer.contains("acme.org.zone:7") && answer.contains("hosts:1"))
    }

    @Test("log --csv is a table with a header")
    func csv() async throws {
        let world = try await World()
        _ = try await world.daemon.dig("over.acme.org")
        let lines = try await world.run("log", "--csv").output.split(whereSeparator: \.isNewline)
        #expect(lines.count == 2 && lines[0].hasPrefix("time,id,client,") && lines[1].contains(",over.acme.org.,A,IN,"))
    }

    @Test("A leased override governs the name until it expires")
    func overrides() async throws {
        let world = try await World()
        let added = try await world.run("override", "add", "over.acme.org", "127.0.0.77", "--for", "1h")
        #expect(added.code == 0 && added.output.hasPrefix("override:1 "), "\(added.errors)")
        #expect(try await world.daemon.dig("+short", "over.acme.org") == "127.0.0.77\n")
        #expect(try await world.run("override", "list").output.contains("over.acme.org."))
        // The later lease of a name replaces the earlier one.
        _ = try await world.run("override", "add", "over.acme.org", "127.0.0.78", "--for", "1s")
        _ = try await world.daemon.program.errors.first(containing: "has ended")
        #expect(try await world.daemon.dig("+short", "over.acme.org") == "127.0.0.14\n")
        #expect(try await world.run("override", "list").output.hasPrefix("none; "))
        _ = try await world.run("override", "add", "*.dev.acme.org", "127.0.0.78")
        #expect(try await world.daemon.dig("+short", "a.b.dev.acme.org") == "127.0.0.78\n")
        #expect(try await world.run("override", "remove", "*.dev.acme.org").code == 0)
        #expect(try await world.daemon.dig("+short", "a.b.dev.acme.org") == "")
        let wrong = try await world.run("override", "add", "x.acme.org", "127.0.0.256")
        #expect(wrong.code == 1 && wrong.errors.contains("'127.0.0.256' is not an IPv4 address"), "\(wrong.errors)")
    }

    @Test("Adding an override always gets a response, however busy machine and daemon are")
    func manyOverrides() async throws {
        let world = try await World()
        for first in stride(from: 0, to: 200, by: 8) {
            try await withThrowingTaskGroup { group in
                for number in first..<(first + 8) {
                    group.addTask {
                        let added = try await world.run("override", "add", "n\(number).test", "127.0.1.\(number)")
                        #expect(added.code == 0 && added.output.contains(" n\(number).test. "), "\(added)")
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(try await world.run("override", "list").output.split(separator: "\n").count == 200)
    }

    @Test("why asks the daemon, which knows its cache; flush empties it")
    func whyAndFlush() async throws {
        let upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query)) }
        let world = try await World(["--upstream", "127.0.0.1:\(upstream.port)"])
        let before = try await world.run("why", "www.example.net")
        #expect(before.output.contains("is asked upstream"), "\(before.output)\(before.errors)")
        #expect(upstream.count() == 0)
        _ = try await world.daemon.dig("www.example.net")
        let known = try await world.json("why", "www.example.net", "--json")
        let answer = known["answer"] as? [String: Any]
        #expect(answer?["source"] as? String == "cache" && answer?["summary"] as? String == "192.0.2.1")
        let cached = (known["cached"] as? [[String: Any]])?.first
        #expect((cached?["remaining"] as? Int ?? 0) + (cached?["age"] as? Int ?? 0) == 60)
        #expect(cached?["upstream"] as? String == "127.0.0.1:\(upstream.port)")
        let flushed = try await world.run("flush", "example.net", "--tree")
        #expect(flushed.output == "1 answer forgotten\n", "\(flushed.errors)")
        #expect(try await world.run("why", "www.example.net").output.contains("is asked upstream"))
        let asked = try await world.run("why", "www.example.net", "--ask")
        #expect(asked.output.contains("192.0.2.1"))
    }

    @Test("Prometheus accepts the metrics")
    func metrics() async throws {
        let world = try await World()
        for name in ["over.acme.org", "acme.org", "nope.acme.org"] { _ = try await world.daemon.dig(name) }
        _ = try await world.run("log")
        let text = try await world.run("stats", "--metrics").output
        try world.folder.write(text, to: "metrics")
        let check = try await Command.run(
            ["-c", "promtool check metrics < \(world.folder.file("metrics"))"], executable: URL(filePath: "/bin/sh"))
        #expect(check.code == 0 && check.output.isEmpty && check.errors.isEmpty, "\(check.output)\(check.errors)")
        #expect(text.contains(#"stub53_lookups_total{source="hosts",type="A",rcode="NOERROR",transport="udp"} 1"#))
        #expect(text.contains(#"stub53_lookup_duration_seconds_bucket{source="zone",le="+Inf"} 2"#))
        #expect(text.contains("\nstub53_history_written_total 3\n"))
    }

    @Test("The client's process is in log and history")
    func process() async throws {
        let world = try await World()
        // It asks repeatedly from one port: a process that ends at once or asks only once may stay unknown.
        let script = """
            import socket, time
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            query = bytes.fromhex('000701000001000000000000') + b'\\x04over\\x04acme\\x03org\\0\\0\\x01\\0\\x01'
            while True:
                s.sendto(query, ('127.0.0.1', \(world.daemon.port)))
                s.recv(512)
                time.sleep(0.05)
            """
        let client = try ProgramProcess("/usr/bin/python3", ["-c", script])
        let follower = try ProgramProcess(
            Command.executable.path,
            ["log", "-f", "--json", "--client", "\(client.identifier)", "--control", world.socket])
        let line = try await follower.output.first { $0.hasPrefix("{") }
        let lookup = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        let process = lookup?["process"] as? [String: Any]
        #expect(process?["pid"] as? Int == Int(client.identifier))
        #expect((process?["command"] as? String)?.hasPrefix("python3") == true)
        client.signal(SIGKILL)
        follower.signal(SIGTERM)
        #expect(try await world.run("log", "--client", "\(client.identifier)").output.contains(" python3"))
    }
}
