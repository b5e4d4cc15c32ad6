import DNSWire
import LDNS

@testable import LocalData

/// RDATA of any type as text, parsed again.
enum RecordDataTarget {
    static let target = FuzzTarget(
        name: "rdata", longest: 600,
        seeds: {
            try Corpus.records().compactMap { record in
                record.type.map { [UInt8($0.rawValue >> 8), UInt8($0.rawValue & 0xFF)] + record.rdata }
            }
        },
        prepare: {
            let file = MemoryFile(number: 1000)
            return { input in
                var reader = InputReader(input)
                let type = RecordType(rawValue: UInt16(reader.byte()) << 8 | UInt16(reader.byte()))
                trial(type, Array(reader.rest), file)
            }
        })

    private static func trial(_ type: RecordType, _ rdata: [UInt8], _ file: MemoryFile) {
        let text = Presentation.text(rdata: rdata, type: type)
        expect(
            !text.isEmpty && text.utf8.allSatisfy { (0x20...0x7E).contains($0) },
            "not printable: \(text)")
        guard !type.isMeta, type != .soa else { return }
        file.write("$TTL 1\n@ SOA . . 1 1 1 1 1\n@ NS ns.test.\nx.example. \(type) \(text)\n")
        let read = ZoneReader.read(path: file.path, name: Name("example."))
        // Malformed RDATA is printed but not parsed.
        let isRecord =
            RecordDataShape.of(type).map { shape in
                rdata.withUnsafeBufferPointer { RecordDataCheck.problem($0, shape) == nil }
            } ?? true
        guard isRecord else {
            expect(read.records.entries.count == 2, "\(type) \(hex(rdata)) is no record and was read: \(text)")
            return
        }
        guard read.records.entries.count == 3 else {
            broken("\(type) \(hex(rdata)) can't be read back: \(text): \(read.diagnostics)")
        }
        let back = read.records.rdata(of: read.records.entries[2])
        expect(back.elementsEqual(rdata), "\(type) \(hex(rdata)) became \(hex(back)) by \(text)")
    }
}
