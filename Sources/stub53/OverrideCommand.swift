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

        @Option(
            name: .customLong("for"),
            help: ArgumentHelp("How long: 30s, 10m, 2h, 1d. (default: until the daemon ends)", valueName: "time"))
        var time: String?

        mutating func validate() throws {
            if let time, OverrideCommand.seconds(time) == nil {
                throw ValidationError("'\(time)' is no time; give one as 30s, 10m, 2h or 1d.")
            }
        }

        mutating func run() async throws {
            let request = OverrideRequest(
                name: name, addresses: addresses, seconds: time.flatMap(OverrideCommand.seconds))
            let lease = try await control.client().ask(.post, "/v1/overrides", request, as: OverrideLease.self)
            print(OverrideCommand.line(lease))
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

    /// `30s`, `10m`, `2h`, `1d`, or a number of seconds; nil for anything else.
    static func seconds(_ text: String) -> UInt32? {
        let units: [Character: UInt32] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let factor = text.last.flatMap { units[$0] }
        guard let number = UInt32(factor == nil ? text[...] : text.dropLast()), number > 0 else { return nil }
        let (seconds, overflow) = number.multipliedReportingOverflow(by: factor ?? 1)
        return overflow ? nil : seconds
    }

    private static func line(_ lease: OverrideLease) -> String {
        let end = lease.left.map { "\(StatsCommand.duration(UInt64($0))) left" } ?? "until the daemon ends"
        return "\(Terminal.padded(lease.rule, 12))  \(Terminal.padded(lease.name, 24))  "
            + "\(Terminal.padded(lease.addresses.joined(separator: " "), 24))  \(end)"
    }
}
