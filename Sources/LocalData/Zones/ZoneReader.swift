public import DNSWire
public import Platform

/// Reads master files into records, and says everything that is wrong with them.
///
/// A reading has three steps: `ZoneTokenizer` cuts the file into entries, `ZoneReading` turns each entry into a
/// record, and `ZoneChecks` looks at the records as one zone. Text is read strictly, as nsd-checkzone, kzonecheck and
/// named-checkzone do where they agree.
/// - RFC: 1035 5; 2308 4 ($TTL); 3597 5.
public enum ZoneReader {
    /// What a file may cost; beyond these it is refused, not read in part.
    public struct Limits: Sendable {
        /// Bytes of all files together.
        public var bytes = 1 << 30
        /// How deep `$INCLUDE` may nest.
        public var includeDepth = 10
        /// Files that `$INCLUDE` may open in all.
        public var includes = 10_000
        /// Records that all `$GENERATE` lines may make together.
        public var generated = 10_000_000
        /// Problems that are listed; the rest is counted.
        public var diagnostics = 1000

        public init() {}
    }

    /// Reads a master file and everything it includes, and checks it as a zone.
    ///
    /// Never fails: what is wrong, a file that can't be opened included, is among the diagnostics.
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

/// What was read, and what is wrong with it.
public struct ZoneReadResult: Sendable {
    /// The zone's name; nil when none was given and no SOA was found.
    public var apex: Name?
    /// The records that could be read, in file order, duplicates left out.
    public var records: ZoneRecords
    /// Problems by file and line.
    public var diagnostics: [Diagnostic]
    /// Every file that was opened or should have been, for watching: a missing `$INCLUDE` may appear later.
    public var files: [String]

    /// Nothing is wrong but for warnings.
    public var isLoadable: Bool { !diagnostics.contains { $0.severity == .error } }
}
