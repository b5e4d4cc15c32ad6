import ArgumentParser
import Daemon
import Platform

/// `stub53 reload`: makes a running daemon read its files again, and shows the outcome.
struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Have a running daemon read all its files again, and show what changed.",
        discussion: """
            Changed files are loaded by themselves; this is for what can't be watched, and to see the problems. Exit \
            code 1 when a file has some.

            Examples:
              stub53 reload
              stub53 reload --control /run/stub53/control.sock
            """)

    @OptionGroup var control: ControlOptions

    mutating func run() async throws {
        let outcome = try await control.client().ask(.post, "/v1/reload", as: ReloadOutcome.self)
        print(outcome.changes)
        for problem in outcome.problems { Terminal.error("stub53: \(problem)") }
        if outcome.problems.contains(where: { !$0.contains(": warning: ") }) {
            throw ExitCode(ServiceFailure.Code.problem.rawValue)
        }
    }
}
