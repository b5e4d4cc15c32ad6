import Foundation
import TestSupport
import Testing

/// The page shows and changes what the control socket guards, so it is for the same users.
@Suite("Who may use the page", .enabled(if: getuid() == 0, "takes root, to be other users"))
struct PageAccessTests {
    /// Not the daemon's user: `nobody` and its group on Debian.
    private static let other = 65_534

    private final class World: Sendable {
        let folder: TemporaryFolder
        let daemon: DaemonProcess
        let page: String
        var socket: String { folder.file("control.sock") }

        /// `mode`: of the control socket's folder.
        init(behind: [String] = [], mode: mode_t = 0o755) async throws {
            folder = try TemporaryFolder()
            chmod(folder.path, mode)
            try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
            daemon = try await DaemonProcess(
                [
                    "--hosts", folder.file("hosts"), "--no-upstream", "--control", folder.file("control.sock"),
                    "--history", folder.file("history.db"), "--inspector", "127.0.0.1:0", "--log", "none",
                ], behind: behind)
            let line = try await daemon.output.first { $0.hasPrefix("inspector ") }
            page = String(try #require(line.split(separator: " ").last))
        }

        /// The status of a request by another user.
        func status(_ words: String..., user: Int = other) async throws -> String {
            try await Command.run(
                [
                    "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "/usr/bin/curl", "-s", "-o", "/dev/null",
                    "-w", "%{http_code}", "--max-time", "\(longestWait)",
                ] + words, executable: URL(filePath: "/usr/bin/setpriv")
            ).output
        }

        func overrides() async throws -> String {
            try await Command.run(["override", "list", "--control", socket]).output
        }

        func link() async throws -> String {
            let printed = try await Command.run(["page", "--print", "--control", socket])
            return String(try #require(printed.output.split(separator: "\n").first, "\(printed.errors)"))
        }
    }

    @Test("Another user sees no lookups and changes nothing")
    func stranger() async throws {
        let world = try await World()
        for path in ["/", "/names", "/name/over.acme.org", "/overrides", "/lookup/1", "/cache", "/health", "/events"] {
            #expect(try await world.status(world.page + path) == "403", "\(path)")
        }
        let change = [
            "-H", "Origin: \(world.page)", "-d", "name=bank.example&addresses=203.0.113.66&seconds=2592000",
        ]
        #expect(try await world.status(change[0], change[1], change[2], change[3], "\(world.page)/overrides") == "403")
        #expect(!(try await world.overrides()).contains("bank.example"))
        // Numbers only; Prometheus has a user of its own.
        #expect(try await world.status("\(world.page)/metrics") == "200")
        #expect(try await world.status(world.page, user: 0) == "200")
        #expect(
            try await world.status(change[0], change[1], change[2], change[3], "\(world.page)/overrides", user: 0)
                == "303")
        #expect(try await world.overrides().contains("bank.example"))
    }

    @Test("Who started the daemon with sudo uses the page, and no one else")
    func sudo() async throws {
        let world = try await World(behind: ["/usr/bin/env", "SUDO_UID=\(Self.other)"])
        #expect(try await world.status(world.page) == "200")
        #expect(try await world.status(world.page, user: 1) == "403")
    }

    @Test("A member of the control socket's group uses the page")
    func group() async throws {
        let behind = ["/usr/bin/setpriv", "--regid=\(Self.other)", "--clear-groups"]
        let world = try await World(behind: behind)
        #expect(try await world.status(world.page) == "200")
        #expect(try await world.status(world.page, user: 1) == "403")
        // Nobody but the owner gets to the socket.
        let closed = try await World(behind: behind, mode: 0o700)
        #expect(try await closed.status(closed.page) == "403")
    }

    @Test("A link lets one browser in, once; its cookie is worth nothing to other users")
    func link() async throws {
        let world = try await World()
        let link = try await world.link()
        #expect(link.hasPrefix("\(world.page)/?ticket="))
        // Not spent by looking.
        #expect(try await world.status("-I", link) == "403")
        // curl prints the cookies behind the status.
        let entered = try await world.status("-c", "-", link)
        #expect(entered.hasPrefix("303"))
        #expect(entered.contains("#HttpOnly_127.0.0.1"))
        let port = try #require(world.page.split(separator: ":").last)
        let cookie = "stub53-\(port)=" + String(try #require(entered.split(whereSeparator: \.isWhitespace).last))
        #expect(try await world.status("-b", cookie, world.page) == "200")
        #expect(try await world.status("-b", cookie, world.page, user: 1) == "403")
        #expect(try await world.status("-b", cookie.dropLast() + "x", world.page) == "403")
        #expect(try await world.status(link) == "403")
        // Who is in already is not put out.
        #expect(try await world.status("-b", cookie, link) == "303")
        #expect(try await world.status(link, user: 0) == "303")
        #expect(try await world.status(world.page) == "403")
    }
}

/// Other clients' connections and searches must not shut anybody out.
@Suite("A page under load")
struct PageLoadTests {
    @Test("is served while a client holds as many event streams and connections as it can get")
    func eventStreams() async throws {
        let folder = try TemporaryFolder()
        let daemon = try await DaemonProcess([
            "--no-hosts", "--no-upstream", "--control", folder.file("control.sock"), "--history",
            folder.file("history.db"), "--inspector", "127.0.0.1:0", "--log", "none",
        ])
        let line = try await daemon.output.first { $0.hasPrefix("inspector ") }
        let page = String(try #require(line.split(separator: " ").last))
        let port = try #require(page.split(separator: ":").last.flatMap { UInt16($0) })
        let host = "Host: 127.0.0.1:\(port)\r\n\r\n"
        let streams = try (0..<200).map { _ in
            let client = try StreamClient(port: port)
            try client.sendRaw(Array("GET /events?q=name:*x* HTTP/1.1\r\n\(host)".utf8))
            return client
        }
        let codes = try await blocking {
            streams.map { (try? $0.read(12)).flatMap { $0 }.map { String(decoding: $0, as: UTF8.self) } }
        }
        let admitted = codes.count { $0 == "HTTP/1.1 200" }
        #expect(admitted > 5 && admitted < 30, "\(admitted)")
        for _ in 0..<5 {
            let answer = try await Command.run(
                ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "\(longestWait)", page],
                executable: URL(filePath: "/usr/bin/curl"))
            #expect(answer.output == "200")
        }
        withExtendedLifetime(streams) {}
        #expect(try await daemon.stop() == 0)
    }
}
