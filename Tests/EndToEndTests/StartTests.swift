import Foundation
import TestSupport
import Testing

/// The daemon can't start: it reports what is wrong and how to fix it, and exits with a code of sysexits.h.
@Suite("A start that fails")
struct StartTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var quiet: [String] { ["--no-hosts", "--zones", folder.path, "--no-upstream"] }

    /// Runs `stub53 serve ARGUMENTS`, which must end by itself: its exit code and messages.
    private func failure(
        _ arguments: [String], behind wrapper: [String] = [], apart: [String] = Command.apart, in folder: String? = nil
    ) async throws -> (code: Int32, complaint: String) {
        var all = wrapper + [Command.executable.path, "serve"] + arguments + apart
        let program = try ProgramProcess(all.removeFirst(), all, folder: folder)
        let code = try await program.exitCode()
        _ = try? await program.errors.first { _ in false }
        return (code, program.errors.all.joined(separator: "\n"))
    }

    enum Holder: CaseIterable, Sendable { case datagram, stream, anyDatagram, anyStream, six }

    @Test("on a used port names the process that has it, and exits 1", arguments: Holder.allCases)
    func taken(_ holder: Holder) async throws {
        let kind = holder == .datagram || holder == .anyDatagram ? SOCK_DGRAM : SOCK_STREAM
        let isSix = holder == .six
        let descriptor = socket(isSix ? AF_INET6 : AF_INET, Int32(kind.rawValue), 0)
        defer { close(descriptor) }
        let bound =
            isSix
            ? bindSix(descriptor) : bindLoopback(descriptor, 0, any: holder == .anyDatagram || holder == .anyStream)
        let port = try #require(bound)
        if kind == SOCK_STREAM { #expect(listen(descriptor, 1) == 0) }

        let address = isSix ? "[::1]:\(port)" : "127.0.0.1:\(port)"
        let (code, complaint) = try await failure(quiet + ["--listen", address])
        let name = try String(contentsOfFile: "/proc/self/comm", encoding: .utf8).trimmingCharacters(in: .newlines)
        #expect(complaint.contains("\(address) is taken by \(name) (process \(getpid()))"), "\(complaint)")
        #expect(complaint.contains("--listen"))
        #expect(code == 1)
    }

    @Test("on another daemon's port does not disturb that one")
    func twice() async throws {
        let first = try await DaemonProcess(quiet)
        let (code, complaint) = try await failure(quiet + ["--listen", "127.0.0.1:\(first.port)"])
        #expect(complaint.contains("taken by stub53 (process \(first.program.identifier))"), "\(complaint)")
        #expect(code == 1)
        for _ in 0..<4 {
            #expect(try await first.dig("localhost", "+short") == "127.0.0.1\n")
            #expect(try await first.dig("localhost", "+short", "+tcp") == "127.0.0.1\n")
        }
        #expect(try await first.stop() == 0)
    }

    @Test("succeeds at once on the port of a daemon that has just ended with open connections")
    func again() async throws {
        let first = try await DaemonProcess(quiet)
        let client = try StreamClient(port: first.port)
        try client.send(Wire.query("localhost.", id: 1))
        #expect(try await client.receive()?.prefix(2) == [0, 1])
        #expect(try await first.stop() == 0)
        // The daemon closed first, so its side of the connection lingers.
        #expect(try await client.receive() == nil)
        let second = try await DaemonProcess(quiet + ["--listen", "127.0.0.1:\(first.port)"])
        #expect(try await second.dig("localhost", "+short", "+tcp") == "127.0.0.1\n")
        #expect(try await second.stop() == 0)
    }

    /// Lower ports need a permission.
    private static let firstFreePort =
        (try? String(contentsOfFile: "/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding: .utf8))
        .flatMap { Int($0.trimmingCharacters(in: .newlines)) } ?? 1024

    @Test(
        "without permission says how to get it, and exits 77",
        .enabled(if: firstFreePort > 53, "this system lets everyone bind port 53"))
    func permission() async throws {
        let serve = quiet + ["--listen", "\(ownLoopbackAddress()):53"]
        // Root without this capability is like any other user.
        let (code, complaint) = try await failure(
            serve, behind: getuid() == 0 ? ["/usr/bin/setpriv", "--bounding-set=-net_bind_service"] : [])
        #expect(code == 77, "\(complaint)")
        #expect(complaint.contains(":53 can't be bound"))
        for mend in ["root", "setcap", "--listen"] { #expect(complaint.contains(mend), "\(mend)") }
    }

    @Test(
        "for want of any of its threads says which one and what to raise, and exits 1",
        arguments: [
            "lookup-log", "who-asked", "history", "search", "dnstap", "udp", "tcp", "reload", "leases",
            "end-with-input",
        ])
    func thread(_ name: String) async throws {
        let library = try await Preload.library(Preload.noThread, in: folder)
        let (code, complaint) = try await failure(
            quiet + ["--listen", "127.0.0.1:0", "--dnstap", folder.file("tap")]
                + (name == "end-with-input" ? ["--end-with-input"] : []),
            behind: ["/usr/bin/env", "LD_PRELOAD=\(library)", "FAILING_THREAD=\(name)"],
            apart: ["--inspector", "off", "--control", "off", "--history", folder.file("history.db")])
        #expect(
            complaint.contains("the thread '\(name)' can't be started: Resource temporarily unavailable; "),
            "\(complaint)")
        #expect(complaint.contains("ulimit -u") && complaint.contains("TasksMax="))
        #expect(code == 1)
    }

    @Test("on an address of another machine says so, and exits 78")
    func foreign() async throws {
        let (code, complaint) = try await failure(quiet + ["--listen", "203.0.113.1:5300"])
        #expect(code == 78)
        #expect(complaint.contains("203.0.113.1:5300 is not an address of this machine"), "\(complaint)")
    }

    @Test(
        "names a missing file, and exits 78",
        arguments: [
            ["--config", "missing.yaml"], ["--zone", "missing.zone"], ["--zones", "missing"],
            ["--log-file", "missing/log"],
        ])
    func missing(_ arguments: [String]) async throws {
        let (code, complaint) = try await failure(
            ["--no-hosts", "--no-upstream", "--listen", "127.0.0.1:0"] + arguments, in: folder.path)
        #expect(code == 78, "\(complaint)")
        #expect(complaint.contains("\(arguments[1]): "), "\(complaint)")
    }

    @Test("reports each line of a bad configuration with the probable key, and exits 78")
    func configuration() async throws {
        let file = try folder.write(
            "upstream:\n  timeou: 3s\nhosts:\n  ttl: soon\nlisten: 127.0.0.1:0\n", to: "stub53.yaml")
        let (code, complaint) = try await failure(["--config", file])
        let lines = complaint.split(separator: "\n")
        #expect(
            lines.contains { $0.contains("\(file):2: ") && $0.contains("did you mean 'upstream.timeout'") },
            "\(complaint)")
        #expect(lines.contains { $0.contains("\(file):4: hosts.ttl: 'soon'") }, "\(complaint)")
        #expect(code == 78)
    }

    @Test("reports the line of a bad zone, and exits 78; --keep-going serves the rest")
    func zone() async throws {
        let file = try folder.write(ZoneText.shop.replacing("198.51.100.7", with: "198.51.100.777"), to: "shop.zone")
        try folder.write(ZoneText.shop.replacing("shop.test", with: "fine.test"), to: "fine.zone")
        let (code, complaint) = try await failure(quiet + ["--listen", "127.0.0.1:0"])
        #expect(complaint.contains("\(file):6: "), "\(complaint)")
        #expect(complaint.contains("--keep-going"))
        #expect(code == 78)
        let daemon = try await DaemonProcess(quiet + ["--keep-going"])
        #expect(try await daemon.errors.first(containing: "\(file):6: ").isEmpty == false)
        #expect(try await daemon.dig("www.fine.test", "+short") == "198.51.100.7\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("suggests the probable option for a wrong one, and exits 64")
    func usage() async throws {
        let (code, complaint) = try await failure(["--lisen", "127.0.0.1:0"])
        #expect(code == 64)
        #expect(complaint.contains("--lisen") && complaint.contains("'--listen'"), "\(complaint)")
    }

    @Test("reports an upstream server that is the daemon itself, and exits 78")
    func itself() async throws {
        let port = try freePort()
        let (code, complaint) = try await failure([
            "--no-hosts", "--zones", folder.path, "--listen", "127.0.0.1:\(port)", "--upstream", "127.0.0.1:\(port)",
        ])
        #expect(code == 78)
        #expect(complaint.contains("it would ask itself"), "\(complaint)")
    }
}

/// Zone files of these tests.
enum ZoneText {
    /// `www` has its address on line 6.
    static let shop = """
        $ORIGIN shop.test.
        $TTL 3600
        @ IN SOA ns hostmaster 1 7200 3600 1209600 300
        @ NS ns
        ns A 198.51.100.53
        www A 198.51.100.7

        """
}
