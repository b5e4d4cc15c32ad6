import ArgumentParser
import Daemon
import Glibc
import Inspector

/// `stub53 view`: views of a running daemon.
struct ViewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "view",
        abstract: "Give clients, or an address, answers of their own in a running daemon.",
        discussion: """
            A view is told by where it is asked or by who asks. What it does not name it shares with all others.

            Examples:
              stub53 view add worker1 --listen 127.0.1.1 --hosts w1.hosts --for 1h
              stub53 view add phones --client 192.0.2.0/24 --rules slow.rules
              stub53 view list
              stub53 view remove worker1
            """,
        subcommands: [Add.self, List.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a view, or replace one that was added.")

        @OptionGroup var control: ControlOptions

        @Argument(help: "Its name.")
        var name: String

        @Option(
            help: ArgumentHelp("Where it is asked; port 53 if none is given, 0 takes a free one.", valueName: "addr"))
        var listen: [String] = []

        @Option(help: ArgumentHelp("Who asks: a network, as 192.0.2.0/24.", valueName: "cidr"))
        var client: [String] = []

        @Option(help: "Its hosts files.", completion: .file())
        var hosts: [String] = []

        @Option(help: "Its rules files.", completion: .file())
        var rules: [String] = []

        @Option(help: "Its zone files.", completion: .file())
        var zone: [String] = []

        @Option(help: "Its folders of zone files.", completion: .directory)
        var zones: [String] = []

        @Option(help: ArgumentHelp("Its upstream servers.", valueName: "[domain=]server"))
        var upstream: [String] = []

        @OptionGroup var lease: LeaseOptions

        mutating func run() async throws {
            var settings: [String: [String]] = [:]
            // The daemon may be at home in another folder.
            settings["hosts.files"] = hosts.map(Self.absolute)
            settings["rules.files"] = rules.map(Self.absolute)
            settings["zones.files"] = zone.map { text in
                guard let equals = text.firstIndex(of: "="), !text[..<equals].contains("/") else {
                    return Self.absolute(text)
                }
                return "\(text[...equals])\(Self.absolute(String(text[text.index(after: equals)...])))"
            }
            settings["zones.folders"] = zones.map(Self.absolute)
            settings["upstream.servers"] = upstream
            let request = ViewRequest(
                name: name, listen: listen, clients: client, settings: settings.filter { !$0.value.isEmpty },
                seconds: lease.seconds)
            print(ViewCommand.line(try await control.client().ask(.post, "/v1/views", request, as: ViewReport.self)))
        }

        private static func absolute(_ path: String) -> String {
            guard !path.hasPrefix("/"), path != "none", let folder = getcwd(nil, 0) else { return path }
            defer { free(folder) }
            return "\(String(cString: folder))/\(path)"
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the views, in the order in which they are tried.")

        @OptionGroup var control: ControlOptions

        @Flag(help: "As JSON.")
        var json = false

        mutating func run() async throws {
            let views = try await control.client().ask(.get, "/v1/views", as: [ViewReport].self)
            if json { return print(try JSONText.of(views)) }
            if views.isEmpty { print("none; 'stub53 view add NAME --listen 127.0.1.1 --hosts FILE' adds one") }
            for view in views { print(ViewCommand.line(view)) }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a view that was added.")

        @OptionGroup var control: ControlOptions

        @Argument(help: "Its name.")
        var name: String

        mutating func run() async throws {
            _ = try await control.client().ask(
                .delete, "/v1/views?name=\(name.percentEncoded)", as: [String: String].self)
            print("removed \(name)")
        }
    }

    private static func line(_ view: ViewReport) -> String {
        let end =
            view.isLeased
            ? LeaseOptions.end(view.left)
            : "of the configuration"
        let told = (view.listen + view.clients.map { "from \($0)" }).joined(separator: " ")
        let own = view.settings.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.joined(separator: ","))" }
        return "\(Terminal.padded(view.name, 12))  \(Terminal.padded(told, 24))  "
            + "\(Terminal.padded(own.joined(separator: " "), 32))  \(end)"
    }
}
