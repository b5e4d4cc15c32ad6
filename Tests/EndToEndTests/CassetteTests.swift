import Foundation
import Synchronization
import TestSupport
import Testing

/// `--record` and `--replay`.
@Suite("A cassette")
struct CassetteTests {
    private let folder: TemporaryFolder
    private let cassette: String

    init() throws {
        folder = try TemporaryFolder()
        cassette = folder.file("run.cassette")
    }

    /// A server whose `flaky` names fail once, and whose others have an address; all else is an error.
    fileprivate static func server() throws -> ScriptedServer {
        let asked = Counter()
        return try ScriptedServer { query, _ in
            let name = String(decoding: query[12...].filter { (0x61...0x7A).contains($0) }, as: UTF8.self)
            if name.contains("flaky"), asked.next(name) == 1 { return .send(Reply.error(query, 2)) }
            if name.contains("gone") { return .send(Reply.error(query, 3)) }
            if name.contains("turning") {
                return .send(Reply.addresses(query, [[192, 0, 2, UInt8(asked.next(name))]], ttl: 600))
            }
            return .send(Reply.addresses(query, [[192, 0, 2, 1], [192, 0, 2, 2]], ttl: 600))
        }
    }

    private final class Counter: Sendable {
        private let counts = Mutex<[String: Int]>([:])
        func next(_ name: String) -> Int {
            counts.withLock {
                $0[name, default: 0] += 1
                return $0[name]!
            }
        }
    }

    fileprivate func daemon(_ more: String...) async throws -> DaemonProcess {
        // Failures are not kept, so that a question can be asked again at once.
        try await DaemonProcess(["--no-hosts", "--cache-size", "0"] + more)
    }

    /// The messages of the questions, in order, without what differs in each exchange.
    fileprivate func messages(_ daemon: DaemonProcess, _ questions: [(String, UInt8)]) async throws -> [[UInt8]] {
        try await blocking {
            let client = try DatagramClient(port: daemon.port)
            return try questions.map { name, type in
                #expect(client.send(Wire.query(name, type: type, id: 7)))
                return Array(try #require(client.receiveNow()).dropFirst(2))
            }
        }
    }

    private static let questions: [(String, UInt8)] = [
        ("www.example.net", 1), ("flaky.example.net", 1), ("flaky.example.net", 1), ("gone.example.net", 28),
        ("turning.example.net", 1), ("turning.example.net", 1), ("turning.example.net", 1),
    ]

    @Test("replays the same messages in the same order, without any server")
    func sameMessages() async throws {
        let upstream = try Self.server()
        let recording = try await daemon("--upstream", "127.0.0.1:\(upstream.port)", "--record", cassette)
        let recorded = try await messages(recording, Self.questions)
        #expect(try await recording.stop() == 0)
        let count = upstream.questions()
        #expect(recording.errors.all.last == "\(cassette): 7 replies recorded")

        let replaying = try await daemon("--no-upstream", "--replay", cassette)
        let replayed = try await messages(replaying, Self.questions)
        #expect(replayed == recorded)
        #expect(upstream.questions() == count)

        // The line of the reply is the answer's place.
        let line = try await replaying.lookup("www.example.net.", "A")
        let lines = try String(contentsOfFile: cassette, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let place = try #require((line["rule"] as? String)?.split(separator: ":").last.flatMap { Int($0) })
        #expect(line["source"] as? String == "upstream" && (line["rule"] as? String)?.hasPrefix(cassette) == true)
        #expect(lines[place - 1].hasPrefix("  reply 1 NOERROR ") && lines[place - 2] == "question www.example.net. A")
        #expect(try await replaying.dig("www.example.net").contains("(upstream \(cassette):\(place))"))
        withExtendedLifetime(upstream) {}
    }

    @Test("fails what it does not have, says so to the client, and lists it at the end")
    func unknown() async throws {
        try folder.write("stub53 cassette 1\nend\n", to: "run.cassette")
        let replaying = try await daemon("--replay", cassette)
        _ = try await replaying.output.first { $0 == "cassette   \(cassette) is replayed: 0 questions; others fail" }
        let answer = try await replaying.dig("www.example.net", "AAAA")
        #expect(answer.contains("status: SERVFAIL"), "\(answer)")
        #expect(answer.contains("EDE: 14 (Not Ready): (not in the cassette (upstream \(cassette)))"), "\(answer)")
        #expect(try await replaying.stop() == 0)
        #expect(
            replaying.errors.all.suffix(2) == [
                "\(cassette): one question is not in the cassette; to add replies, use --unknown record",
                "  www.example.net. AAAA",
            ])
    }

    @Test("gets replies to what it does not have from upstream, if that is asked for")
    func added() async throws {
        let upstream = try Self.server()
        try folder.write("stub53 cassette 1\nend\n", to: "run.cassette")
        let server = ["--upstream", "127.0.0.1:\(upstream.port)"]
        for (unknown, isAsked) in [("forward", true), ("record", true), ("fail", false)] {
            let before = upstream.count()
            let replaying = try await DaemonProcess(
                ["--no-hosts", "--replay", cassette, "--unknown", unknown] + server)
            #expect(try await replaying.dig("www.example.net", "+short") == "192.0.2.1\n192.0.2.2\n")
            #expect(try await replaying.stop() == 0)
            #expect((upstream.count() > before) == isAsked, "\(unknown)")
        }
    }

    @Test("is edited by hand, and the cache does not hide the next reply")
    func edited() async throws {
        try folder.write(
            """
            stub53 cassette 1
            question www.example.net. A
              reply 1 SERVFAIL 1ms udp
                ede 22 the lab is on fire
              reply 2 NOERROR 1ms udp
                answer www.example.net. 600 IN A 192.0.2.8
              reply 3 NOERROR 1ms udp
                answer www.example.net. 600 IN CNAME gone.example.net.
                answer gone.example.net. 600 IN A 192.0.2.9
            end

            """, to: "run.cassette")
        let socket = folder.file("control.sock")
        let replaying = try await DaemonProcess([
            "--no-hosts", "--no-upstream", "--replay", cassette, "--control", socket,
        ])
        #expect(try await replaying.dig("www.example.net").contains("the lab is on fire"))
        // Explained, but not taken.
        for _ in 0..<2 {
            let why = try await Command.run(["why", "www.example.net", "--control", socket]).output
            #expect(why.hasPrefix("www.example.net. A = 192.0.2.8    (upstream, \(cassette):5)"), "\(why)")
        }
        #expect(try await replaying.dig("www.example.net", "+short") == "192.0.2.8\n")
        for _ in 0..<2 {
            #expect(try await replaying.dig("www.example.net", "+short") == "gone.example.net.\n192.0.2.9\n")
        }
        let lines = replaying.output.all.filter { $0.contains("\"name\":\"www.example.net.\"") }
        #expect(lines.last?.contains("\"source\":\"cache\",\"rule\":\"\(cassette):7\"") == true, "\(lines)")
    }

    @Test("that can't be read is an error with file and line at start, and in 'check'")
    func unreadable() async throws {
        try folder.write("stub53 cassette 1\nquestion a. A\n  reply 1 NOERR\n", to: "run.cassette")
        let serve = try await Command.run(["serve", "--listen", "127.0.0.1:0", "--no-hosts", "--replay", cassette])
        #expect(serve.code == 78)
        #expect(serve.errors.contains("\(cassette):3: '1 NOERR' is no reply; one is NUMBER RCODE TIME TRANSPORT"))
        let check = try await Command.run(["check", "--no-hosts", "--replay", cassette])
        #expect(check.code == 1 && check.output.contains("\(cassette):3: '1 NOERR' is no reply"))
        let both = try await Command.run(["check", "--no-hosts", "--replay", cassette, "--record", cassette])
        #expect(both.code == 1 && both.output.contains("a cassette is recorded or replayed"))
    }

    @Test("is whole at any time, also when the daemon is killed")
    func killed() async throws {
        let upstream = try Self.server()
        let recording = try await daemon("--upstream", "127.0.0.1:\(upstream.port)", "--record", cassette)
        _ = try await messages(recording, [("www.example.net", 1)])
        let cassette = cassette
        // Written within a second or two.
        try await eventually("the cassette") { FileManager.default.fileExists(atPath: cassette) }
        recording.program.signal(SIGKILL)
        let replaying = try await daemon("--replay", cassette)
        #expect(try await replaying.dig("www.example.net", "+short") == "192.0.2.1\n192.0.2.2\n")
        withExtendedLifetime(upstream) {}
    }

    @Test(
        "on a full disk is said once; lookups go on, what was there stays whole, and all is written when there is room",
        .enabled(if: Namespace.isAvailable, "a file system of its own is needed: run as root"))
    func fullDisk() async throws {
        let upstream = try Self.server()
        let disk = folder.file("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        #expect(mount("stub53", disk, "tmpfs", 0, "size=64k") == 0)
        defer { umount2(disk, Int32(MNT_DETACH)) }
        let path = disk + "/run.cassette"
        let recording = try await daemon("--upstream", "127.0.0.1:\(upstream.port)", "--record", path)
        let ballast = FileManager.default
        #expect(ballast.createFile(atPath: disk + "/ballast", contents: Data(count: 64 << 10)))
        _ = try await messages(recording, [("www.example.net", 1)])
        _ = try await recording.errors.first { $0.contains("the cassette can't be written: No space left on device") }
        _ = try await messages(recording, [("gone.example.net", 1)])
        #expect(!ballast.fileExists(atPath: path))
        try ballast.removeItem(atPath: disk + "/ballast")
        #expect(try await recording.stop() == 0)
        #expect(recording.errors.all.count { $0.contains("can't be written") } == 1)
        #expect(recording.errors.all.last == "\(path): 2 replies recorded")
        #expect(try ballast.contentsOfDirectory(atPath: disk) == ["run.cassette"])
        withExtendedLifetime(upstream) {}
    }

    @Test(
        "is recorded and replayed around one command",
        .enabled(if: Namespace.isAvailable, "port 53 and mount namespaces are needed: run as root"))
    func exec() async throws {
        let upstream = try Self.server()
        func exec(_ arguments: String..., command: String) async throws -> Command.Result {
            try await Command.run(["exec"] + arguments + ["--", "sh", "-c", command], in: folder.path)
        }
        let recorded = try await exec(
            "--no-hosts", "--upstream", "127.0.0.1:\(upstream.port)", "--record", "run.cassette",
            command: "getent ahostsv4 www.example.net")
        #expect(recorded.output.contains("192.0.2.1"), "\(recorded)")
        #expect(recorded.errors.contains("run.cassette: "), "\(recorded)")
        let replayed = try await exec(
            "--no-hosts", "--replay", "run.cassette",
            command: "getent ahostsv4 www.example.net; getent hosts new.example")
        #expect(replayed.output == recorded.output)
        #expect(replayed.errors.contains("not in the cassette; to add replies, use --unknown record\n"), "\(replayed)")
        #expect(replayed.errors.contains("  new.example. A"), "\(replayed)")
        withExtendedLifetime(upstream) {}
    }
}

extension CassetteTests {
    @Test("is made of dnstap, and exported as hosts, zone and packets that programs read")
    func conversions() async throws {
        let upstream = try Self.server()
        let tap = folder.file("tap")
        let recording = try await daemon("--upstream", "127.0.0.1:\(upstream.port)", "--dnstap", tap)
        let recorded = try await messages(recording, [("www.example.net", 1), ("gone.example.net", 28)])
        #expect(try await recording.stop() == 0)
        func run(_ words: String...) async throws -> Command.Result { try await Command.run(["cassette"] + words) }
        let made = try await run("import", tap, "-o", cassette)
        #expect(made.output == "\(cassette): 2 questions, 2 replies\n", "\(made)")
        let replaying = try await daemon("--no-upstream", "--replay", cassette)
        #expect(
            try await messages(replaying, [("www.example.net", 1), ("gone.example.net", 28)]) == recorded)

        for (form, file) in [("hosts", "hosts"), ("zone", "example.net.zone"), ("rpl", "rpl"), ("pcapng", "pcapng")] {
            let zone = form == "zone" ? ["--zone", "example.net"] : []
            let result = try await Command.run(
                ["cassette", "export", cassette, "--as", form, "-o", folder.file(file)] + zone)
            #expect(result.code == 0, "\(result)")
        }
        let check = try await Command.run([
            "check", "--hosts", folder.file("hosts"), "--zone", folder.file("example.net.zone"), "--no-upstream",
        ])
        #expect(check.code == 0 && check.output.contains("example.net. serial 1, 4 records"), "\(check)")
        let again = try await run("import", folder.file("pcapng"), "-o", folder.file("again"))
        #expect(again.code == 0, "\(again)")
        #expect(
            try String(contentsOfFile: folder.file("again"), encoding: .utf8)
                == String(contentsOfFile: cassette, encoding: .utf8))

        let none = try await run("import", folder.file("hosts"), "-o", folder.file("again"))
        #expect(none.code == 1 && none.errors.contains("hosts: this is no capture; pcapng, pcap and dnstap are read"))
        let taken = try await run("import", tap, "-o", folder.file("hosts"))
        #expect(taken.code == 1 && taken.errors.contains("this is another file than a cassette"))
        withExtendedLifetime(upstream) {}
    }
}
