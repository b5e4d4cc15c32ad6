import Foundation

/// The settings of a run, from the environment, as in `make bench ROWS=zone`.
struct Settings: Sendable {
    /// IDs, or their prefixes, of the tasks to measure; empty: all.
    var rows: [String]
    /// How often each pair is measured.
    var rounds: Int
    /// The length of one measurement in seconds.
    var seconds: Int
    /// The folder for the results.
    var output: String
    /// The measured program, and the baseline.
    var stub53: String
    var echo: String
    /// Templates of the peers' configurations.
    var templates: String

    /// The mask of the servers' core, and that of the load's, which is another one.
    let serverCores: UInt
    let loadCores: UInt
    let allCores: UInt

    init(_ environment: [String: String]) throws {
        func number(_ key: String, _ initial: Int, _ range: ClosedRange<Int>) throws -> Int {
            guard let text = environment[key], !text.isEmpty else { return initial }
            guard let value = Int(text), range.contains(value) else {
                throw Failure("\(key)=\(text): a number from \(range.lowerBound) to \(range.upperBound) is needed")
            }
            return value
        }
        func path(_ key: String) throws -> String {
            guard let text = environment[key], !text.isEmpty else { throw Failure("\(key) is not set; run make bench") }
            return text.hasPrefix("/") ? text : FileManager.default.currentDirectoryPath + "/" + text
        }
        rows = (environment["ROWS"] ?? "").split { $0 == "," || $0 == " " }.map(String.init)
        rounds = try number("ROUNDS", 5, 1...100)
        seconds = try number("SECONDS", 5, 1...600)
        output = try path("OUT")
        stub53 = try path("STUB53")
        echo = try path("ECHO")
        templates = try path("PEERS")
        allCores = ProcessInfo.processInfo.processorCount > 1 ? 0b11 : 0b1
        serverCores = 0b1
        loadCores = allCores == 0b1 ? 0b1 : 0b10
    }
}
