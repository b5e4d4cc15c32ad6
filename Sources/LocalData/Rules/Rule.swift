package import DNSWire
package import Lookup
package import Platform

/// One rule: for which lookups it is, when it takes effect, and what it does.
package struct Rule: Sendable {
    /// The names it is for.
    package enum Reach: Sendable, Hashable {
        /// The name itself.
        case exact
        /// Names below it; of the root: each name that is asked for.
        case below
        case exactAndBelow
    }

    /// What it answers instead of all sources.
    package enum Answer: Sendable, Hashable {
        /// In RDATA form, by type; other types of the rule are NODATA.
        case addresses(ipv4: [[UInt8]], ipv6: [[UInt8]])
        /// A CNAME to this uncompressed name.
        case alias([UInt8])
        case noData
        case nxDomain
        /// As an override to 0.0.0.0 and ::.
        case block
    }

    /// Which lookups it takes effect for.
    package struct Condition: Sendable, Hashable {
        /// Empty: all types.
        package var types: [RecordType] = []
        package var networks: [AddressNetwork] = []
        /// Names of programs on this machine.
        package var processes: [String] = []
        package var transports: [Transport] = []
        package var view: String?
        /// Minutes of the day, local time; the end is excluded, and may be before the start.
        package var between: Range?
        /// Of 1 to N of the lookups that all else fits: counted for each client, name and type on its own.
        package var first: UInt32?
        package var after: UInt32?
        package var every: UInt32?
        /// Of 2^32.
        package var share: UInt64?

        package struct Range: Sendable, Hashable {
            package var start: Int
            package var end: Int

            func contains(_ minute: Int) -> Bool {
                start <= end ? (start..<end).contains(minute) : minute >= start || minute < end
            }
        }

        package init() {}

        var counts: Bool { first != nil || after != nil || every != nil }
    }

    package var condition = Condition()
    package var faults = Faults.Addition()
    /// How much a delay varies, in microseconds.
    package var jitter: UInt32 = 0
    /// Given instead of what answers, whatever that is.
    package var error: ResponseCode?
    package var answer: Answer?
    /// Of the answer's records, in seconds.
    package var ttl: UInt32 = 0
    /// Nil: none was given, so that its choices differ from run to run.
    package var seed: UInt64?
    package var place = Place.nowhere
    /// The rule as written, without comments and needless blanks.
    package var text = ""
    package var name = Name.root
    package var reach = Reach.exact
    /// Of its file and text: the same in each process.
    var line: UInt64 = 0
    /// Tells it from others, and stays the same as long as its line is there: its counts do, too.
    package var identity: UInt64 = 0

    package init() {}
}
