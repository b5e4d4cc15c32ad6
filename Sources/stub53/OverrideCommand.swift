import ArgumentParser
import Daemon
import Inspector

/// `stub53 override`: leases overrides in a running daemon.
struct OverrideCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "override",
        abstract: "Add, list and remove overrides of a running daemon, without a file.",
        discussion: """
            They stand before all hosts files, for all types of the name, and end with their time or with the daemon.

            Examples:
              stub53 override add acme.org 127.0.0.14 --for 10m
              stub53 override list
              stub53 override remove acme.org
            """,
        subcommands: [Add.self, List.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Override a name from now on.",
            discussion: """
                Examples:
                  stub53 override add acme.org 127.0.0.14 ::1 --for 10m
                  stub53 override add '*.dev.test' 127.0.0.1
                  stub53 override add old.acme.org new.acme.org
                  stub53 override add ads.acme.org nxdomain
                """)

        @OptionGroup var control: ControlOptions

        @Argument(help: "The name; '*.' in front means all names below.")
        var name: String

        @Argument(help: "Its addresses; or another name, nxdomain (it does not exist), nodata (it has no data).")
        var addresses: [String]

        @OptionGroup var lease: LeaseOptions

        mutating func run() async throws {
            let request = OverrideRequest(
                name: name, addresses: addresses, seconds: lease.seconds)
            print(
                OverrideCommand.line(
                    try await control.client().ask(.post, "/v1/overrides", request, as: OverrideLease.self)))
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the overrides that were added, with their ends.")

        @OptionGroup var control: ControlOptions

        @Flag(help: "As JSON.")
        var json = false

        mutating func run() async throws {
            let leases = try await control.client().ask(.get, "/v1/overrides", as: [OverrideLease].self)
            if json { return print(try JSONText.of(leases)) }
            if leases.isEmpty { print("none; 'stub53 override add NAME ADDRESS --for 10m' adds one") }
            for lease in leases { print(OverrideCommand.line(lease)) }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End an override now.")

        @OptionGroup var control: ControlOptions

        @Argument(help: "The name, as it was added.")
        var name: String

        mutating func run() async throws {
            let lease = try await control.client().ask(
                .delete, "/v1/overrides?name=\(name.percentEncoded)", as: OverrideLease.self)
            print("removed \(lease.name)")
        }
    }

    private static func line(_ lease: OverrideLease) -> String {
        let end = LeaseOptions.end(lease.left)
        return "\(Terminal.padded(lease.rule, 12))  \(Terminal.padded(lease.name, 24))  "
            + "\(Terminal.padded(lease.addresses.joined(separator: " "), 24))  \(end)"
    }
}
