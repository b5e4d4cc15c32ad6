import ArgumentParser
import Inspector

/// `stub53 flush`: empties a running daemon's cache.
struct FlushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Have a running daemon forget upstream's answers: all, or those of a name.",
        discussion: """
            Overrides and zones are never cached: an edit of theirs needs no flush.

            Examples:
              stub53 flush
              stub53 flush www.example.net
              stub53 flush '*.example.net'
            """)

    @OptionGroup var control: ControlOptions

    @Argument(help: "The name; '*.' in front means it and all names below; without one, everything is forgotten.")
    var name: String?

    @Flag(help: "And all names below it.")
    var tree = false

    mutating func validate() throws {
        if let name { _ = try QueryCommand.name(name) }
        if tree, name == nil { throw ValidationError("--tree goes with a name.") }
    }

    private struct Flushed: Decodable { var flushed: Int }

    mutating func run() async throws {
        var target = "/v1/cache"
        if let name { target += "?name=\("\(try QueryCommand.name(name))".percentEncoded)&tree=\(tree ? 1 : 0)" }
        let answer = try await control.client().ask(.delete, target, as: Flushed.self)
        print("\(Terminal.count(answer.flushed, "answer")) forgotten")
    }
}
