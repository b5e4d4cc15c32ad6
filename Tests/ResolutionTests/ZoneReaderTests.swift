import DNSWire
import Resolution
import Testing

private let example = Name("example.")

@Suite("The zone reader on single records")
struct ZoneReaderRecordTests {
    @Test("reads and refuses each line as recorded, and builds the recorded RDATA", arguments: RecordCase.all)
    func verdict(_ line: RecordCase) {
        let folder = TemporaryFolder()
        let result = ZoneReader.read(path: folder.write(line.zone.utf8, to: "zone"), name: example)
        #expect(result.isLoadable == line.isLoaded, "\(result.diagnostics)")
        if line.isLoaded, line.rdata != "-" {
            #expect(result.records.lastRdata == (line.rdata == "\"\"" ? "" : line.rdata))
        }
        if !line.isLoaded {
            #expect(result.diagnostics.first { $0.severity == .error }?.place.line == RecordCase.line, "\(result.diagnostics)")
        }
    }
}
