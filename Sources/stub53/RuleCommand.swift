import ArgumentParser
import Daemon
import Inspector

/// `stub53 rule`: leases rules in a running daemon.
struct RuleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rule",
        abstract: "Add, list and remove rules of a running daemon: delay, spoil or replace its answers.",
        discussion: """
            A rule is a line of a rules file: NAME TYPES ACTION... CONDITION...

            NAME     example.com, *.example.com (below it), .example.com (it, too), * (each name asked for)
            TYPES    A,AAAA or * for all
            ACTION   on the answer: delay=300ms±50ms drop truncate ttl=5s only=4|6 shuffle keep=N
                     strip=https|ech|hints wrong-id garbage slow=100B/s close
                     instead of it: servfail refused formerr notimp nxdomain nodata block
                     answer=ADDRESS,... alias=NAME
            WHEN     rate=20% seed=N first=N after=N every=N between=HH:MM-HH:MM
                     client=NETWORK|PROGRAM transport=udp|tcp|dot|doh view=NAME

            Rules added here stand before those of files, the newest first.

            Examples:
              stub53 rule add 'api.example.com A delay=2s' --for 10m
              stub53 rule add '*.example.com * servfail rate=20% seed=7'
              stub53 rule list
              stub53 rule remove 1
            """,
        subcommands: [Add.self, List.self, Remove.self, Reset.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a rule from now on.")

        @OptionGroup var control: ControlOptions

        @Argument(help: "The rule, in one word or several.")
        var rule: [String]

        @OptionGroup var lease: LeaseOptions

        mutating func run() async throws {
            let request = RuleRequest(
                rule: rule.joined(separator: " "), seconds: lease.seconds)
            print(RuleCommand.line(try await control.client().ask(.post, "/v1/rules", request, as: RuleLease.self)))
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the rules that were added, with their ends, and the rules files.")

        @OptionGroup var control: ControlOptions

        @Flag(help: "As JSON.")
        var json = false

        mutating func run() async throws {
            let listing = try await control.client().ask(.get, "/v1/rules", as: RuleListing.self)
            if json { return print(try JSONText.of(listing)) }
            if listing.leases.isEmpty, listing.files.isEmpty {
                print("none; 'stub53 rule add 'NAME TYPES ACTION' --for 10m' adds one")
            }
            for lease in listing.leases { print(RuleCommand.line(lease)) }
            for file in listing.files {
                let failed = file.hasFailed ? ", which can't be read: the last good ones" : ""
                print("\(Terminal.padded("\(file.rules) rules", 12))  of \(file.file)\(failed)")
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End rules now.")

        @OptionGroup var control: ControlOptions

        @Argument(
            help: ArgumentHelp("The rule's number, as listed; all: all that were added.", valueName: "number|all"))
        var number: String

        mutating func validate() throws {
            guard number != "all", Int(bare) == nil else { return }
            throw ValidationError("'\(number)' is no number of a rule; 'stub53 rule list' shows them.")
        }

        /// Without `rule:`.
        private var bare: Substring { number.hasPrefix("rule:") ? number.dropFirst(5) : number[...] }

        mutating func run() async throws {
            let query = number == "all" ? "all=1" : "number=\(bare)"
            let gone = try await control.client().ask(.delete, "/v1/rules?\(query)", as: [RuleLease].self)
            if gone.isEmpty { print("none was there") }
            for lease in gone { print("removed \(lease.rule)  \(lease.text)") }
        }
    }

    struct Reset: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Start the counts of all rules again, as before a test: first=, after=, every=, rate= with a seed.")

        @OptionGroup var control: ControlOptions

        mutating func run() async throws {
            _ = try await control.client().ask(.post, "/v1/rules/reset", as: [String: Bool].self)
            print("all rules count from 1 again")
        }
    }

    private static func line(_ lease: RuleLease) -> String {
        let end = LeaseOptions.end(lease.left)
        return "\(Terminal.padded(lease.rule, 12))  \(Terminal.padded(lease.text, 48))  \(end)"
    }
}
