import ArgumentParser
import DNSWire
import Daemon
import Glibc
import Platform

/// `stub53 doctor`: finds why this machine, or a name, does not get what was written.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Find why this machine, or a name, does not get what you wrote.",
        discussion: """
            Looks at what decides whom programs ask (resolv.conf, nsswitch.conf, systemd-resolved, NetworkManager, DHCP \
            clients, containers, browsers), asks the running daemon, and tries its upstream servers. With NAME also at \
            its override, at who asked for it, and at its certificate. Each finding says what, why and how to mend it; \
            the exit code is 1 if there is one. Nothing is changed.

            Examples:
              stub53 doctor
              stub53 doctor acme.org
              sudo stub53 doctor acme.org --json
            """)

    @OptionGroup(title: "Daemon")
    var control: ControlOptions

    @Flag(help: "As JSON.")
    var json = false

    /// For tests: where the machine's files are.
    @Option(help: .hidden)
    var root = ""

    @Argument(help: "The name that is not as expected.")
    var name: String?

    private struct Report: Encodable {
        let name: String?
        let findings: [Finding]
        let upstreams: [UpstreamProbe]
    }

    mutating func validate() throws { _ = try name.map(QueryCommand.name) }

    mutating func run() async throws {
        let name = try name.map(QueryCommand.name)
        let examination = try await examination(name)
        var probes: [UpstreamProbe] = []
        let findings = try await examination.findings(&probes)
        if json {
            print(try JSONText.of(Report(name: name.map { "\($0)" }, findings: findings, upstreams: probes)))
        } else {
            print(Self.text(findings, name))
        }
        if !findings.isEmpty { throw ExitCode(ServiceFailure.Code.problem.rawValue) }
    }

    /// A daemon that is not there, or may not be asked, is a finding; one that was named is an error.
    private func examination(_ name: Name?) async throws -> Examination {
        let machine = Machine(root: root)
        if control.control != nil {
            return Examination(machine: machine, daemon: try await .init(try control.client()), name: name)
        }
        let client: ControlClient
        do { client = try control.client() } catch let failure as ServiceFailure {
            let isDenied = failure.code == .permission
            return Examination(
                machine: machine, daemon: nil, refusal: isDenied ? Configuration.controlPaths[0] : nil, name: name)
        }
        if client.isAlive { return Examination(machine: machine, daemon: try await .init(client), name: name) }
        let isDenied = access(client.path, W_OK) != 0 && errno == EACCES
        return Examination(machine: machine, daemon: nil, refusal: isDenied ? client.path : nil, name: name)
    }

    static func text(_ findings: [Finding], _ name: Name?) -> String {
        if findings.isEmpty { return "\(name.map { "\($0.shown): " } ?? "")all is well" }
        let parts = findings.map { finding in
            "\(Terminal.colored(finding.what, .bold))\n  why   \(finding.why)\n  mend  \(finding.mend)\n\n"
        }
        return parts.joined() + Terminal.count(findings.count, "finding")
    }
}
