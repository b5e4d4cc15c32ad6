import Foundation
import TestSupport
import Testing

/// Debian's dnstap tools read what the daemon sends.
@Suite("dnstap", .serialized)
struct DnstapTests {
    private let folder: TemporaryFolder
    private let upstream: ScriptedServer

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
        upstream = try ScriptedServer { query, transport in
            let isLarge = String(decoding: query, as: UTF8.self).contains("large")
            return .send(isLarge && transport == .udp ? Reply.truncated(query) : Reply.addresses(query))
        }
    }

    /// By default upstream is asked over TCP, where no question is repeated because of a late answer.
    private func daemon(
        _ destinations: [String], _ more: [String] = [], overUDP: Bool = false, behind wrapper: [String] = []
    ) async throws -> DaemonProcess {
        try await DaemonProcess(
            [
                "--hosts", folder.file("hosts"), "--zones", folder.path, "--upstream",
                "\(overUDP ? "" : "tcp://")127.0.0.1:\(upstream.port)",
            ] + destinations.flatMap { ["--dnstap", $0] } + more,
            behind: wrapper + ["/usr/bin/env", "STATE_DIRECTORY=\(folder.file("state"))"])
    }

    private static func run(_ program: String, _ words: [String]) async throws -> Command.Result {
        try await Command.run(words, executable: URL(filePath: "/usr/bin/\(program)"))
    }

    /// The lines of `dnstap-ldns -q`: date, time, type, address, protocol, size, name, class, type.
    private static func lines(_ path: String) async throws -> [[String]] {
        try await run("dnstap-ldns", ["-q", "-r", path]).output.split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }
    }

    /// The messages of `dnstap-ldns -y`.
    private static func messages(_ path: String) async throws -> [String] {
        try await run("dnstap-ldns", ["-y", "-r", path]).output.components(separatedBy: "\n---\n")
            .filter { $0.contains("type: MESSAGE") }
    }

    /// Waits until a file has `count` frames for a name; a file that is not yet readable is tried again.
    private static func frames(_ count: Int, of name: String, in path: String) async throws {
        let end = ContinuousClock.now + .seconds(longestWait)
        while ContinuousClock.now < end {
            if try await lines(path).count(where: { $0.contains("\"\(name)\"") }) >= count { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw LineReader.Missing(description: "no \(count) frames of \(name) after \(longestWait) s")
    }

    @Test("a file has each lookup and each exchange with upstream, over UDP and TCP")
    func file() async throws {
        let path = folder.file("tap.fstrm")
        let daemon = try await daemon([path], overUDP: true)
        #expect(try await daemon.dig("over.acme.org", "+short") == "127.0.0.14\n")
        #expect(try await daemon.dig("over.acme.org", "HTTPS", "+tcp", "+short") == "")
        #expect(try await daemon.dig("www.example.net", "+short", "+dnssec") == "192.0.2.1\n")
        #expect(try await daemon.dig("large.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.stop() == 0)

        let lines = try await Self.lines(path).map { $0.dropFirst(2) }
        let messages = try await Self.messages(path)
        #expect(messages.count == lines.count)
        func count(_ kind: String, _ transport: String, _ name: String, _ type: String) -> Int {
            lines.count { $0.first == kind && $0.contains(transport) && $0.contains("\"\(name)\"") && $0.last == type }
        }
        for kind in ["CQ", "CR"] {
            #expect(count(kind, "UDP", "over.acme.org.", "A") == 1)
            #expect(count(kind, "TCP", "over.acme.org.", "HTTPS") == 1)
            #expect(count(kind, "UDP", "www.example.net.", "A") == 1)
        }
        // A question repeated because of a late answer appears twice.
        for kind in ["FQ", "FR"] {
            #expect(count(kind, "UDP", "www.example.net.", "A") >= 1)
            #expect(count(kind, "UDP", "large.example.net.", "A") >= 1)
            #expect(count(kind, "TCP", "large.example.net.", "A") == 1)
        }
        let clients = lines.count { $0.first?.first == "C" }
        #expect(clients == 8 && lines.count >= clients + 6, "\(lines)")

        #expect(messages.allSatisfy { $0.contains("version: \"stub53 ") && $0.contains("identity: \"") })
        let answered = try #require(
            messages.first {
                $0.contains("CLIENT_RESPONSE") && $0.contains("socket_protocol: UDP") && $0.contains("over.acme.org")
            })
        #expect(
            answered.contains("over.acme.org.\t0\tIN\tA\t127.0.0.14")
                && answered.contains("query_address: \"127.0.0.1\""))
        #expect(answered.contains("qr aa rd ra") && answered.contains("EDNS: version 0"))
        let signed = try #require(
            messages.first { $0.contains("CLIENT_QUERY") && $0.contains(";www.example.net.\tIN\tA") })
        #expect(signed.contains("flags: do"))
        let forwarded = try #require(
            messages.first {
                $0.contains("FORWARDER_RESPONSE") && $0.contains("www.example.net.\t60\tIN\tA\t192.0.2.1")
            })
        #expect(forwarded.contains("response_port: \(upstream.port)") && forwarded.contains("query_port: "))
        #expect(forwarded.contains("query_time: ") && forwarded.contains("response_time: "))

        let dump = try await Self.run("fstrm_dump", [path])
        #expect(dump.code == 0)
        #expect((dump.output + dump.errors).contains("protobuf:dnstap.Dnstap"))
        #expect((dump.output + dump.errors).contains("FSTRM_CONTROL_STOP"))
    }

    @Test("lookups over TLS and HTTPS are marked as such")
    func encrypted() async throws {
        let path = folder.file("tap.fstrm")
        let daemon = try await daemon([path], ["--listen", "tls://127.0.0.1:0", "--listen", "https://127.0.0.1:0"])
        for (transport, word) in [(" dot", "+tls"), (" doh", "+https")] {
            let line = try await daemon.output.first { $0.contains(transport) }
            let address = line.split(separator: " ").first { $0.hasPrefix("127.0.0.1:") }
            let port = try #require(address?.split(separator: ":").last)
            let answer = try await Self.run("kdig", ["@127.0.0.1", "-p", "\(port)", word, "+short", "over.acme.org"])
            #expect(answer.output == "127.0.0.14\n")
        }
        #expect(try await daemon.stop() == 0)
        // This dnstap-ldns has no name for them, but the field is set.
        let lines = try await Self.lines(path)
        #expect(lines.map { $0[2] } == ["CQ", "CR", "CQ", "CR"] && lines.allSatisfy { $0[4] == "?" }, "\(lines)")
        let dump = try await Self.run("fstrm_dump", [path])
        for start in [#"\x08\x05\x10\x01\x18\x03"#, #"\x08\x05\x10\x01\x18\x04"#] {
            #expect(dump.output.contains(start) || dump.errors.contains(start), "\(dump)")
        }
    }

    /// Runs `fstrm_capture` on a Unix socket or a TCP port.
    private func collector(_ place: [String], _ name: String) throws -> ProgramProcess {
        // It handles SIGTERM only if the signal was not blocked before.
        try ProgramProcess(
            "/usr/bin/env",
            ["--default-signal=TERM", "fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-w", folder.file(name)] + place)
    }

    @Test("fstrm_capture collects over a Unix socket and TCP at once, and gets the end")
    func collectors() async throws {
        let port = try freePort()
        let unix = try collector(["-u", folder.file("sock")], "unix.fstrm")
        let tcp = try collector(["-a", "127.0.0.1", "-p", "\(port)"], "tcp.fstrm")
        for one in [unix, tcp] { _ = try await one.errors.first(containing: "opened output file") }
        let daemon = try await daemon(["unix:\(folder.file("sock"))", "tcp:127.0.0.1:\(port)"])
        for index in 0..<20 { #expect(try await daemon.dig("n\(index).example.net", "+short") == "192.0.2.1\n") }
        #expect(try await daemon.stop() == 0)
        for (one, name) in [(unix, "unix.fstrm"), (tcp, "tcp.fstrm")] {
            one.signal(SIGTERM)
            _ = try await one.errors.first(containing: "wrote 82 frames")
            #expect(try await Self.lines(folder.file(name)).count == 80)
        }
        #expect(!daemon.errors.all.contains { $0.contains("dnstap") }, "\(daemon.errors.all)")
    }

    @Test("a collector that starts late, or restarts, gets frames again; lookups are answered meanwhile")
    func reconnection() async throws {
        let daemon = try await daemon(["unix:\(folder.file("sock"))"])
        _ = try await daemon.errors.first(containing: "can't be reached: No such file or directory; frames wait")
        #expect(try await daemon.dig("early.example.net", "+short") == "192.0.2.1\n")
        let first = try collector(["-u", folder.file("sock")], "first.fstrm")
        var said = daemon.errors.all.count
        _ = try await daemon.errors.first(containing: ": works again")
        first.signal(SIGKILL)
        _ = try await first.exitCode()
        _ = try await daemon.errors.first(from: said, containing: "has closed the connection")
        #expect(try await daemon.dig("meanwhile.example.net", "+short") == "192.0.2.1\n")
        try FileManager.default.removeItem(atPath: folder.file("sock"))
        said = daemon.errors.all.count
        let second = try collector(["-u", folder.file("sock")], "second.fstrm")
        _ = try await daemon.errors.first(from: said, containing: ": works again")
        #expect(try await daemon.dig("late.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.stop() == 0)
        second.signal(SIGTERM)
        _ = try await second.exitCode()
        let names = try await Self.lines(folder.file("second.fstrm")).map { $0[6] }
        for name in ["meanwhile", "late"] { #expect(names.count { $0 == "\"\(name).example.net.\"" } == 4, "\(names)") }
    }

    @Test("SIGHUP ends a renamed file and starts another")
    func hangup() async throws {
        let path = folder.file("tap.fstrm")
        let daemon = try await daemon([path])
        #expect(try await daemon.dig("one.example.net", "+short") == "192.0.2.1\n")
        try await Self.frames(4, of: "one.example.net.", in: path)
        #expect(rename(path, path + ".old") == 0)
        daemon.program.signal(SIGHUP)
        try await eventually("a new file") { FileManager.default.fileExists(atPath: path) }
        #expect(try await daemon.dig("two.example.net", "+short") == "192.0.2.1\n")
        #expect(try await daemon.stop() == 0)
        for (file, name) in [(path + ".old", "one"), (path, "two")] {
            let lines = try await Self.lines(file)
            #expect(lines.count == 4 && lines.allSatisfy { $0[6] == "\"\(name).example.net.\"" })
            let dump = try await Self.run("fstrm_dump", [file])
            #expect((dump.output + dump.errors).contains("FSTRM_CONTROL_STOP"))
        }
    }

    @Test("a full file is renamed, and all files are complete")
    func rotation() async throws {
        let path = folder.file("tap.fstrm")
        let settings = try folder.write("dnstap: {max-size: 64k, keep: 20}\n", to: "stub53.yaml")
        let daemon = try await daemon([path], ["--config", settings])
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<1000 as Range<UInt16> {
            client.send(Wire.query("over.acme.org.", id: id))
            _ = try #require(try await client.receive())
        }
        #expect(try await daemon.stop() == 0)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            $0.hasPrefix("tap.fstrm")
        }
        #expect(files.count >= 3)
        var count = 0
        for file in files {
            count += try await Self.lines(folder.file(file)).count
            #expect(try await Self.run("fstrm_dump", [folder.file(file)]).code == 0)
        }
        #expect(count == 2000)
    }

    @Test("a file survives kill -9, readable to the last frame; the next start does not change it")
    func killed() async throws {
        let path = folder.file("tap.fstrm")
        let daemon = try await daemon([path])
        for index in 0..<10 { #expect(try await daemon.dig("n\(index).example.net", "+short") == "192.0.2.1\n") }
        try await Self.frames(4, of: "n9.example.net.", in: path)
        daemon.program.signal(SIGKILL)
        _ = try await daemon.program.exitCode()
        #expect(try await Self.lines(path).count == 40)
        let left = try Data(contentsOf: URL(filePath: path))
        let next = try await self.daemon([path])
        #expect(try await next.dig("next.example.net", "+short") == "192.0.2.1\n")
        #expect(try await next.stop() == 0)
        #expect(try Data(contentsOf: URL(filePath: path + ".1")) == left)
        #expect(try await Self.lines(path).count == 4)
    }

    @Test("a full disk is reported, lookups are answered, and no frame is lost or cut once there is room")
    func full() async throws {
        let path = folder.file("tap.fstrm")
        // Simulates a full disk: files can't grow beyond this, in the middle of a frame.
        let daemon = try await daemon([path], ["--log", "none"], behind: ["/usr/bin/prlimit", "--fsize=2000:"])
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<100 as Range<UInt16> {
            client.send(Wire.query("over.acme.org.", id: id))
            _ = try #require(try await client.receive())
        }
        _ = try await daemon.errors.first(containing: "can't be written: File too large; frames wait")
        let raised = try await Self.run("prlimit", ["--fsize=unlimited", "--pid", "\(daemon.program.identifier)"])
        #expect(raised.code == 0, "\(raised.errors)")
        _ = try await daemon.errors.first(containing: ": works again")
        #expect(try await daemon.stop() == 0)
        #expect(try await Self.lines(path).count == 200)
    }

    @Test("the metrics count frames sent and lost per destination")
    func metrics() async throws {
        let path = folder.file("tap.fstrm")
        let nobody = "tcp:127.0.0.1:\(try freePort())"
        let daemon = try await daemon([path, nobody], ["--control", folder.file("control.sock")])
        #expect(try await daemon.dig("over.acme.org", "+short") == "127.0.0.14\n")
        try await Self.frames(2, of: "over.acme.org.", in: path)
        let text = try await Command.run(["stats", "--metrics", "--control", folder.file("control.sock")]).output
        try folder.write(text, to: "metrics")
        let check = try await Command.run(
            ["-c", "promtool check metrics < \(folder.file("metrics"))"], executable: URL(filePath: "/bin/sh"))
        #expect(check.code == 0 && check.errors.isEmpty, "\(check.errors)")
        for line in [
            "stub53_dnstap_frames_total{destination=\"\(path)\"} 2", "stub53_dnstap_up{destination=\"\(path)\"} 1",
            "stub53_dnstap_frames_total{destination=\"\(nobody)\"} 0", "stub53_dnstap_up{destination=\"\(nobody)\"} 0",
            "stub53_dnstap_lost_total{destination=\"\(nobody)\"} 0",
        ] {
            #expect(text.contains(line + "\n"), "\(line)")
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("an unwritable file is a configuration error; a missing collector is not")
    func unusable() async throws {
        let result = try await Command.run([
            "serve", "--no-hosts", "--no-upstream", "--listen", "127.0.0.1:0", "--inspector", "off", "--control", "off",
            "--history", "off", "--dnstap", folder.file("no/tap.fstrm"),
        ])
        #expect(result.code == 78)
        #expect(
            result.errors.contains(
                "dnstap \(folder.file("no/tap.fstrm")): can't be written: No such file or directory; name a file"))
        let daemon = try await daemon(["tcp:127.0.0.1:\(try freePort())"])
        _ = try await daemon.errors.first(containing: "can't be reached: Connection refused; frames wait")
        #expect(try await daemon.dig("over.acme.org", "+short") == "127.0.0.14\n")
        #expect(try await daemon.stop() == 0)
        #expect(daemon.errors.all.contains { $0.contains("2 frames were lost") })
    }
}
