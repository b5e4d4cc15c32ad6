import Foundation
import TestSupport
import Testing

/// Started by root, the daemon becomes another user.
@Suite("The user who serves", .enabled(if: Namespace.isAvailable, "takes root, to become another user"))
struct PrivilegeTests {
    private let folder: TemporaryFolder
    /// The user `stub53` of these tests.
    private static let user = 65_099
    /// An ordinary user.
    private static let other = 1

    init() throws {
        folder = try TemporaryFolder()
        chmod(folder.path, 0o755)
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
        for name in ["run", "lib", "log"] {
            try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true)
        }
        chown(folder.file("log"), uid_t(Self.user), gid_t(Self.user))
    }

    /// A machine that has the user `stub53`, or has not.
    private func machine(hasUser: Bool = true, _ more: String = "") -> String {
        let user = "stub53:x:\(Self.user):\(Self.user)::/nonexistent:/usr/sbin/nologin"
        return """
            grep -v stub53 /etc/passwd > $folder/passwd
            grep -v stub53 /etc/group > $folder/group
            \(hasUser ? "echo \(user) >> $folder/passwd; echo stub53:x:\(Self.user): >> $folder/group" : "")
            mount --bind $folder/passwd /etc/passwd
            mount --bind $folder/group /etc/group
            mount --bind $folder/run /run
            mount --bind $folder/lib /var/lib
            \(more)
            """
    }

    private var sources: [String] { ["--hosts", folder.file("hosts"), "--no-upstream"] }

    /// `Uid`, `CapEff` and the like of all threads, without duplicates.
    private func status(_ field: String, of daemon: DaemonProcess) throws -> Set<String> {
        let tasks = "/proc/\(daemon.program.identifier)/task"
        var values: Set<String> = []
        for task in try FileManager.default.contentsOfDirectory(atPath: tasks) {
            let text = try String(contentsOfFile: "\(tasks)/\(task)/status", encoding: .utf8)
            let line = text.split(separator: "\n").first { $0.hasPrefix("\(field):") } ?? ""
            values.insert(line.split(whereSeparator: \.isWhitespace).dropFirst().joined(separator: " "))
        }
        return values
    }

    private func curl(_ url: String, user: Int) async throws -> String {
        try await Command.run(
            [
                "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "/usr/bin/curl", "-s", "-o", "/dev/null", "-w",
                "%{http_code}", url,
            ], executable: URL(filePath: "/usr/bin/setpriv")
        ).output
    }

    @Test("is stub53, if there is one, in every thread and without any capability; and everything works")
    func switched() async throws {
        let log = folder.file("log/lookups")
        let daemon = try await DaemonProcess(
            sources + [
                "--listen", "\(ownLoopbackAddress()):53", "--listen", "tls://127.0.0.1:0", "--inspector", "127.0.0.1:0",
                "--control", "/run/stub53/control.sock", "--history", "/var/lib/stub53/history.db", "--log-file", log,
                "--dnstap", folder.file("log/tap"),
            ],
            // The local CA and a history of earlier days, which belong to root.
            behind: Namespace.entry(
                machine("export SUDO_UID=\(Self.other)\n\(Command.executable.path) trust > /dev/null"), in: folder))
        _ = try await daemon.output.first { $0.hasPrefix("user       stub53; ") }
        let user = "\(Self.user)"
        #expect(try status("Uid", of: daemon) == ["\(user) \(user) \(user) \(user)"])
        #expect(try status("Gid", of: daemon) == ["\(user) \(user) \(user) \(user)"])
        #expect(try status("Groups", of: daemon) == [user])
        for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            #expect(try status(field, of: daemon) == ["0000000000000000"], "\(field)")
        }

        #expect(try await daemon.dig("over.acme.org", "+short") == "127.0.0.14\n")
        #expect(try await daemon.dig("over.acme.org", "+short", "+tcp") == "127.0.0.14\n")
        // An edited file, and the log's file moved away.
        try folder.write("127.0.0.15 over.acme.org\n", to: "hosts")
        try #require(rename(log, log + ".old") == 0)
        daemon.program.signal(SIGHUP)
        _ = try await daemon.errors.first { $0.hasPrefix("reload     SIGHUP") }
        #expect(try await daemon.dig("over.acme.org", "+short") == "127.0.0.15\n")
        try await eventually("the new log has the lookup") {
            (try? String(contentsOfFile: log, encoding: .utf8).contains("127.0.0.15")) == true
        }

        // Who gets in is as before.
        let socket = folder.file("run/stub53/control.sock")
        let attributes = try FileManager.default.attributesOfItem(atPath: socket)
        #expect(attributes[.posixPermissions] as? Int == 0o660)
        #expect(attributes[.groupOwnerAccountID] as? Int == Self.user)
        #expect(try await Command.run(["stats", "--control", socket]).code == 0)
        let found = try await Command.run(["log", "--since", "1h", "--control", socket])
        #expect(found.output.contains("over.acme.org."), "\(found)")
        let line = try await daemon.output.first { $0.hasPrefix("inspector ") }
        let page = String(try #require(line.split(separator: " ").last))
        #expect(try await curl(page, user: 0) == "200")
        #expect(try await curl(page, user: Self.other) == "200")
        #expect(try await curl(page, user: 2) == "403")
        #expect(try await daemon.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: socket))
        for file in ["ca.pem", "ca.key", "history.db"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.file("lib/stub53/\(file)"))
            #expect(attributes[.ownerAccountID] as? Int == Self.user, "\(file)")
        }
    }

    @Test("stays root where no user is there or root is wanted, which a line says", arguments: [false, true])
    func root(isWanted: Bool) async throws {
        let daemon = try await Namespace.daemon(
            machine(hasUser: isWanted), sources + (isWanted ? ["--user", "root"] : []), in: folder)
        let line = try await daemon.output.first { $0.hasPrefix("user ") }
        #expect(
            line == "user       root"
                + (isWanted ? ", as configured" : "; 'adduser --system --group stub53' makes one with fewer rights"))
        #expect(try status("Uid", of: daemon) == ["0 0 0 0"])
        #expect(try await daemon.stop() == 0)
    }

    /// Runs `serve`, which must end by itself.
    private func failure(_ words: [String], behind wrapper: [String]) async throws -> Command.Result {
        let all = wrapper + [Command.executable.path, "serve", "--listen", "127.0.0.1:0"] + words + Command.apart
        return try await Command.run(Array(all.dropFirst()), executable: URL(filePath: all[0]))
    }

    @Test("must exist and have a group of its own; the error says where, why, and what to do")
    func wrong() async throws {
        let file = try folder.write("listen: 127.0.0.1:0\nuser: nosuchuser\n", to: "stub53.yaml")
        let missing = try await failure(["--config", file], behind: ["/usr/bin/env"])
        #expect(missing.code == 78)
        #expect(
            missing.errors.contains("\(file):2: user: 'nosuchuser' is no user of this machine; 'adduser "), "\(missing)"
        )
        let shared = try await failure(sources + ["--user", "nobody"], behind: ["/usr/bin/env"])
        #expect(shared.code == 78)
        #expect(shared.errors.hasPrefix("stub53: user: 'nobody' shares its group "), "\(shared)")
    }

    @Test("can't be another one without root")
    func notRoot() async throws {
        let plain = ["/usr/bin/setpriv", "--reuid=\(Self.other)", "--regid=\(Self.other)", "--clear-groups"]
        let refused = try await failure(sources + ["--user", "root"], behind: plain)
        #expect(refused.code == 77)
        #expect(refused.errors.hasPrefix("stub53: user: only root can become 'root'; "), "\(refused)")
        let daemon = try await DaemonProcess(sources + ["--user", "daemon"], behind: plain)
        #expect(try await daemon.dig("over.acme.org", "+short") == "127.0.0.14\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("is told which files only root can read")
    func unreadable() async throws {
        let zone = try folder.write(ZoneText.shop, to: "zones/shop.zone")
        chmod(zone, 0o600)
        let entry = Namespace.entry(machine(), in: folder)
        let refused = try await failure(["--no-hosts", "--no-upstream", "--zone", zone], behind: entry)
        #expect(refused.code == 78)
        #expect(
            refused.errors.contains("\(zone)") && refused.errors.contains("as the user 'stub53'; give "), "\(refused)")
        // A configuration that a reload could not read again.
        let file = try folder.write("hosts: {ttl: 5}\n", to: "stub53.yaml")
        chmod(file, 0o600)
        let daemon = try await DaemonProcess(sources + ["--config", file], behind: entry)
        _ = try await daemon.errors.first(
            containing: "\(file): Permission denied for the user 'stub53', so that reloads keep")
        daemon.program.signal(SIGHUP)
        _ = try await daemon.errors.first(containing: "settings kept as they were")
        #expect(try await daemon.dig("over.acme.org", "+noall", "+answer").contains("\t5\tIN"))
        #expect(try await daemon.stop() == 0)
    }
}
