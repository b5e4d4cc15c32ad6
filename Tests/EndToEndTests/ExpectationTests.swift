import Foundation
import FoundationXML
import TestSupport
import Testing

/// Lookups compared with expectations: `exec --expect`, `expect`, `log --count` and `--exists`.
@Suite("Expectations, for CI")
struct ExpectationTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("192.0.2.14 acme.org\n192.0.2.15 api.acme.org\n", to: "hosts")
    }

    private func exec(_ options: [String], _ script: String) async throws -> Command.Result {
        try await Command.run(
            ["exec", "--hosts", "hosts", "--no-upstream"] + options + ["--", "sh", "-c", script], in: folder.path)
    }

    private func read(_ name: String) throws -> String {
        try String(contentsOfFile: folder.file(name), encoding: .utf8)
    }

    // MARK: exec

    @Test(
        "exec ends with 3 if an expectation fails, and with the command's own code if that is not 0",
        .enabled(if: Namespace.isAvailable, "run as root"),
        arguments: [
            ("at least 1 name:acme.org", "exit 0", 0), ("never name:acme.org", "exit 0", 3),
            ("never name:acme.org", "exit 7", 7), ("never name:acme.org", "kill -9 $$", 137),
            ("at least 1 name:acme.org", "kill -TERM $$", 143),
        ] as [(String, String, Int32)])
    func codes(_ expectation: String, _ end: String, _ code: Int32) async throws {
        try folder.write("# lookups\n\(expectation)\n", to: "dns.expect")
        let result = try await exec(["--expect", "dns.expect"], "getent ahostsv4 acme.org >&2; \(end)")
        #expect(result.code == code, "\(result)")
        let holds = expectation.hasPrefix("at least")
        #expect(
            result.errors.contains(holds ? "1 of 1 expectations hold" : "dns.expect:2: \(expectation): there were "))
        // The lookup that broke it, with its rule.
        #expect(holds || result.errors.contains("  acme.org. A: hosts hosts:1 NOERROR in "), "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(
        "every lookup of a command is counted, however it ends", .enabled(if: Namespace.isAvailable, "run as root"),
        arguments: ["exit 0", "kill -9 $$"])
    func complete(_ end: String) async throws {
        try folder.write("400 times name:*.many.example\nalways name:*.many.example rcode:REFUSED\n", to: "dns.expect")
        let names = (1...400).map { "n\($0).many.example A\n" }.joined()
        try folder.write(names, to: "names")
        let result = try await exec(
            ["--expect", "dns.expect", "--log-file", "dns.log", "--log", "json"],
            "dig +tries=1 +time=\(longestWait) -f names > answers; \(end)")
        #expect(result.code == (end == "exit 0" ? 0 : 137), "\(result)")
        #expect(result.errors.contains("2 of 2 expectations hold"), "\(result.errors)")
        // The file is complete, too, and each line is JSON.
        let lines = try read("dns.log").split(separator: "\n")
        let asked = try lines.map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])["name"] as? String
        }
        #expect(Set(asked.compactMap(\.self)).count == 400 && asked.count == 400)
    }

    @Test(
        "--fail-on-upstream fails for answers from upstream, from the cache not, and for questions asked in vain",
        .enabled(if: Namespace.isAvailable, "run as root"))
    func upstream() async throws {
        let up = try await DaemonProcess(["--hosts", folder.file("hosts"), "--no-upstream"])
        func run(_ server: String, _ name: String) async throws -> Command.Result {
            try await Command.run(
                ["exec", "--no-hosts", "--zone", "local.zone", "--upstream", server, "--fail-on-upstream", "--"]
                    + ["dig", "+tries=1", "+time=\(longestWait)", name], in: folder.path)
        }
        try folder.write(
            """
            $ORIGIN local.test.
            @ 60 IN SOA ns hostmaster 1 7200 3600 1209600 300
            @ 60 NS ns
            ns 60 A 192.0.2.1
            away 60 CNAME acme.org.

            """, to: "local.zone")
        let server = "\(up.address):\(up.port)"
        let local = try await run(server, "ns.local.test")
        #expect(local.code == 0 && local.errors.contains("2 of 2 expectations hold"), "\(local)")
        for name in ["acme.org", "away.local.test"] {
            let asked = try await run(server, name)
            #expect(asked.code == 3, "\(asked)")
            #expect(asked.errors.contains("--fail-on-upstream: never source:upstream"), "\(asked.errors)")
        }
        let vain = try await run("\(ownLoopbackAddress()):9", "acme.org")
        #expect(vain.code == 3 && vain.errors.contains("SERVFAIL"), "\(vain)")
        #expect(try await up.stop() == 0)
    }

    @Test("exec writes TAP, JUnit and Markdown", .enabled(if: Namespace.isAvailable, "run as root"))
    func forms() async throws {
        try folder.write("always name:acme.org type:A source:hosts\nnever name:acme.org\n", to: "dns.expect")
        try folder.write("before\n", to: "summary.md")
        let result = try await exec(
            ["--expect", "dns.expect", "--tap", "--junit", "dns.xml", "--summary", "summary.md"],
            "getent ahostsv4 acme.org")
        #expect(result.code == 3)
        #expect(result.errors.hasPrefix("TAP version 13\n1..2\nok 1 - always"), "\(result.errors)")
        #expect(try read("summary.md").hasPrefix("before\n### DNS: 1 of 2 expectations hold\n"))
        let report = try JUnitReport(try read("dns.xml"))
        #expect(report.cases == ["always name:acme.org type:A source:hosts", "never name:acme.org"])
        #expect(report.failures.count == 1 && report.texts.contains("acme.org. A: hosts hosts:1 NOERROR"))
    }

    @Test("what can't be read or written is told before the command starts")
    func early() async throws {
        try folder.write("never name:a\nsometimes\nnever nmae:b\n", to: "dns.expect")
        let bad = try await exec(["--expect", "dns.expect"], "echo started")
        #expect(bad.code == 78 && bad.output.isEmpty, "\(bad)")
        #expect(bad.errors.contains("stub53: dns.expect:2: 'sometimes' is no count; there are "), "\(bad.errors)")
        #expect(bad.errors.contains("stub53: dns.expect:3: 'nmae' is no kind of filter; did you mean name:?"))
        let missing = try await exec(["--expect", "no.expect"], "echo started")
        #expect(missing.code == 78 && missing.errors.hasPrefix("stub53: no.expect: "), "\(missing)")
        try folder.write("never name:a\n", to: "dns.expect")
        let folderless = try await exec(["--expect", "dns.expect", "--junit", "no/dns.xml"], "echo started")
        #expect(folderless.code == 1 && folderless.output.isEmpty)
        #expect(folderless.errors.contains("no/dns.xml can't be written: No such file"), "\(folderless.errors)")
    }

    @Test(
        "wrong usage is told",
        arguments: [
            (["exec", "--expect", "f", "true"], "private daemon's lookups"),
            (["exec", "--no-hosts", "--tap", "true"], "go with --expect"),
            (["exec", "--no-hosts", "--log", "text", "--json", "true"], "leave one out"),
            (["expect", "f", "--since", "soon"], "is no time"),
            (["expect", "f", "--history", "h", "--control", "c"], "leave"),
            (["log", "--count", "--exists"], "exclude each other"),
            (["log", "--count", "--follow"], "leave --follow out"),
        ])
    func usage(_ words: [String], _ complaint: String) async throws {
        let result = try await Command.run(words)
        #expect(result.code == 64 && result.errors.contains(complaint), "\(result)")
    }

    // MARK: A running daemon

    @Test("expect judges what a running daemon was asked; --since leaves the rest out")
    func running() async throws {
        let world = try await ControlTests.World()
        _ = try await world.daemon.dig("over.acme.org")
        _ = try await world.daemon.dig("acme.org")
        let file = try folder.write(
            """
            always name:over.acme.org source:hosts
            1 time name:acme.org type:A
            never  source:upstream
            within 10s name:over.acme.org

            """, to: "dns.expect")
        let fine = try await world.run("expect", file, "--since", "10m")
        #expect(fine.code == 0 && fine.output == "4 of 4 expectations hold\n", "\(fine)")
        // As text, on standard output.
        let none = try await world.run("expect", file, "--since", "2100-01-01")
        #expect(none.code == 3 && none.output.hasSuffix("1 of 4 expectations hold\n"), "\(none)")
        try folder.write("never name:*.acme.org\n", to: "dns.expect")
        let failed = try await world.run("expect", file, "--junit", folder.file("dns.xml"))
        #expect(failed.code == 3 && failed.output.contains("  over.acme.org. A: hosts "), "\(failed)")
        #expect(try JUnitReport(try read("dns.xml")).failures == ["there were 1"])
        #expect(try await world.daemon.stop() == 0)
        let kept = try await Command.run(["expect", file, "--history", world.folder.file("state/history.db")])
        #expect(kept.code == 3 && kept.output == failed.output, "\(kept)")
    }

    @Test("expect fails if lookups were not kept: what they were is not known")
    func lost() async throws {
        try folder.write("history: {max-rate: 1}\n", to: "stub53.yaml")
        let world = try await ControlTests.World(["--no-upstream", "--config", folder.file("stub53.yaml")])
        for _ in 0..<10 { _ = try await world.daemon.dig("over.acme.org") }
        let file = try folder.write("never name:never.asked.test\n", to: "dns.expect")
        let result = try await world.run("expect", file)
        #expect(result.code == 3, "\(result)")
        #expect(result.output.contains("every lookup is kept: "), "\(result.output)")
    }

    @Test("log --count counts; --exists ends with 1 if nothing fits, and shows nothing")
    func counts() async throws {
        let world = try await ControlTests.World()
        for name in ["over.acme.org", "acme.org", "acme.org"] { _ = try await world.daemon.dig(name) }
        #expect(try await world.run("log", "--count", "name:acme.org").output == "2\n")
        #expect(try await world.run("log", "--count").output == "3\n")
        #expect(try await world.run("log", "--count", "name:x.test").output == "0\n")
        let found = try await world.run("log", "--exists", "name:acme.org", "source:zone")
        #expect(found.code == 0 && found.output.isEmpty && found.errors.isEmpty, "\(found)")
        let none = try await world.run("log", "--exists", "source:upstream")
        #expect(none.code == 1 && none.output.isEmpty && none.errors.isEmpty, "\(none)")
    }
}

/// JUnit's XML, read by a parser of XML.
private final class JUnitReport: NSObject, XMLParserDelegate {
    private(set) var cases: [String] = []
    private(set) var failures: [String] = []
    private(set) var texts = ""

    init(_ text: String) throws {
        super.init()
        let parser = XMLParser(data: Data(text.utf8))
        parser.delegate = self
        if !parser.parse() { throw LineReader.Missing(description: "\(parser.parserError.debugDescription)\n\(text)") }
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes: [String: String]
    ) {
        if name == "testcase" { cases.append(attributes["name"] ?? "") }
        if name == "failure" { failures.append(attributes["message"] ?? "") }
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) { texts += text }
}
