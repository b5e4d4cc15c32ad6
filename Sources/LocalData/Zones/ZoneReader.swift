public import DNSWire
public import Platform

/// Reads master files into records, and reports everything that is wrong with them.
///
/// Reading has three steps: `ZoneTokenizer` splits the file into entries, `ZoneReading` converts each entry to a
/// record, and `ZoneChecks` checks the records as one zone. Reading is as strict as nsd-checkzone, kzonecheck and
/// named-checkzone where they agree.
/// - RFC: 1035 5; 2308 4 ($TTL); 3597 5.
public enum ZoneReader {
    /// Limits on a file's cost; a file beyond them is refused, not read in part.
    public struct Limits: Sendable {
        /// Bytes of all files together.
        public var bytes = 1 << 30
        /// How deep `$INCLUDE` may nest.
        public var includeDepth = 10
        /// Files that `$INCLUDE` may open in all.
        public var includes = 10_000
        /// Records that all `$GENERATE` lines may make together.
        public var generated = 10_000_000
        /// Problems that are listed; further ones are only counted.
        public var diagnostics = 1000

        public init() {}
    }

    /// Reads a master file and everything it includes, and checks it as a zone.
    ///
    /// Never throws: all problems, including a file that can't be opened, are in the diagnostics.
    /// - Parameter name: the zone's name and first origin; nil takes the SOA's owner.
    public static func read(path: String, name: Name? = nil, limits: Limits = Limits()) -> ZoneReadResult {
        var reading = ZoneReading(name: name, limits: limits)
        reading.readFile(path)
        let read = reading.finish()
        var checks = ZoneChecks(
            records: read.records, name: name, file: Place(path: path), diagnostics: read.diagnostics)
        checks.run()
        return ZoneReadResult(
            apex: checks.apex, records: checks.records, diagnostics: checks.diagnostics.sorted(), files: read.files)
    }
}

/// The records that were read, and what is wrong with them.
public struct ZoneReadResult: Sendable {
    /// The zone's name; nil when none was given and no SOA was found.
    public var apex: Name?
    /// The records that could be read, in file order, without duplicates.
    public var records: ZoneRecords
    /// Problems by file and line.
    public var diagnostics: [Diagnostic]
    /// Every file opened or attempted, to watch: a missing `$INCLUDE` may appear later.
    public var files: [String]

    /// Whether there are no errors; warnings don't count.
    public var isLoadable: Bool { !diagnostics.contains { $0.severity == .error } }
}
