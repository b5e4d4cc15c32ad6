import ArgumentParser
import DNSWire
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
        _ = try target()
        if tree, name == nil { throw ValidationError("--tree goes with a name.") }
    }

    /// The name, and whether all names below it are meant, too.
    private func target() throws -> (name: Name, tree: Bool)? {
        guard let name else { return nil }
        let isTree = name.hasPrefix(".") && name != "."
        let target = try QueryCommand.name(isTree ? String(name.dropFirst()) : name)
        let labels = target.labels.dropFirst(target.isWildcard ? 1 : 0)
        guard !labels.contains(where: { $0.contains(UInt8(ascii: "*")) }) else {
            throw ValidationError("'\(name)': '*' stands only in front, for all names below: '*.example.net'.")
        }
        return (target, tree || isTree)
    }

    private struct Flushed: Decodable { var flushed: Int }

    mutating func run() async throws {
        var target = "/v1/cache"
        if let (name, tree) = try self.target() {
            target += "?name=\("\(name)".percentEncoded)&tree=\(tree ? 1 : 0)"
        }
        let answer = try await control.client().ask(.delete, target, as: Flushed.self)
        print("\(Terminal.count(answer.flushed, "answer")) forgotten")
    }
}
