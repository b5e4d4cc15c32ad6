import ArgumentParser

/// How long something stays that is added to a running daemon.
struct LeaseOptions: ParsableArguments {
    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("How long: 30s, 10m, 2h, 1d. (default: until the daemon ends)", valueName: "time"))
    var time: String?

    mutating func validate() throws {
        if let time, seconds == nil {
            throw ValidationError("'\(time)' is no time; give one as 30s, 10m, 2h or 1d.")
        }
    }

    /// Nil: until the daemon ends.
    var seconds: UInt32? { time.flatMap(Self.seconds) }

    /// `30s`, `10m`, `2h`, `1d`, or a number of seconds; nil for anything else.
    static func seconds(_ text: String) -> UInt32? {
        let units: [Character: UInt32] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let factor = text.last.flatMap { units[$0] }
        guard let number = UInt32(factor == nil ? text[...] : text.dropLast()), number > 0 else { return nil }
        let (seconds, overflow) = number.multipliedReportingOverflow(by: factor ?? 1)
        return overflow ? nil : seconds
    }

    /// When it ends, for people.
    static func end(_ left: UInt32?) -> String {
        left.map { "\(StatsCommand.duration(UInt64($0))) left" } ?? "until the daemon ends"
    }
}
