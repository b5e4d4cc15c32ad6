import Foundation
import TestSupport
import Testing

/// Private addresses that upstream gives for public names.
@Suite("DNS rebinding")
struct RebindingTests {
    private let folder: TemporaryFolder
    private let upstream: ScriptedServer

    init() throws {
        folder = try TemporaryFolder()
        upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query, [[192, 168, 1, 1]], ttl: 600)) }
    }

    private static let reason =
        "private address of a public name, see upstream.private and upstream.private-domains: 192.168.1.1"

    private func daemon(_ setting: String, _ more: String...) async throws -> DaemonProcess {
        let file = "\(setting).yaml"
        try configure(setting, file)
        return try await DaemonProcess(["--config", folder.file(file), "--no-hosts"] + more)
    }

    private func configure(_ setting: String, _ file: String) throws {
        let text = "upstream: {servers: 127.0.0.1:\(upstream.port), private: \(setting)}\nzones.folders: none\n"
        let beside = try folder.write(text, to: "new")
        #expect(rename(beside, folder.file(file)) == 0)
    }

    @Test("is shown in log, why, history and metrics by default; refused, also from the cache, once a reload says so")
    func warnedThenRefused() async throws {
        let socket = folder.file("control.sock")
        let daemon = try await daemon("warn", "--control", socket, "--history", folder.file("history.db"))
        func run(_ words: String...) async throws -> String {
            try await Command.run(words + ["--control", socket]).output
        }
        #expect(try await daemon.dig("www.example.net", "+short") == "192.168.1.1\n")
        #expect(try await daemon.lookup("www.example.net.", "A")["private"] as? String == "passed")
        #expect(
            try await run("why", "www.example.net").contains(
                """
                192.168.1.1 is private and www.example.net. is a public name: passed (upstream.private: warn); \
                if this is meant, add its domain to upstream.private-domains
                """))

        let said = daemon.errors.all.count
        try configure("refuse", "warn.yaml")
        _ = try await daemon.errors.first(from: said) { $0.hasPrefix("reload ") }
        let before = daemon.output.all.count
        let answer = try await daemon.dig("www.example.net")
        #expect(answer.contains("status: NOERROR") && answer.contains("ANSWER: 0"), "\(answer)")
        #expect(answer.contains("; EDE: 15 (Blocked): (\(Self.reason) (cache))"), "\(answer)")
        let line = try await daemon.lookup("www.example.net.", "A", from: before)
        #expect(line["private"] as? String == "refused" && line["source"] as? String == "cache")
        #expect(line["answer_kind"] as? String == "NODATA")
        #expect((line["ede"] as? [String: Any])?["text"] as? String == Self.reason)
        #expect(upstream.questions() == 1)
        #expect(try await run("why", "www.example.net").contains("refused (upstream.private: refuse)"))

        let log = try await run("log", "rcode:private")
        #expect(log.split(separator: "\n").count == 2)
        #expect(log.contains("192.168.1.1 (private)") && log.contains(Self.reason), "\(log)")
        let metrics = try await run("stats", "--metrics")
        for result in ["passed", "refused"] {
            #expect(metrics.contains("stub53_upstream_private_answers_total{result=\"\(result)\"} 1\n"), "\(metrics)")
        }
        #expect(try await daemon.stop() == 0)
    }

    @Test(
        "glibc takes a refusal as final: the second server of resolv.conf is not asked",
        .enabled(if: Namespace.isAvailable, "a resolv.conf of its own takes a mount namespace: run as root"))
    func final() async throws {
        let (first, second) = (ownLoopbackAddress(), ownLoopbackAddress())
        let guarded = try await daemon("refuse", "--listen", "\(first):53")
        let open = try await daemon("allow", "--listen", "\(second):53")
        var command =
            try Namespace.client(of: first, others: [second], order: "dns", in: folder)
            + ["getent", "ahosts", "www.example.net"]
        let result = try await Command.run(command, executable: URL(filePath: command.removeFirst()))
        #expect(result.code == 2 && result.output.isEmpty, "\(result)")
        #expect(try await guarded.lookup("www.example.net.", "A")["private"] as? String == "refused")
        #expect(try await guarded.stop() == 0)
        #expect(try await open.stop() == 0)
        #expect(!open.output.all.contains { $0.contains("www.example.net.") })
    }
}
