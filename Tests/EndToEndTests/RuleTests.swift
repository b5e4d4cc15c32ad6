import Foundation
import TestSupport
import Testing

/// Rules, as clients on all transports see them.
@Suite("Rules")
struct RuleTests {
    private let folder: TemporaryFolder
    private let upstream: ScriptedServer

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.shop.lab\n127.0.0.15 fast.shop.lab\n", to: "hosts")
        upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query, ttl: 77)) }
    }

    /// A daemon with these rules, and the ports of UDP and TCP, TLS, HTTPS.
    private func daemon(_ rules: String, _ more: String...) async throws -> (DaemonProcess, [UInt16]) {
        let listen = ["127.0.0.1:0", "tls://127.0.0.1:0", "https://127.0.0.1:0"]
        let daemon = try await DaemonProcess(
            [
                "--hosts", folder.file("hosts"), "--zones", folder.path, "--upstream", "127.0.0.1:\(upstream.port)",
                "--rules", try folder.write(rules, to: "test.rules"),
            ] + listen.flatMap { ["--listen", $0] } + more,
            behind: ["/usr/bin/env", "STATE_DIRECTORY=\(folder.file("state"))"])
        var ports = [daemon.port]
        let ready = daemon.output.all.firstIndex { $0.hasPrefix("ready") } ?? 0
        for index in 1...2 {
            let line = try await daemon.output.first(from: ready + index) { $0.contains("127.0.0.1:") }
            let address = line.split(separator: " ").first { $0.contains("127.0.0.1:") } ?? ""
            ports.append(UInt16(address.split(separator: ":").last ?? "") ?? 0)
        }
        return (daemon, ports)
    }

    private static let ways: [(name: String, port: Int, words: [String])] = [
        ("udp", 0, ["+notcp"]), ("tcp", 0, ["+tcp"]), ("dot", 1, ["+tls"]), ("doh", 2, ["+https=/dns-query"]),
    ]

    private func kdig(_ ports: [UInt16], _ way: Int, _ name: String, timeout: Int = longestWait) async throws
        -> Command.Result
    {
        let way = Self.ways[way]
        return try await Command.run(
            [
                "@127.0.0.1", "-p", "\(ports[way.port])", "+retry=0", "+timeout=\(timeout)", "+short", name,
            ] + way.words
                + (way.port > 0 ? ["+tls-ca=\(folder.file("state/ca.pem"))", "+tls-hostname=localhost"] : []),
            executable: URL(filePath: "/usr/bin/kdig"))
    }

    @Test("A delay holds up the answer of any source, on each transport, and no other", arguments: 0..<4)
    func delay(way: Int) async throws {
        let (daemon, ports) = try await daemon("over.shop.lab * delay=700ms\nwww.shop.lab A delay=400ms±100ms\n")
        for (name, address, least) in [
            ("over.shop.lab", "127.0.0.14\n", 700_000), ("www.shop.lab", "192.0.2.1\n", 300_000),
        ] {
            let start = ContinuousClock.now
            #expect(try await kdig(ports, way, name).output == address)
            #expect(ContinuousClock.now - start >= .microseconds(least))
            let line = try await daemon.lookup("\(name).", "A")
            #expect(line["transport"] as? String == Self.ways[way].name)
            #expect((line["duration_us"] as? Int ?? 0) >= least)
            let fault = (line["faults"] as? [[String: Any]])?.first
            #expect(fault?["actions"] as? [String] == ["delay"])
            let number = name == "over.shop.lab" ? 1 : 2
            #expect((fault?["rule"] as? String)?.hasSuffix("test.rules:\(number)") == true)
        }
        #expect(try await kdig(ports, way, "fast.shop.lab").output == "127.0.0.15\n")
        let other = try await daemon.lookup("fast.shop.lab.", "A")
        #expect(other["faults"] == nil && (other["duration_us"] as? Int ?? .max) < 300_000)
        #expect(try await daemon.stop() == 0)
    }

    @Test("Answers overtake delayed ones, on a socket and on a connection")
    func overtaking() async throws {
        let (daemon, _) = try await daemon("over.shop.lab * delay=1s\n")
        let datagrams = try DatagramClient(port: daemon.port)
        let stream = try StreamClient(port: daemon.port)
        for (id, name) in [(1, "over.shop.lab."), (2, "fast.shop.lab.")] as [(UInt16, String)] {
            datagrams.send(Wire.query(name, id: id))
            try stream.send(Wire.query(name, id: id))
        }
        for expected in [2, 1] as [UInt16] {
            #expect(try await datagrams.receive().map(Wire.id) == expected)
            #expect(try await stream.receive().map(Wire.id) == expected)
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("Dropped queries get no answer, others on the same connection do")
    func drop() async throws {
        let (daemon, ports) = try await daemon("over.shop.lab A drop\nonce.shop.lab A drop first=1\n")
        let datagrams = try DatagramClient(port: daemon.port)
        let stream = try StreamClient(port: daemon.port)
        for (id, name) in [(1, "over.shop.lab."), (2, "fast.shop.lab.")] as [(UInt16, String)] {
            datagrams.send(Wire.query(name, id: id))
            try stream.send(Wire.query(name, id: id))
        }
        #expect(try await datagrams.receive().map(Wire.id) == 2)
        #expect(try await stream.receive().map(Wire.id) == 2)
        let line = try await daemon.lookup("over.shop.lab.", "A")
        #expect(line["source"] as? String == "rule" && line["rcode"] is NSNull)
        #expect((line["rule"] as? String)?.hasSuffix("test.rules:1") == true)
        // A resend is answered.
        datagrams.send(Wire.query("once.shop.lab.", id: 3))
        datagrams.send(Wire.query("once.shop.lab.", id: 4))
        #expect(try await datagrams.receive().map(Wire.id) == 4)
        #expect(upstream.questions() == 1)
        for way in 2...3 {
            #expect(try await kdig(ports, way, "over.shop.lab", timeout: 1).code != 0)
            #expect(try await kdig(ports, way, "fast.shop.lab").output == "127.0.0.15\n")
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("Other IDs and garbage arrive as such, the same for the same seed")
    func spoilt() async throws {
        let (daemon, _) = try await daemon("over.shop.lab * wrong-id seed=1\nfast.shop.lab * garbage seed=2\n")
        let stream = try StreamClient(port: daemon.port)
        let datagrams = try DatagramClient(port: daemon.port)
        datagrams.send(Wire.query("over.shop.lab.", id: 77))
        let wrong = try #require(try await datagrams.receive())
        #expect(Wire.id(wrong) != 77 && Wire.answers(wrong) == 1)
        try stream.send(Wire.query("over.shop.lab.", id: 77))
        #expect(try await stream.receive().map(Wire.id) != 77)
        datagrams.send(Wire.query("fast.shop.lab.", id: 78))
        let garbage = try #require(try await datagrams.receive())
        #expect(Wire.id(garbage) == 78)
        #expect(!garbage.suffix(4).elementsEqual([127, 0, 0, 15]))
        let other = try await self.daemon("fast.shop.lab * garbage seed=2\n# another line\n").0
        let again = try DatagramClient(port: other.port)
        again.send(Wire.query("fast.shop.lab.", id: 78))
        let same = try await again.receive()
        #expect(same?.count == garbage.count)
        #expect(try await daemon.stop() == 0)
        #expect(try await other.stop() == 0)
    }

    @Test("A connection is closed instead of an answer; a datagram has none to close")
    func closing() async throws {
        let (daemon, ports) = try await daemon("over.shop.lab * close\nlate.shop.lab * close delay=100ms\n")
        for name in ["over.shop.lab.", "late.shop.lab."] {
            let stream = try StreamClient(port: daemon.port)
            try stream.send(Wire.query("fast.shop.lab.", id: 1), Wire.query(name, id: 2))
            #expect(try await stream.receive().map(Wire.id) == 1)
            #expect(try await stream.receive() == nil)
        }
        #expect(try await kdig(ports, 0, "over.shop.lab").output == "127.0.0.14\n")
        for way in 1...3 {
            #expect(try await kdig(ports, way, "over.shop.lab").code != 0)
            #expect(try await kdig(ports, way, "fast.shop.lab").output == "127.0.0.15\n")
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("A slow answer trickles, over TCP and TLS, and is whole", arguments: 1...2)
    func slow(way: Int) async throws {
        let addresses = (1...40).map { "192.0.2.\($0)" }
        let (daemon, ports) = try await daemon(
            "many.shop.lab A slow=1kB/s answer=\(addresses.joined(separator: ","))\n")
        let start = ContinuousClock.now
        let answer = try await kdig(ports, way, "many.shop.lab")
        #expect(answer.output.split(separator: "\n").map(String.init) == addresses)
        #expect(ContinuousClock.now - start >= .milliseconds(500))
        #expect(try await kdig(ports, way, "fast.shop.lab").output == "127.0.0.15\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("client= means a program, too")
    func program() async throws {
        let (daemon, ports) = try await daemon("over.shop.lab * nxdomain client=kdig\n")
        #expect(try await kdig(ports, 0, "over.shop.lab").output == "")
        #expect(try await daemon.dig("over.shop.lab", "+short") == "127.0.0.14\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("The same seed gives the same sequence in each daemon, about as often as it says")
    func seeds() async throws {
        func sequence(_ rule: String) async throws -> [UInt8] {
            let (daemon, _) = try await daemon(rule)
            let client = try DatagramClient(port: daemon.port)
            var codes: [UInt8] = []
            for id in 0..<200 as Range<UInt16> {
                client.send(Wire.query("over.shop.lab.", id: id))
                codes.append(try #require(try await client.receive().map(Wire.code)))
            }
            #expect(try await daemon.stop() == 0)
            return codes
        }
        let first = try await sequence("over.shop.lab A servfail rate=20% seed=7\n")
        #expect(try await sequence("over.shop.lab A servfail rate=20% seed=7\n") == first)
        #expect(try await sequence("over.shop.lab A servfail rate=20% seed=8\n") != first)
        // Of 200 with probability 0.2: outside this range once in a million seeds, and these seeds stay.
        #expect((15...70).contains(first.count { $0 == 2 }))
    }

    @Test("Edited rules are in force at once, and no query is lost meanwhile")
    func edited() async throws {
        let (daemon, _) = try await daemon("over.shop.lab A ttl=1\n")
        let client = try DatagramClient(port: daemon.port)
        let path = folder.file("test.rules")
        let answered = try await blocking { () -> Int in
            var answered = 0
            for round in 0..<20 {
                try "over.shop.lab A ttl=\(round + 2)\n".write(toFile: path, atomically: true, encoding: .utf8)
                for id in 0..<100 as Range<UInt16> {
                    client.send(Wire.query("over.shop.lab.", id: id))
                    if client.receiveNow().map(Wire.id) == id { answered += 1 }
                }
            }
            return answered
        }
        #expect(answered == 2000)
        try await asking("the last rule is in force") {
            try await daemon.dig("over.shop.lab", "+noall", "+answer").contains("\t21\t")
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test("Bad lines are told with their mends, by check, too, and the rest loads")
    func badLines() async throws {
        let rules = "over.shop.lab A delai=1s\nfast.shop.lab A answer=192.0.2.7\n"
        let (daemon, ports) = try await daemon(rules)
        let said = try await daemon.program.errors.first { $0.contains("test.rules:1") }
        #expect(said.contains("did you mean 'delay'?"))
        #expect(try await kdig(ports, 0, "fast.shop.lab").output == "192.0.2.7\n")
        #expect(try await daemon.stop() == 0)
        let check = try await Command.run(
            ["check", "--rules", folder.file("test.rules"), "--no-hosts", "--zones", folder.path])
        #expect(check.code == 1 && (check.errors + check.output).contains("test.rules:1: 'delai' is no action"))
    }

    @Test("Rules are leased, listed, removed, and start counting again")
    func leased() async throws {
        let world = try await ControlTests.World()
        let name = "over.acme.org"
        #expect(try await world.run("rule", "list").output.hasPrefix("none"))
        let added = try await world.run("rule", "add", "\(name) A servfail first=1", "--for", "10m")
        #expect(added.code == 0 && added.output.contains("rule:1") && added.output.contains("left"))
        #expect(try await world.daemon.dig(name).contains("SERVFAIL"))
        #expect(try await world.daemon.dig(name, "+short") == "127.0.0.14\n")
        #expect(try await world.run("rule", "reset").code == 0)
        #expect(try await world.daemon.dig(name).contains("SERVFAIL"))
        // The newest first.
        #expect(try await world.run("rule", "add", name, "A", "answer=192.0.2.9").code == 0)
        #expect(try await world.daemon.dig(name, "+short") == "192.0.2.9\n")
        let why = try await world.run("why", name)
        #expect(why.output.contains("= 192.0.2.9") && why.output.contains("rule, rule:2"), "\(why.output)")
        #expect(why.output.contains("servfail first=1"))
        let list = try await world.json("rule", "list", "--json")
        #expect((list["leases"] as? [[String: Any]])?.map { $0["number"] as? Int } == [2, 1])
        #expect(try await world.run("rule", "remove", "2").output.contains("removed rule:2"))
        #expect(try await world.daemon.dig(name, "+short") == "127.0.0.14\n")
        #expect(try await world.run("rule", "remove", "7").code == 1)
        #expect(try await world.run("rule", "remove", "all").output.contains("rule:1"))
        let wrong = try await world.run("rule", "add", "\(name) A servfail answer=192.0.2.1")
        #expect(wrong.code == 1 && wrong.errors.contains("says twice what the answer is"), "\(wrong.errors)")
        #expect(try await world.run("rule", "add", "\(name) * nxdomain", "--for", "1s").code == 0)
        #expect(try await world.daemon.dig(name).contains("NXDOMAIN"))
        _ = try await world.daemon.program.errors.first {
            $0.contains("rule:4 has ended") || $0.contains("rule:3 has ended")
        }
        #expect(try await world.daemon.dig(name, "+short") == "127.0.0.14\n")
        #expect(try await world.daemon.stop() == 0)
    }

    @Test("An override may say that there is no such name, no data, or another name")
    func wordedOverrides() async throws {
        let world = try await ControlTests.World()
        let name = "over.acme.org"
        #expect(try await world.run("override", "add", name, "nxdomain", "--for", "10m").code == 0)
        #expect(try await world.daemon.dig(name).contains("NXDOMAIN"))
        #expect(try await world.run("why", name).output.contains("= NXDOMAIN    (rule, override:1)"))
        #expect(try await world.run("override", "add", name, "nodata").code == 0)
        #expect(try await world.daemon.dig(name, "+short") == "")
        #expect(try await world.run("override", "add", name, "ns.acme.org").code == 0)
        #expect(try await world.daemon.dig(name, "+short") == "ns.acme.org.\n152.153.81.53\n")
        #expect(try await world.run("override", "list").output.contains("ns.acme.org"))
        #expect(try await world.run("override", "remove", name).code == 0)
        #expect(try await world.daemon.dig(name, "+short") == "127.0.0.14\n")
        let wrong = try await world.run("override", "add", name, "nxdomian")
        #expect(wrong.code == 1)
        #expect(try await world.daemon.stop() == 0)
    }
}
