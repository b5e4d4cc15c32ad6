import DNSWire
import Lookup
import Platform

@testable import LocalData

/// Any hosts file.
enum HostsTarget {
    static let target = FuzzTarget(
        name: "hosts", longest: 3000,
        seeds: {
            try Corpus.scenarios("hosts").map { Array($0.utf8) } + [
                Array(
                    "0.0.0.0 0.0.0.0 ads.example # c\r\n::1 localhost ip6-localhost\n127.0.0.1 B\u{FC}cher.example\n"
                        .utf8),
                [0xFF, 0xFE] + "127.0.0.1 a.example\n".utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] },
                Array("\u{FEFF}fe80::1%lo0 x\n10.0.0.1\t*.a.example _b.example. *\n1.2.3.4 1.2.3.4 ::\n".utf8),
            ]
        },
        words: {
            ["127.0.0.1 ", "2001:db8::1 ", "::", "0.0.0.0", "*.", "xn--", "\n", "%eth0", "\u{3002}", "\u{FEFF}"].map {
                Array($0.utf8)
            }
        },
        prepare: {
            let trial = HostsTrial()
            return { trial.run($0) }
        })
}

private final class HostsTrial {
    private let file = MemoryFile(number: 1000)
    private let asker = Asker()

    func run(_ input: UnsafeRawBufferPointer) {
        file.write(input)
        var settings = HostsSettings()
        settings.https = HostsSettings.HTTPS.allCases[input.count % HostsSettings.HTTPS.allCases.count]
        let read = HostsReader.load(paths: [file.path], settings: settings)
        // LF, CR and CRLF end a line, also in UTF-16.
        let last = input.count { $0 == 0x0A || $0 == 0x0D } + 1
        expect(read.diagnostics.list.count <= 1000, "\(read.diagnostics.list.count) problems")
        for diagnostic in read.diagnostics.list {
            expect(diagnostic.place.path == file.path, "in another file: \(diagnostic)")
            expect((1...last).contains(Int(diagnostic.place.line)), "in no line: \(diagnostic)")
            checkSentence(diagnostic.message)
        }
        let all = read.table.lines(matching: NameSearch(""), limit: 10_000).lines
        for line in all {
            expect((1...last).contains(Int(line.place.line)), "\(line) is of no line")
            expect(!read.table.lines(for: line.name).isEmpty, "\(line.name) is not found")
        }
        for line in all.prefix(20) { answer(read.table, line) }
        readBack(all, settings)
    }

    /// Each address on a line is answered, and each address has a name.
    private func answer(_ table: HostsTable, _ line: HostsTable.Line) {
        guard let address = SocketAddress(ip: line.address, port: 0) else { broken("no address: \(line.address)") }
        let isNull = address.isUnspecified
        for type in [.a, .aaaa, .https, .any, .txt] as [RecordType] {
            let records = ask(table, line.name, type)
            guard type == (line.isIPv6 ? .aaaa : .a) else { continue }
            expect(!records.isEmpty, "\(line.name) \(type) is not answered")
            expect(records.allSatisfy { $0.rdata.count == (line.isIPv6 ? 16 : 4) }, "an address of a wrong length")
        }
        if !isNull, let name = Name(Self.reverse(address)) { _ = ask(table, name, .ptr) }
    }

    private func ask(_ table: HostsTable, _ owner: Name, _ type: RecordType) -> [ResponseRules.Record] {
        asker.ask(owner.wire, Question(type: type)) { lookup in
            _ = table.answer(&lookup)
            return lookup.finished("an answer for \(owner) \(type)").answers
        }
    }

    private static func reverse(_ address: SocketAddress) -> String {
        guard address.isIPv6 else {
            return (0..<4).map { String(address.low >> (8 * $0) & 0xFF) }.joined(separator: ".") + ".in-addr.arpa."
        }
        let nibbles = (0..<32).map { ($0 < 16 ? address.low : address.high) >> (4 * ($0 & 15)) & 15 }
        return nibbles.map { String($0, radix: 16) }.joined(separator: ".") + ".ip6.arpa."
    }

    /// The overrides, written as lines, read back the same.
    private func readBack(_ lines: [HostsTable.Line], _ settings: HostsSettings) {
        file.write(lines.map { "\($0.address) \($0.name)\n" }.joined())
        let again = HostsReader.load(paths: [file.path], settings: settings)
        expect(again.diagnostics.list.isEmpty, "read back: \(again.diagnostics.list)")
        let found = again.table.lines(matching: NameSearch(""), limit: 10_000).lines
        expect(
            found.map { "\($0.address) \($0.name)" } == lines.map { "\($0.address) \($0.name)" },
            "\(lines) became \(found)")
    }
}
