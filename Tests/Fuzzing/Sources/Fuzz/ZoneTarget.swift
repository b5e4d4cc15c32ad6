import DNSWire
import LDNS
import Lookup
import Platform

@testable import LocalData

/// Any zone file, and one that it includes.
enum ZoneTarget {
    /// Divides an input into the zone file and the file that `$INCLUDE 1001` names.
    private static let divider = Array("\n===\n".utf8)

    static let target = FuzzTarget(
        name: "zone", longest: 3000,
        seeds: {
            let included = "\n===\ninc A 192.0.2.77\n"
            let prologue = "$TTL 1h\n@ IN SOA ns admin 1 3600 600 86400 300\n@ IN NS ns\nns A 192.0.2.1\nx "
            return try Corpus.zones().map { Array($0.replacing("inc.txt", with: "1001").utf8) + included.utf8 }
                + Corpus.records().map { Array((prologue + $0.text + "\n").utf8) }
        },
        words: {
            (RecordType.mnemonics.map(\.0) + ["$ORIGIN ", "$TTL ", "$INCLUDE 1001", "$GENERATE 1-9 ", "${1,2,n}", "IN"]
                + [
                    "\\# ", "TYPE65280", "alpn=", "mandatory=", "ipv4hint=", "key65535=", "\n===\n", "( ", " )",
                    "\\000",
                ]).map { Array($0.utf8) }
        },
        prepare: {
            let trial = ZoneTrial()
            return { input in
                let bytes = Array(input)
                let split = bytes.indices.first { bytes[$0...].starts(with: divider) } ?? bytes.count
                trial.run(Array(bytes[..<split]), Array(bytes.dropFirst(split + divider.count)))
            }
        })
}

final class ZoneTrial {
    private let zone = MemoryFile(number: 1000)
    private let included = MemoryFile(number: 1001)
    private var limits = ZoneReader.Limits()
    private let asker = Asker()
    private static let name = Name("example.")

    init() {
        limits.generated = 300
        limits.includes = 20
        limits.diagnostics = 20
    }

    func run(_ text: [UInt8], _ other: [UInt8]) {
        text.withUnsafeBytes { zone.write($0) }
        other.withUnsafeBytes { included.write($0) }
        let read = ZoneReader.read(path: zone.path, name: Self.name, limits: limits)
        check(read.diagnostics, [zone.path: text, included.path: other])
        for entry in read.records.entries {
            expect(Name(wire: read.records.owner(of: entry)) != nil, "an owner that is no name")
            expect(!entry.type.isMeta && entry.ttl <= Int32.max, "\(entry.type) \(entry.ttl)")
        }
        guard read.isLoadable else { return }
        expect(read.apex == Self.name, "loadable, and yet the apex is \(read.apex?.description ?? "none")")
        checkZone(read)
        // Bytes that don't fit their type load with a warning where no checker knows its number, but not by its name.
        if read.records.entries.allSatisfy({ isWellFormed($0, read.records) }) { checkText(read) }
    }

    private func isWellFormed(_ entry: ZoneRecords.Entry, _ records: ZoneRecords) -> Bool {
        guard let shape = RecordDataShape.of(entry.type) else { return true }
        return Array(records.rdata(of: entry)).withUnsafeBufferPointer { RecordDataCheck.problem($0, shape) == nil }
    }

    /// Problems are bounded, each has a line, and quoted text is escaped.
    private func check(_ diagnostics: [Diagnostic], _ files: [String: [UInt8]]) {
        expect(diagnostics.count <= limits.diagnostics + 1, "\(diagnostics.count) problems")
        let lines = files.mapValues { text in text.count { $0 == 0x0A } + 1 }
        for diagnostic in diagnostics {
            // The zone may include any other file of this machine.
            let last = lines[diagnostic.place.path] ?? .max
            expect(!diagnostic.place.isNowhere && diagnostic.place.line <= last, "in no line: \(diagnostic)")
            let message = diagnostic.message
            let isOfFile = message == "the zone has no SOA record" || message.contains(" more problems, ")
            expect(diagnostic.place.line > 0 || isOfFile, "no line: \(diagnostic)")
            checkSentence(message)
        }
    }

    /// The zone has one SOA, an NS at its apex, and an answer for each of its names.
    private func checkZone(_ read: ZoneReadResult) {
        let apex = read.apex ?? .root
        var names: Set<Name> = []
        var ofApex: [RecordType: Int] = [:]
        for entry in read.records.entries {
            let owner = Name(uncheckedWire: Array(read.records.owner(of: entry)))
            expect(owner.isAtOrBelow(apex), "\(owner) is not in the zone")
            names.insert(owner)
            if owner == apex { ofApex[entry.type, default: 0] += 1 }
            expect(
                isWellFormed(entry, read.records) || ZoneCheckers.refusingText(afterNumberOf: entry.type) == .all,
                "a \(entry.type) with \(hex(read.records.rdata(of: entry)))")
        }
        expect(ofApex[.soa] == 1 && ofApex[.ns] ?? 0 > 0, "\(ofApex) at the apex")
        let zone = Zone(apex: apex, records: read.records, path: self.zone.path)
        let zones = ZoneSet([zone])
        for name in names.prefix(40) {
            for type in [.a, .any, .cname, .ns, .nsec3, .https] as [RecordType] {
                answer(zones, name, Question(type: type, mayForward: false, dnssecOK: true))
            }
        }
        transfer(zone, read.records.entries.count)
    }

    private func answer(_ zones: ZoneSet, _ owner: Name, _ question: Question) {
        asker.ask(owner.wire, question) { lookup in
            let outcome = zones.answer(&lookup)
            expect(outcome != .pass || lookup.isBelowCut, "\(owner) is not found")
            _ = lookup.finished("an answer for \(owner) \(question.type)")
            // NSEC3 owner names are not names of the zone, and a DNAME may make names too long.
            let codes: [ResponseCode] = [.noError, .yxDomain, .nxDomain]
            let code = lookup.decision.responseCode
            expect(codes.contains(code), "\(owner) \(question.type): \(code)")
        }
    }

    /// All records, each once.
    private func transfer(_ zone: Zone, _ count: Int) {
        var cursor = Zone.Cursor()
        var sent = 1  // the SOA, which goes out by itself
        var isLast = false
        while !isLast {
            asker.ask(zone.apex.wire, Question(type: .axfr, mayForward: false)) { lookup in
                isLast = zone.write(from: &cursor, to: 600, &lookup.builder)
                let answers = lookup.finished("a transfer").answers.count
                expect(answers > 0 || isLast, "a transfer that does not go on")
                sent += answers
            }
        }
        expect(sent == count, "\(sent) records were transferred, not \(count)")
    }

    /// The zone's records as text make the same zone.
    private func checkText(_ read: ZoneReadResult) {
        let records = read.records
        let text = records.entries.map { entry in
            let owner = Name(uncheckedWire: Array(records.owner(of: entry)))
            return Presentation.text(
                owner: owner, ttl: entry.ttl, type: entry.type, rdata: Array(records.rdata(of: entry)))
        }.joined(separator: "\n")
        zone.write(text + "\n")
        let again = ZoneReader.read(path: zone.path, name: Self.name, limits: limits)
        expect(again.isLoadable, "it can't be read back: \(again.diagnostics)\n\(text)")
        expect(again.records.entries.count == records.entries.count, "read back, records are missing:\n\(text)")
        for (one, other) in zip(records.entries, again.records.entries) {
            expect(
                one.type == other.type && one.ttl == other.ttl
                    && records.owner(of: one).elementsEqual(again.records.owner(of: other))
                    && records.rdata(of: one).elementsEqual(again.records.rdata(of: other)),
                "\(one.type) \(hex(records.rdata(of: one))) became \(other.type) "
                    + "\(hex(again.records.rdata(of: other))):\n\(text)")
        }
    }
}

/// Checks one message: a line of printable ASCII, bounded.
func checkSentence(_ text: String) {
    expect(!text.isEmpty && text.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "not printable: \(text)")
    expect(text.utf8.count < 1500, "\(text.utf8.count) bytes long: \(text)")
}
