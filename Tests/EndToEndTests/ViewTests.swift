import Foundation
import TestSupport
import Testing

/// Views: other answers by where a query comes in, and from whom.
@Suite("Views")
struct ViewTests {
    private let folder: TemporaryFolder
    private let upstream: ScriptedServer
    private let other: ScriptedServer

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("10.0.0.1 a.lab\n", to: "base.hosts")
        try folder.write("10.0.0.2 a.lab\n", to: "one.hosts")
        try folder.write("a.lab A answer=10.0.0.3\n", to: "two.rules")
        try FileManager.default.createDirectory(atPath: folder.file("zones"), withIntermediateDirectories: true)
        upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query, [[192, 0, 2, 1]])) }
        other = try ScriptedServer { query, _ in .send(Reply.addresses(query, [[192, 0, 2, 2]])) }
    }

    private var control: String { folder.file("control.sock") }

    private func daemon(_ views: String) async throws -> DaemonProcess {
        let file = try folder.write(
            "hosts.files: [\(folder.file("base.hosts"))]\nviews:\n\(views)", to: "stub53.yaml")
        let daemon = try await DaemonProcess(
            [
                "--config", file, "--zones", folder.file("zones"), "--control", control, "--history",
                folder.file("history.db"), "--upstream", "127.0.0.1:\(upstream.port)",
            ])
        _ = try await daemon.output.first { $0.hasPrefix("control") }
        return daemon
    }

    /// The address of a view, as the daemon says at start.
    private func port(of view: String, _ daemon: DaemonProcess) async throws -> UInt16 {
        let line = try await daemon.output.first { $0.hasSuffix("view \(view)") }
        let address = line.split(separator: " ").first { $0.contains(":") } ?? ""
        return try #require(UInt16(address.split(separator: ":").last ?? ""))
    }

    private func dig(_ address: String, _ port: UInt16, _ words: String...) async throws -> String {
        try await Command.run(
            ["@\(address)", "-p", "\(port)", "+tries=1", "+time=\(longestWait)", "+short"] + words,
            executable: URL(filePath: "/usr/bin/dig")
        ).output
    }

    private func run(_ words: String...) async throws -> Command.Result {
        try await Command.run(words + ["--control", control])
    }

    @Test("By listen address and by client, over UDP and TCP, with what each has of its own, and what all share")
    func files() async throws {
        let daemon = try await daemon(
            """
              one: {listen: ["127.0.1.1:0"], hosts: {files: [\(folder.file("one.hosts"))]}}
              two:
                listen: 127.0.1.2:0
                rules.files: \(folder.file("two.rules"))
              three: {clients: [127.0.3.0/24], hosts: {ttl: 7}, upstream: {servers: ["127.0.0.1:\(other.port)"]}}

            """)
        let (one, two) = (try await port(of: "one", daemon), try await port(of: "two", daemon))
        for way in ["+notcp", "+tcp"] {
            #expect(try await dig("127.0.0.1", daemon.port, "a.lab", way) == "10.0.0.1\n")
            #expect(try await dig("127.0.1.1", one, "a.lab", way) == "10.0.0.2\n")
            #expect(try await dig("127.0.1.2", two, "a.lab", way) == "10.0.0.3\n")
            #expect(try await dig("127.0.0.1", daemon.port, "-b", "127.0.3.9", "a.lab", way) == "10.0.0.1\n")
        }
        #expect(try await dig("127.0.1.2", two, "a.lab", "AAAA") == "")
        let line = try await daemon.lookup("a.lab.", "AAAA")
        #expect(line["view"] as? String == "two" && line["source"] as? String == "hosts")

        // Its own servers' answers are kept apart from the others'.
        for _ in 0..<2 {
            #expect(try await dig("127.0.0.1", daemon.port, "-b", "127.0.3.9", "www.shop.lab") == "192.0.2.2\n")
            #expect(try await dig("127.0.0.1", daemon.port, "www.shop.lab") == "192.0.2.1\n")
            #expect(try await dig("127.0.1.1", one, "www.shop.lab") == "192.0.2.1\n")
        }
        #expect(upstream.questions() == 1 && other.questions() == 1)
        let log = try await run("log", "view:three", "--json")
        #expect(log.code == 0)
        let lines = log.output.split(separator: "\n")
        #expect(
            lines.count == 4 && lines.allSatisfy { $0.contains("\"view\":\"three\"") }, "\(log.output)\(log.errors)")
        #expect(try await run("flush").output.contains("2"))
        #expect(try await daemon.stop() == 0)
    }

    @Test("Edited views are in force at once, with their addresses")
    func edited() async throws {
        let port = try freePort()
        let daemon = try await daemon(
            "  one: {listen: [\"127.0.1.1:\(port)\"], hosts: {files: [\(folder.file("one.hosts"))]}}\n")
        #expect(try await dig("127.0.1.1", port, "a.lab") == "10.0.0.2\n")
        try folder.write("10.0.0.9 a.lab\n", to: "one.hosts")
        try await asking("its hosts file is read again") { try await dig("127.0.1.1", port, "a.lab") == "10.0.0.9\n" }
        try folder.write(
            """
            hosts.files: [\(folder.file("base.hosts"))]
            views:
              one: {listen: ["127.0.1.3:\(port)"], hosts: {files: [\(folder.file("one.hosts"))]}}

            """, to: "new.yaml")
        #expect(rename(folder.file("new.yaml"), folder.file("stub53.yaml")) == 0)
        try await asking("it is asked elsewhere") { try await dig("127.0.1.3", port, "a.lab") == "10.0.0.9\n" }
        #expect(
            try await Command.run(
                ["@127.0.1.1", "-p", "\(port)", "+tries=1", "+time=1", "a.lab"],
                executable: URL(filePath: "/usr/bin/dig")
            ).code != 0)
        #expect(try await daemon.stop() == 0)
    }

    @Test("Four workers of a test run, each with answers of its own, for a while")
    func leased() async throws {
        let daemon = try await daemon("  file: {clients: [127.0.9.0/24]}\n")
        var ports: [UInt16] = []
        for worker in 1...4 {
            let hosts = try folder.write("10.1.0.\(worker) a.lab\n", to: "w\(worker).hosts")
            let added = try await run(
                "view", "add", "worker\(worker)", "--listen", "127.0.1.\(worker):0", "--hosts", hosts, "--for", "1h")
            #expect(added.code == 0, "\(added.errors)")
            let address = added.output.split(separator: " ").first { $0.hasPrefix("127.0.1.") } ?? ""
            ports.append(try #require(UInt16(address.split(separator: ":").last ?? "")))
        }
        for worker in 1...4 {
            #expect(try await dig("127.0.1.\(worker)", ports[worker - 1], "a.lab") == "10.1.0.\(worker)\n")
            #expect(try await dig("127.0.1.\(worker)", ports[worker - 1], "a.lab", "+tcp") == "10.1.0.\(worker)\n")
        }
        // A rule for one of them.
        #expect(try await run("rule", "add", "a.lab A nxdomain view=worker2").code == 0)
        #expect(try await dig("127.0.1.2", ports[1], "a.lab") == "")
        #expect(try await dig("127.0.1.3", ports[2], "a.lab") == "10.1.0.3\n")
        // A reload keeps them, and reads their files.
        try folder.write("10.2.0.3 a.lab\n", to: "w3.hosts")
        #expect(try await run("reload").code == 0)
        #expect(try await dig("127.0.1.3", ports[2], "a.lab") == "10.2.0.3\n")
        #expect(try await run("view", "list").output.split(separator: "\n").count == 5)
        #expect(try await run("view", "remove", "worker3").code == 0)
        #expect(try await run("view", "remove", "worker3").code == 1)
        #expect(
            try await Command.run(
                ["@127.0.1.3", "-p", "\(ports[2])", "+tries=1", "+time=1", "a.lab"],
                executable: URL(filePath: "/usr/bin/dig")
            ).code != 0)
        for (words, says) in [
            (["file", "--listen", "127.0.1.9:0"], "is a view of the configuration file"),
            (["a b", "--listen", "127.0.1.9:0"], "is no name of a view"),
            (["x"], "nobody would be answered"), (["x", "--listen", "nonsense"], "is not an IP address"),
            (["x", "--client", "10.0.0.0/40"], "is no network"),
            (["x", "--listen", "127.0.1.9:0", "--hosts", "/nonexistent"], "can't be read"),
            (["x", "--listen", "127.0.0.1:\(upstream.port)"], "is taken by"),
        ] {
            let result = try await Command.run(["view", "add"] + words + ["--control", control])
            #expect(result.code == 1 && result.errors.contains(says), "\(words): \(result.errors)")
        }
        #expect(try await run("view", "add", "short", "--listen", "127.0.1.8:0", "--for", "1s").code == 0)
        _ = try await daemon.program.errors.first { $0.contains("short has ended") }
        #expect(try await daemon.stop() == 0)
    }

    @Test("A view may be asked where the daemon is asked, by some clients")
    func sharedAddress() async throws {
        let port = try freePort()
        let file = try folder.write(
            """
            views:
              one: {listen: ["127.0.0.1:\(port)"], clients: [127.0.3.0/24], hosts: {files: [\(folder.file("one.hosts"))]}}

            """, to: "shared.yaml")
        let daemon = try await DaemonProcess(
            [
                "--config", file, "--hosts", folder.file("base.hosts"), "--zones", folder.file("zones"),
                "--no-upstream", "--listen", "127.0.0.1:\(port)", "--control", control,
            ])
        _ = try await daemon.output.first { $0.hasPrefix("control") }
        for way in ["+notcp", "+tcp"] {
            #expect(try await dig("127.0.0.1", port, "a.lab", way) == "10.0.0.1\n")
            #expect(try await dig("127.0.0.1", port, "-b", "127.0.3.4", "a.lab", way) == "10.0.0.2\n")
        }
        // An address that can't be had leaves nothing open.
        let wrong = try await run(
            "view", "add", "two", "--listen", "127.0.1.1:0", "--listen", "192.0.2.99:\(port)", "--client", "10.0.0.0/8")
        #expect(wrong.code == 1, "\(wrong.output)")
        #expect(try await run("view", "list").output.split(separator: "\n").count == 1)
        #expect(try await daemon.stop() == 0)
    }

    @Test("A bad view is told with its line; the number of views is bounded")
    func problems() async throws {
        let many = (0..<1100).map { "  v\($0): {clients: [10.0.0.0/8]}\n" }.joined()
        for (views, says) in [
            ("  one: {listen: [127.0.0.9], cache: {size: 1M}}\n", "a view has no such setting"),
            ("  one: {listen: [127.0.0.9], hsts: {ttl: 1}}\n", "views.one.hsts: a view has no such setting"),
            ("  one: {}\n", "nobody would be answered"),
            ("  'a b': {listen: [127.0.0.9]}\n", "no name of a view"), ("  one: {clients: [x]}\n", "is no network"),
            ("  one: {listen: ['tls://127.0.0.9']}\n", "is asked over UDP and TCP"), (many, "more than 1000 views"),
        ] {
            let file = try folder.write("views:\n\(views)", to: "bad.yaml")
            let check = try await Command.run(
                ["check", "--config", file, "--no-hosts", "--zones", folder.file("zones")])
            #expect(check.code != 0 && (check.errors + check.output).contains(says), "\(check.errors)\(check.output)")
        }
    }
}
