import Foundation

/// What a run is to do: from the environment, so that `make bench ROWS=zone` says it all.
struct Settings: Sendable {
    /// Works to measure, by id or the beginning of ids; empty: all.
    var rows: [String]
    /// How often each pair is measured.
    var rounds: Int
    /// Length of one measurement in seconds.
    var seconds: Int
    /// Folder for the results.
    var output: String
    /// The server that is measured, and what it is measured by.
    var stub53: String
    var echo: String
    /// Templates of the peers' configurations.
    var templates: String

    /// Where servers run: one core; and where load comes from: another one.
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
