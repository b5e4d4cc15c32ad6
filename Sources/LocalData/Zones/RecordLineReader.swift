public import DNSWire
public import Platform

/// Reads records in master file form, one a line, without the checks of a whole zone.
public struct RecordLineReader: ~Copyable {
    private var reading = ZoneReading(name: nil, limits: ZoneReader.Limits())

    public init() {}

    /// One record; its names are uncompressed.
    public struct Record: Sendable {
        public let owner: [UInt8]
        public let type: RecordType
        /// Seconds.
        public let ttl: UInt32
        public let rdata: [UInt8]
    }

    /// Reads `OWNER TTL IN TYPE RDATA`; nil, with a problem at `place`, if it is none. There are no directives.
    public mutating func read(_ line: [UInt8], at place: Place, _ diagnostics: inout Diagnostics) -> Record? {
        do throws(ZoneProblem) {
            return try reading.readLine(line, place: place).map { entry in
                Record(
                    owner: Array(reading.records.owner(of: entry)), type: entry.type, ttl: entry.ttl,
                    rdata: Array(reading.records.rdata(of: entry)))
            }
        } catch {
            diagnostics.error(place, error.message)
            return nil
        }
    }
}
