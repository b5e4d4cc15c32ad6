import Foundation
import Synchronization
import TestSupport
import Testing

/// The running daemon's configuration changes: it applies what it can, and reports what needs a restart.
@Suite("A running daemon whose configuration changes", .serialized)
struct ReloadSettingsTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.test\n", to: "hosts")
        try FileManager.default.createDirectory(atPath: folder.file("zones"), withIntermediateDirectories: false)
    }

    private var file: String { folder.file("stub53.yaml") }

    private func daemon(_ configuration: String, _ more: String...) async throws -> DaemonProcess {
        try folder.write(configuration, to: "stub53.yaml")
        return try await DaemonProcess(
            ["--config", file, "--hosts", folder.file("hosts"), "--zones", folder.file("zones")] + more)
    }

    /// Writes the configuration, and waits for the daemon's message about it.
    private func change(
        _ daemon: DaemonProcess, _ configuration: String, saying text: String = "reload "
    ) async throws -> String {
        let before = daemon.errors.all.count
        let beside = try folder.write(configuration, to: "new")
        #expect(rename(beside, file) == 0)
        return try await daemon.errors.first(from: before) { $0.hasPrefix("reload ") && $0.contains(text) }
    }

    private func upstream(_ octet: UInt8) throws -> ScriptedServer {
        try ScriptedServer { query, _ in .send(Reply.addresses(query, [[192, 0, 2, octet]])) }
    }

    @Test("asks the new upstream servers, and forgets the old ones' answers")
    func servers() async throws {
        let (one, two) = (try upstream(1), try upstream(2))
        let daemon = try await daemon("upstream.servers: 127.0.0.1:\(one.port)\n")
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.1\n")
        let said = try await change(daemon, "upstream.servers: 127.0.0.1:\(two.port)\n")
        #expect(said.contains(" -> 127.0.0.1:\(two.port)") && said.contains("cache emptied"), "\(said)")
        let before = daemon.output.all.count
        #expect(try await daemon.dig("www.example.net", "+short") == "192.0.2.2\n")
        let line = try await daemon.lookup("www.example.net.", "A", from: before)
        #expect(line["upstream"] as? String == "127.0.0.1:\(two.port)/udp")
        #expect(try await daemon.stop() == 0)
    }

    @Test("asks the new servers what the old ones have not answered, once per client")
    func inFlight() async throws {
        let (silent, lively) = (try ScriptedServer { _, _ in .silence }, try upstream(2))
        let daemon = try await daemon("upstream.servers: 127.0.0.1:\(silent.port)\nupstream.timeout: 60s\n")
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<50 as Range<UInt16> { client.send(Wire.query("n\(id % 40).example.net.", id: id)) }
        try await eventually("upstream is asked") { silent.questions() == 40 }
        _ = try await change(daemon, "upstream.servers: 127.0.0.1:\(lively.port)\nupstream.timeout: 60s\n")
        var seen: [UInt16] = []
        for _ in 0..<50 {
            let answer = try #require(try await client.receive())
            #expect(Wire.answers(answer) == 1)
            seen.append(Wire.id(answer))
        }
        #expect(seen.sorted() == Array(0..<50))
        #expect(try await daemon.stop() == 0)
        #expect(client.takeNow() == nil)
    }

    @Test("starts and stops forwarding")
    func onAndOff() async throws {
        let one = try upstream(1)
        let daemon = try await daemon("upstream.servers: none\n")
        var answer = try await daemon.dig("www.example.net")
        #expect(
            answer.contains("status: REFUSED") && answer.contains("EDE: 20") && !answer.contains(" ra"), "\(answer)")
        _ = try await change(daemon, "upstream.servers: 127.0.0.1:\(one.port)\n")
        answer = try await daemon.dig("www.example.net")
        #expect(answer.contains("status: NOERROR") && answer.contains("flags: qr rd ra;"), "\(answer)")
        _ = try await change(daemon, "upstream.servers: none\n")
        #expect(try await daemon.dig("www.example.net").contains("status: REFUSED"))
    }

    @Test("with routes only, refuses other names with EDE 20")
    func routes() async throws {
        let one = try upstream(1)
        let daemon = try await daemon("upstream.servers: [none, corp.example=127.0.0.1:\(one.port)]\n")
        for name in ["www.example.net", "example", "xcorp.example"] {
            let answer = try await daemon.dig(name)
            #expect(answer.contains("status: REFUSED") && answer.contains("EDE: 20"), "\(name): \(answer)")
        }
        #expect(try await daemon.dig("www.corp.example", "+short") == "192.0.2.1\n")
        #expect(try await daemon.dig("CORP.EXAMPLE", "+short") == "192.0.2.1\n")
        #expect(one.questions() == 2)
    }

    @Test("applies other settings too")
    func settings() async throws {
        let daemon = try await daemon("version: one\nhosts.ttl: 5\n", "--no-upstream")
        #expect(try await daemon.dig("version.bind", "CH", "TXT", "+short") == "\"one\"\n")
        _ = try await change(daemon, "version: two\nhosts.ttl: 7\nspecial.localhost: no\ntcp.idle-timeout: 2s\n")
        #expect(try await daemon.dig("version.bind", "CH", "TXT", "+short") == "\"two\"\n")
        #expect(try await daemon.dig("over.test", "+noall", "+answer").contains("\t7\tIN\tA\t127.0.0.14"))
        #expect(try await daemon.dig("localhost").contains("status: REFUSED"))
        #expect(try await daemon.dig("over.test", "+tcp", "+keepalive").contains("2.0 secs"))
    }

    @Test("reports what needs a restart, and keeps running with the old values")
    func restart() async throws {
        let daemon = try await daemon("workers: 1\n", "--no-upstream")
        let said = try await change(daemon, "workers: 2\nlog.file: \(folder.file("log"))\nversion: two\n")
        #expect(said.contains("workers, log.file changed, which needs a restart"), "\(said)")
        #expect(try await daemon.dig("version.bind", "CH", "TXT", "+short") == "\"two\"\n")
        #expect(!FileManager.default.fileExists(atPath: folder.file("log")))
    }

    @Test("reopens the log in use on SIGHUP, even if another one is configured by now")
    func logInUse() async throws {
        let (log, other) = (folder.file("log"), folder.file("other"))
        let daemon = try await daemon("log.file: \(log)\n", "--no-upstream")
        _ = try await change(daemon, "log.file: \(other)\n", saying: "log.file changed, which needs a restart")
        #expect(rename(log, log + ".1") == 0)
        daemon.program.signal(SIGHUP)
        _ = try await daemon.errors.first(containing: "SIGHUP: ")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        #expect(try await daemon.stop() == 0)
        #expect(try String(contentsOfFile: log, encoding: .utf8).contains("over.test."))
        #expect(!FileManager.default.fileExists(atPath: other))
    }

    @Test("reports that history, control socket and inspector need a restart; who gets reasons changes at once")
    func inspection() async throws {
        func configuration(_ more: String) -> String {
            "listen: 127.0.0.1:0\nupstream.servers: none\nhosts.files: \(folder.file("hosts"))\n"
                + "zones.folders: \(folder.file("zones"))\nlog.format: json\nhistory.path: off\n" + more
        }
        try folder.write(configuration("control: off\ninspector: off\n"), to: "stub53.yaml")
        let program = try ProgramProcess(Command.executable.path, ["serve", "--config", file])
        let ready = try await program.output.first { $0.hasPrefix("ready") }
        let port = try #require(ready.split(separator: " ")[1].split(separator: ":").last)
        func reason() async throws -> Bool {
            try await Command.run(
                ["@127.0.0.1", "-p", "\(port)", "over.test"], executable: URL(filePath: "/usr/bin/dig")
            ).output.contains("(hosts ")
        }
        #expect(try await reason())
        let beside = try folder.write(
            configuration(
                "control: \(folder.file("c"))\ninspector: 127.0.0.1:0\nhistory.max-age: 1d\nexplain: off\n"),
            to: "new")
        #expect(rename(beside, file) == 0)
        let said = try await program.errors.first { $0.hasPrefix("reload ") }
        #expect(said.hasSuffix(", history.max-age, control, inspector changed, which needs a restart"), "\(said)")
        #expect(try await !reason())
        #expect(!FileManager.default.fileExists(atPath: folder.file("c")))
        program.signal(SIGTERM)
        #expect(try await program.exitCode() == 0)
    }

    @Test("keeps all settings if one is wrong, and reports it; files are loaded nevertheless")
    func wrong() async throws {
        let daemon = try await daemon("version: one\n", "--no-upstream")
        try folder.write("127.0.0.15 over.test\n", to: "hosts")
        _ = try await change(daemon, "version: two\nhosts.ttl: soon\n", saying: "settings kept as they were")
        #expect(daemon.errors.all.contains { $0.hasPrefix("\(file):2: hosts.ttl: 'soon'") })
        #expect(try await daemon.dig("version.bind", "CH", "TXT", "+short") == "\"one\"\n")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.15\n")
    }

    @Test("keeps its settings if their file loses them all, and reports it")
    func empty() async throws {
        let upstream = try upstream(9)
        let settings = "hosts.files: \(folder.file("hosts"))\nupstream.servers: 127.0.0.1:\(upstream.port)\n"
        try folder.write(settings, to: "stub53.yaml")
        let daemon = try await DaemonProcess(["--config", file, "--zones", folder.file("zones")])
        for text in ["", "# nothing\n", "---\n", "{}\n"] {
            _ = try await change(daemon, text, saying: "settings kept as they were")
            #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n", "\(text)")
        }
        // In place, as a shell does it; and a pipe without a writer.
        var before = daemon.errors.all.count
        try Data().write(to: URL(filePath: file))
        _ = try await daemon.errors.first(from: before, containing: "settings kept as they were")
        before = daemon.errors.all.count
        try #require(mkfifo(folder.file("pipe"), 0o600) == 0 && rename(folder.file("pipe"), file) == 0)
        _ = try await daemon.errors.first(from: before, containing: "settings kept as they were")
        #expect(daemon.errors.all.contains { $0.hasPrefix("\(file): has no settings any more") })
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        #expect(upstream.questions() == 0)
        // And back.
        try folder.write("127.0.0.15 over.test\n", to: "others")
        _ = try await change(daemon, settings.replacing("hosts\n", with: "others\n"), saying: "overrides")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.15\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("notices its file in a folder where other files change constantly")
    func busyFolder() async throws {
        let daemon = try await daemon("", "--no-upstream")
        let goesOn = Atomic<Bool>(true)
        let other = folder.file("other")
        Thread.detachNewThread {
            while goesOn.load(ordering: .relaxed) {
                close(open(other, O_WRONLY | O_CREAT, 0o644))
                usleep(500)
            }
        }
        defer { goesOn.store(false, ordering: .relaxed) }
        try folder.write("127.0.0.15 over.test\n", to: "hosts")
        _ = try await daemon.errors.first(containing: "reload ")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.15\n")
    }

    @Test("notices a file whose folder is created later")
    func laterFolder() async throws {
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("later/still/hosts"), "--zones", folder.file("zones"), "--no-upstream",
        ])
        let beside = try folder.write("127.0.0.18 later.test\n", to: "beside/still/hosts")
        #expect(beside.hasSuffix("hosts") && rename(folder.file("beside"), folder.file("later")) == 0)
        _ = try await daemon.errors.first(containing: "reload ")
        #expect(try await daemon.dig("later.test", "+short") == "127.0.0.18\n")
        _ = try folder.write("127.0.0.19 later.test\n", to: "later/still/hosts")
        try await eventually("the edit") { daemon.errors.all.count { $0.hasPrefix("reload ") } >= 2 }
        #expect(try await daemon.dig("later.test", "+short") == "127.0.0.19\n")
    }

    @Test("survives SIGHUP during loading, and waits for a slow pipe, whose data then stays")
    func pipe() async throws {
        let fifo = folder.file("fifo")
        #expect(mkfifo(fifo, 0o600) == 0)
        let writer = open(fifo, O_RDWR)
        let program = try ProgramProcess(
            Command.executable.path,
            [
                "serve", "--listen", "127.0.0.1:0", "--hosts", fifo, "--zones", folder.file("zones"), "--no-upstream",
                "--log",
                "none",
            ] + Command.apart)
        let descriptors = "/proc/\(program.identifier)/fd"
        let text = "127.0.0.18 piped.test\n"
        // On its own thread, because the daemon does not wait for ever.
        let hasWritten = try await blocking {
            for _ in 0..<30_000 {
                let open = try FileManager.default.contentsOfDirectory(atPath: descriptors).contains {
                    (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(descriptors)/\($0)")) == fifo
                }
                if open {
                    program.signal(SIGHUP)
                    defer { close(writer) }
                    return write(writer, text, text.utf8.count) == text.utf8.count
                }
                usleep(2000)
            }
            return false
        }
        #expect(hasWritten)
        let ready = try await program.output.first { $0.hasPrefix("ready") }
        let port = try #require(ready.split(separator: " ")[1].split(separator: ":").last.flatMap { UInt16($0) })
        let client = try DatagramClient(port: port)
        for id in 0..<2 as Range<UInt16> {
            client.send(Wire.query("piped.test.", id: id))
            #expect(try await client.receive().map(Wire.answers) == 1)
            program.signal(SIGHUP)
            try await eventually("reload") { program.errors.all.count { $0.hasPrefix("reload ") } > id }
        }
        program.signal(SIGTERM)
        #expect(try await program.exitCode() == 0)
    }

    @Test("also logs queries that find no room to wait for upstream")
    func noRoom() async throws {
        let silent = try ScriptedServer { _, _ in .silence }
        let daemon = try await daemon(
            "upstream:\n  servers: 127.0.0.1:\(silent.port)\n  max-in-flight: 1\n  timeout: 500ms\n")
        let client = try DatagramClient(port: daemon.port)
        for id in 0..<200 as Range<UInt16> { client.send(Wire.query("n\(id).example.net.", id: id)) }
        for _ in 0..<200 { #expect(try await client.receive().map(Wire.code) == 2) }
        #expect(try await daemon.stop() == 0)
        #expect(daemon.output.all.count { $0.contains(".example.net.") } == 200)
    }
}
