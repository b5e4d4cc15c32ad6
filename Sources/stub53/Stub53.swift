import ArgumentParser
import Daemon
import Glibc
import Platform

/// The command line.
@main
struct Stub53: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stub53",
        abstract:
            "A stub DNS resolver: overrides first, then local zones, then upstream; and the reason for each answer.",
        discussion: """
            Examples:
              stub53 serve --listen 127.0.0.1:5300
              stub53 why acme.org
              stub53 query acme.org @127.0.0.1:5300
            """,
        version: Release.description,
        subcommands: [
            ServeCommand.self, CheckCommand.self, QueryCommand.self, WhyCommand.self, LogCommand.self,
            PageCommand.self, StatsCommand.self, FlushCommand.self, OverrideCommand.self, RuleCommand.self,
            ViewCommand.self, ReloadCommand.self, ExecCommand.self, ExpectCommand.self, CassetteCommand.self,
            DoctorCommand.self, TraceCommand.self, TrustCommand.self,
        ])

    /// Exit codes: 0 fine, 1 a problem that was reported, 64 usage, 77 no permission, 78 configuration.
    static func main() async {
        do {
            // Swift reads the command line there, and its threads end the program if they don't find themselves there.
            guard access("/proc/self/cmdline", R_OK) == 0 else {
                throw ServiceFailure(
                    .problem, "/proc is not mounted, and Swift programs need it; 'mount -t proc proc /proc' mounts it")
            }
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as ServiceFailure {
            Terminal.error("stub53: \(failure)")
            Glibc.exit(failure.code.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}
