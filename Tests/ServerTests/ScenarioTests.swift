import DNSWire
import Foundation
import LDNS
import TestSupport
import Testing

@Suite("Scenarios")
struct ScenarioTests {
    @Test("there are scenarios, and all can be read")
    func readable() throws {
        let names =
            FileManager.default.enumerator(atPath: Scenario.folder.path)?.compactMap { $0 as? String }
            .filter { $0.hasSuffix(".scenario") } ?? []
        #expect(names.count >= 18)
        for name in names { _ = try Scenario(path: name) }
    }

    @Test("in process, with a clock and an upstream of their own", arguments: Scenario.all)
    func inProcess(scenario: Scenario) throws {
        let folder = try TemporaryFolder()
        let url = URL(filePath: folder.path)
        let file = try scenario.write(to: url)
        var world = try InProcessWorld(folder: url, file: file, hasUpstream: !scenario.upstreamZones.isEmpty)
        for step in scenario.steps {
            switch step {
            case .query(let expected):
                let answer = try world.ask(try expected.message)
                answer.check(expected, scenario.path, seesDecision: true)
            case .pass(let seconds): world.pass(seconds: seconds)
            case .upstream(let mood): world.setMood(mood)
            case .edit(let name, let text):
                try folder.write(text, to: name)
                world.reload()
            }
        }
    }
}

extension Scenario.Expectation {
    /// The query as a client sends it.
    var message: [UInt8] {
        get throws {
            let name = try #require(Name(name))
            let type = try #require(RecordType(mnemonic: type))
            return try LDNS.Query.wire(
                name: name, type: type, id: UInt16.random(in: 0...UInt16.max), isRecursionDesired: recursionDesired,
                payloadSize: 1232, wantsSignatures: dnssecOK)
        }
    }
}
