import Foundation
import Testing

@Suite("Scenarios")
struct ScenarioTests {
    @Test("there are scenarios, and all are readable")
    func readable() throws {
        #expect(Scenario.paths.count >= 120)
        for path in Scenario.paths { _ = try Scenario(path: path) }
    }

    @Test(
        "an unreadable line is reported",
        arguments: [
            ("query a.example", 1), ("hosts\nquery a.example A\n  rcod NOERROR", 3), ("  lost", 1),
            ("query a.example A\n  asks", 2), ("server one\nupstream-is two silent", 2), ("pass soon", 1),
            ("upstream example.\nserver one grumpy", 2), ("query a.example A loud", 1),
        ])
    func faults(text: String, line: Int) {
        #expect {
            try Scenario(text, path: "a.scenario")
        } throws: {
            "\($0)".hasPrefix("a.scenario:\(line): ")
        }
    }

    @Test("in process, with a simulated clock", arguments: Scenario.all)
    func inProcess(scenario: Scenario) async throws { try await scenario.run(in: try InProcessWorld(scenario)) }
}

/// The same against the real daemon; each starts one, so they run one after the other.
@Suite("Scenarios of the daemon", .serialized)
struct DaemonScenarioTests {
    @Test("up to the first step that needs a simulated clock", arguments: Scenario.all)
    func daemon(scenario: Scenario) async throws { try await scenario.run(in: try await DaemonWorld(scenario)) }
}
